"""Several ranks: the same steps, every row once, the weights of one process."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from schemas.errors import DataQualityError
from schemas.pipeline import Pipeline
from tests.helpers.clean_processes import clean_processes
from tests.helpers.trainer_tables import in_memory, random_rows, small_card, small_pipeline
from trainer.data.epoch import sample_order, steps, window_sizes, windows
from trainer.data.packed import Packed
from trainer.data.sample import Kept
from trainer.data.survey import survey_of
from trainer.fitting.checkpoint import Checkpoint
from trainer.fitting.fit import fit
from trainer.fitting.meter import Meter
from trainer.models.model import build_model, standardise
from trainer.models.optimizer_state import OptimizerState
from trainer.processes.followers import followed
from trainer.processes.ranks import Ranks

# 203 rows in batches of 64: neither divides by 2 or 3, so the last shares are padded.
ROWS = random_rows(203, seed=4) | {
    "weight": np.random.default_rng(1).uniform(0.2, 3, 203).astype(np.float32)
}
PIPELINE = small_pipeline(training={"epochs": 3, "pull": 0.1, "clip": 1.0, "patience": 1})


def on_ranks(world: int, folder: Path, work: Callable[[Ranks], object]) -> list[int | None]:
    """Run `work` on every rank in a process of its own; their exit codes."""
    make = clean_processes().Process
    processes = [make(target=on_rank, args=(rank, world, folder, work)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def on_rank(rank: int, world: int, folder: Path, work: Callable[[Ranks], object]) -> None:
    """What one of them does."""
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    torch.save(work(Ranks(rank, world)), folder / f"{rank}.pt")
    dist.destroy_process_group()


def fitted(ranks: Ranks, pipeline: Pipeline = PIPELINE) -> dict[str, Tensor]:
    """Weights and epoch losses after a fit; every rank but the first begins with other weights."""
    rows = in_memory(pipeline, ROWS)
    model = build_model(small_card(pipeline), seed=1 + ranks.rank)
    standardise(model, survey_of([rows], "binary"))
    history = fit(model, rows, "binary", pipeline.training, pulled=True, ranks=ranks)
    return dict(model.state_dict()) | {"losses": torch.tensor(history.losses)}


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_end_with_equal_weights_which_are_those_of_one_process(
    world: int, tmp_path: Path
) -> None:
    alone = fitted(Ranks())
    assert on_ranks(world, tmp_path, fitted) == [0] * world
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    for name, value in alone.items():
        for result in results[1:]:
            assert torch.equal(result[name], results[0][name]), name
        # Sums are taken in another order, no more: 12 steps of AdamW, relative to the values.
        torch.testing.assert_close(results[0][name], value, rtol=1e-3, atol=1e-5, msg=name)


def went_on(ranks: Ranks) -> dict[str, Tensor]:
    """The fit, with an optimizer that goes on; every rank but the first has zeros for its state."""
    rows, settings = in_memory(PIPELINE, ROWS), PIPELINE.training
    model = build_model(small_card(PIPELINE), seed=1)
    carried = OptimizerState.blank("adamw", model)
    if ranks.first:
        carried = fit(model, rows, "binary", settings, ranks=Ranks()).optimizer
    model = build_model(small_card(PIPELINE), seed=2)
    left = fit(model, rows, "binary", settings, ranks=ranks, carried=carried).optimizer
    assert left is not None
    return dict(model.state_dict()) | dict(left.tensors)


def test_ranks_go_on_from_the_first_ones_optimizer(tmp_path: Path) -> None:
    alone = went_on(Ranks())
    assert on_ranks(2, tmp_path, went_on) == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-3, atol=1e-5, msg=name)


class Ends:
    """A meter that ends a rank after so many steps, as a lost machine does."""

    total = 0

    def __init__(self, after: int) -> None:
        self.left = after

    def add(self, rows: int) -> None:
        self.left -= 1
        if not self.left:
            raise SystemExit(9)

    def publish(self) -> None:
        """Nobody counts."""


def on_a_disk_of_its_own(
    folder: Path, optimizer: str, ends_after: int, ranks: Ranks
) -> dict[str, Tensor]:
    """A fit whose checkpoints lie where no other rank can look."""
    own = {"epochs": 6, "checkpoint_steps": 5, "optimizer": optimizer, "patience": 2}
    pipeline = small_pipeline(training=own)
    rows = in_memory(pipeline, ROWS)
    model = build_model(small_card(pipeline), seed=1)
    history = fit(
        model,
        rows,
        "binary",
        pipeline.training,
        ranks=ranks,
        checkpoint=Checkpoint(folder / f"disk-{ranks.rank}" / "small.safetensors", {"of": "it"}),
        meter=cast("Meter", Ends(ends_after)),
    )
    return dict(model.state_dict()) | {"losses": torch.tensor(history.losses)}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_ranks_that_share_no_disk_go_on_from_the_firsts_checkpoint(
    optimizer: str, tmp_path: Path
) -> None:
    runs = {"whole": [1000], "ended": [12, 1000]}  # steps of each try; there are 18, or fewer
    for name, tries in runs.items():
        for number, steps_made in enumerate(tries):
            folder = tmp_path / f"{name}-{number}"
            folder.mkdir()
            work = partial(on_a_disk_of_its_own, tmp_path / name, optimizer, steps_made)
            ended = [0, 0] if steps_made == 1000 else [9, 9]
            assert on_ranks(2, folder, work) == ended
    assert not (tmp_path / "ended" / "disk-1").exists()
    for rank in range(2):
        whole, ended = (
            torch.load(tmp_path / folder / f"{rank}.pt") for folder in ("whole-0", "ended-1")
        )
        assert all(torch.equal(whole[name], ended[name]) for name in whole)


def test_as_many_ranks_twice_give_the_same_bits(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        assert on_ranks(2, tmp_path / folder, fitted) == [0, 0]
    one, two = (torch.load(tmp_path / folder / "0.pt") for folder in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("group_sizes", [[203], [100, 100, 3], [1] * 203, [60, 70, 73]])
def test_law_4_over_the_ranks_every_row_is_seen_once_and_its_weight_is_its_own(
    world: int, group_sizes: list[int]
) -> None:
    sample = Kept(Packed.of(in_memory(PIPELINE, ROWS)), group_sizes)
    for seed in range(1, 21):
        settings = small_pipeline(training={"seed": seed, "shuffle_rows": 50}).training
        batches = [list(sample.epoch(3, settings, Ranks(r, world))) for r in range(world)]
        assert {len(b) for b in batches} == {steps(203, settings.batch_size)}
        seen = [(batch.inputs[1], batch.weight) for rank in batches for batch in rank]
        prices = torch.cat([numbers[weight > 0, 0] for numbers, weight in seen])
        assert sorted(prices.tolist()) == sorted(ROWS["price"].tolist())
        for step in zip(*batches, strict=True):
            assert len({len(batch.label) for batch in step}) == 1
            rows = sum(int((batch.weight > 0).sum()) for batch in step)
            assert [batch.rows for batch in step] == [rows] * world


# The order that a stream can follow.


def test_a_sample_of_one_window_has_one_order_whatever_its_file_groups() -> None:
    orders = [sample_order(sizes, 1000, 7, 2) for sizes in ([500], [100] * 5, [1, 499])]
    np.testing.assert_array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[0], orders[2])


@pytest.mark.parametrize(
    ("rows", "window", "sizes"),
    [
        (0, 8, []),
        (1, 8, [1]),
        (8, 8, [8]),
        (9, 8, [1, 2, 4, 2]),
        (40, 8, [1, 2, 4, 8, 8, 8, 8, 1]),
        (30, 16, [2, 4, 8, 16]),
        (5, 3, [1, 1, 1, 2]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_the_first_windows_of_several_are_smaller(rows: int, window: int, sizes: list[int]) -> None:
    assert list(window_sizes(rows, window)) == sizes
    found = windows([rows - rows // 3, rows // 3], window, seed=7, epoch=1)
    assert [sum(piece.rows for piece in pieces) for pieces in found] == sizes


@pytest.mark.parametrize("window", [1, 7, 64, 499, 500])
def test_an_order_in_windows_is_a_permutation(window: int) -> None:
    for epoch in range(5):
        assert sorted(sample_order([120, 80, 300], window, 7, epoch)) == list(range(500))


def test_places_in_two_epochs_are_unrelated_with_many_file_groups_in_small_windows() -> None:
    # 100 file groups in windows of 2.5: groups are what is shuffled, so 1/sqrt(100) is the scale.
    orders = [np.argsort(sample_order([100] * 100, 250, 7, epoch)) for epoch in range(8)]
    correlation = np.corrcoef(orders) - np.eye(8)
    assert np.abs(correlation).max() < 4 / np.sqrt(100)


def refused(ranks: Ranks, words: int = 0) -> str:
    """How a rank ends where the first is refused after so many words to the others."""
    if not ranks.first:
        heard = iter(ranks.broadcast, None)
        return f"dismissed after {sum(1 for _ in heard)} words"
    try:
        with followed(ranks) as followers:
            for _ in range(words):
                followers.tell("a refresh")
            raise DataQualityError("refused")
    except DataQualityError as error:
        return str(error)


@pytest.mark.parametrize("words", [0, 1])
def test_the_others_end_well_where_the_first_is_refused_before_they_fit(words, tmp_path):
    assert on_ranks(3, tmp_path, partial(refused, words=words)) == [0, 0, 0]
    ends = [torch.load(tmp_path / f"{rank}.pt") for rank in range(3)]
    assert ends == ["refused", *[f"dismissed after {words} words"] * 2]


def test_once_they_fit_along_they_wait_for_no_word_any_more(monkeypatch):
    said: list[str | None] = []
    monkeypatch.setattr(Ranks, "broadcast", lambda _, word=None: said.append(word))

    def failing_later() -> None:
        with followed(Ranks()) as followers:
            followers.tell("a refresh")
            followers.tell_last("what to fit")
            raise DataQualityError("a loss is not finite, which every rank sees")

    with pytest.raises(DataQualityError):
        failing_later()
    assert said == ["a refresh", "what to fit"]


def test_nobody_is_dismissed_behind_a_broken_connection(monkeypatch):
    said: list[str | None] = []

    def broken(_: Ranks, word: str | None = None) -> None:
        said.append(word)
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(Ranks, "broadcast", broken)
    with pytest.raises(RuntimeError, match="closed by peer"), followed(Ranks()) as followers:
        followers.tell("a refresh")
    assert said == ["a refresh"]
