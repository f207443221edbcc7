"""On a GPU too a stream gives the batches of the rows kept. Without one nothing is shown."""

from pathlib import Path

import pytest
import torch

from tests.helpers.trainer_tables import random_rows, small_pipeline, write_refresh
from trainer.data.refresh import open_refresh
from trainer.data.sample import Kept, Streamed, read_packed
from trainer.processes.ranks import Ranks

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.mark.parametrize("window", [37, 100, 450, 5000])
def test_law_4_three_epochs_have_the_order_of_the_rows_kept(tmp_path: Path, window: int) -> None:
    settings = {"shuffle_rows": window, "batch_size": 32, "epochs": 3, "reader": "arrow"}
    pipeline = small_pipeline(training=settings)
    write_refresh(tmp_path, pipeline, "first", random_rows(1003, seed=1), parts=21)
    refresh = open_refresh(str(tmp_path), pipeline, "first")
    kept = Kept(read_packed(pipeline, refresh), refresh.group_sizes)
    streamed, ranks = Streamed(pipeline, refresh), Ranks(device=torch.device("cuda", 0))
    for epoch in range(3):
        one, other = (
            list(sample.epoch(epoch, pipeline.training, ranks)) for sample in (kept, streamed)
        )
        assert len(one) == len(other) == 32
        for batch, same in zip(one, other, strict=True):
            assert batch.label.device.type == "cuda"
            for part, alike in zip(
                (*batch.inputs, batch.label, batch.offset, batch.weight),
                (*same.inputs, same.label, same.offset, same.weight),
                strict=True,
            ):
                assert torch.equal(part, alike)
