"""`benchmarks/gpu.py`: it goes through all of its fits on any machine."""

import csv
import json
import math

import pytest
import torch

from benchmarks import gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(capsys):
    gpu.main([])
    assert capsys.readouterr().out == "no GPU here: nothing measured on one\n"


def test_every_fit_is_measured_and_written_down(tmp_path, capsys):
    small = ["--device", "cpu", "--rows", "64", "--rounds", "1", "--seconds", "0"]
    gpu.main([*small, "--out", str(tmp_path)])
    figures = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["figures"]
    names = ("model", "batch_size", "precision", "steps", "sample")
    fits = [tuple(one[name] for name in names) for one in figures]
    assert len(fits) == len(set(fits)) == 24 + 5
    assert {model for model, *_ in fits} == {"flights", "convolutional", "embeddings"}
    assert {sample for *_, sample in fits} >= {"resident", "streamed, 2 readers"}
    for one in figures:
        assert one["rounds"] == 1
        assert 0 < one["rows_per_second_least"] <= one["rows_per_second"] < math.inf
        assert 0 < one["share_waiting"] < 1
    with (tmp_path / "gpu.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 24 + 5
    told = capsys.readouterr().out
    assert told.count("| resident | bf16 |") == 5
    assert "medians of 1 rounds" in told
