"""The recorder's write-ahead log: what it took is there again, what was torn or altered is told."""

import pytest

from inference.recording.journal import Journal
from inference.recording.spans import MARK, framed, spans_of
from schemas.errors import ConfigurationError

PAYLOADS = [b"one", b"two" * 7, MARK + b"three", b"4"]
CONTENT = b"".join(map(framed, PAYLOADS))
STARTS = [sum(len(framed(one)) for one in PAYLOADS[:place]) for place in range(len(PAYLOADS) + 1)]


def reopened(folder) -> list[list[bytes]]:
    """The payloads of each file that a new journal finds."""
    journal = Journal(folder)
    found = [journal.contents(file).payloads for file in journal.sealed()]
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


def test_what_was_written_is_read():
    assert spans_of(CONTENT) == (PAYLOADS, [], 0)
    assert spans_of(b"") == ([], [], 0)


def test_one_flipped_bit_anywhere_loses_its_own_frame_alone():
    for place in range(len(CONTENT)):
        own = max(n for n, start in enumerate(STARTS[:-1]) if start <= place)
        for bit in range(8):
            flipped = bytearray(CONTENT)
            flipped[place] ^= 1 << bit
            found = spans_of(bytes(flipped))
            assert found.payloads == PAYLOADS[:own] + PAYLOADS[own + 1 :], (place, bit)
            [damage] = found.damages
            assert damage.first == STARTS[own]
            assert damage.content == flipped[STARTS[own] : STARTS[own + 1]]
            assert found.torn == 0


def test_a_file_that_was_cut_short_anywhere_ends_with_its_last_whole_frame():
    for length in range(len(CONTENT)):
        whole = sum(end <= length for end in STARTS[1:])
        found = spans_of(CONTENT[:length])
        assert found.payloads == PAYLOADS[:whole]
        assert found.damages == []
        assert found.torn == length - STARTS[whole]


@pytest.mark.parametrize("zeros", [1, 7, 8, 16, 4096])
def test_zeros_at_the_end_were_never_acknowledged(zeros):
    """A file grows before its bytes reach the disk: after a loss of power they are zeros."""
    assert spans_of(CONTENT + bytes(zeros)) == (PAYLOADS, [], zeros)
    assert spans_of(bytes(zeros)) == ([], [], zeros)
    head = framed(b"last" * 9)[:16]
    assert spans_of(CONTENT + head + bytes(36)) == (PAYLOADS, [], 52)


def test_bytes_of_another_program_are_set_aside():
    found = spans_of(CONTENT + b"hello" + CONTENT + b"world")
    assert found.payloads == PAYLOADS * 2
    assert [damage.content for damage in found.damages] == [b"hello", b"world"]


def test_law_2_files_that_an_earlier_release_left_are_found(tmp_path):
    journal = Journal(tmp_path)
    journal.append(b"left behind")
    journal.close()
    path = file_in(tmp_path)
    path.rename(path.with_suffix(".segment"))
    assert reopened(tmp_path) == [[b"left behind"]]
    assert file_in(tmp_path) == path


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
    assert journal.bytes_of(file) == len(framed(b"stored"))
    journal.remove(file)
    assert journal.sealed() == []
    journal.close()
