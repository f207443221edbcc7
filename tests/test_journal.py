"""The recorder's write-ahead log: what it took is there again, what was torn or altered is told."""

import pytest

from inference.recording.journal import Journal
from schemas.errors import ConfigurationError


def reopened(folder) -> list[list[bytes]]:
    """The payloads of each file that a new journal finds."""
    journal = Journal(folder)
    found = [list(journal.payloads(file)) for file in journal.sealed()]
    journal.close()
    return found


def file_in(folder):
    (path,) = folder.glob("*.journal")
    return path


def test_payloads_come_back_in_order_by_file(tmp_path):
    journal = Journal(tmp_path)
    for payload in (b"a", b"", b"c" * 70_000):
        journal.append(payload)
    journal.seal()
    journal.append(b"d")
    assert len(journal.sealed()) == 1
    journal.close()
    assert reopened(tmp_path) == [[b"a", b"", b"c" * 70_000], [b"d"]]


@pytest.mark.parametrize("left", [1, 7, 8, 11])
def test_a_torn_last_frame_is_cut_off_and_the_rest_stays(tmp_path, left):
    journal = Journal(tmp_path)
    journal.append(b"whole")
    whole = journal.open_bytes
    journal.append(b"torn")
    journal.close()
    path = file_in(tmp_path)
    path.write_bytes(path.read_bytes()[: whole + left])
    assert reopened(tmp_path) == [[b"whole"]]
    assert path.stat().st_size == whole


def test_a_file_with_nothing_whole_in_it_is_removed(tmp_path):
    (tmp_path / f"{'0' * 32}-00000001.journal").write_bytes(b"\x05\x00")
    assert reopened(tmp_path) == []
    assert list(tmp_path.glob("*.journal")) == []


def test_law_2_files_that_an_earlier_release_left_are_found(tmp_path):
    journal = Journal(tmp_path)
    journal.append(b"left behind")
    journal.close()
    path = file_in(tmp_path)
    path.rename(path.with_suffix(".segment"))
    assert reopened(tmp_path) == [[b"left behind"]]
    assert file_in(tmp_path) == path


def test_law_2_an_altered_file_is_kept_aside_and_told_by_name(tmp_path, caplog):
    journal = Journal(tmp_path)
    journal.append(b"altered")
    journal.append(b"after it")
    journal.close()
    path = file_in(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"altered", b"ALTERED"))
    assert reopened(tmp_path) == []
    assert path.with_suffix(".damaged").exists()
    assert f"{path}: the frame at byte 0" in caplog.text


def test_law_7_a_second_process_on_the_journal_is_refused(tmp_path):
    journal = Journal(tmp_path)
    with pytest.raises(ConfigurationError, match="a journal folder of its own"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_a_stored_file_is_forgotten(tmp_path):
    journal = Journal(tmp_path)
    journal.append(b"stored")
    journal.seal()
    (file,) = journal.sealed()
    assert journal.size() == journal.bytes_of(file) == len(b"stored") + 8
    journal.remove(file)
    assert (journal.sealed(), journal.size()) == ([], 0)
    journal.close()
