"""Horvitz-Thompson: the drawn rows, each over its probability, estimate totals without bias."""

import numpy as np
import pytest

from spark_jobs.selection.draw import selection_of
from tests.helpers.logged_records import binary_records

DRAWS, N, K = 2000, 100, 20
TABLE = binary_records(N)


@pytest.mark.parametrize(
    "policy",
    [
        "grad-norm",
        *(
            pytest.param(p, marks=(pytest.mark.slow, pytest.mark.nightly))
            for p in ("balanced", "infobatch")
        ),
    ],
)
def test_law_3_the_mean_estimate_of_the_total_loss_is_the_total_loss(policy):
    """Of each design; over 2000 draws, within 4 standard errors; weights are k / (N pi)."""
    estimates = []
    for seed in range(1, DRAWS + 1):
        rows = selection_of(TABLE, policy=policy, budget=K / N, seed=seed, task="binary").rows(True)
        weight, loss = rows["weight"].to_numpy(), rows["loss"].to_numpy()
        estimates.append(weight @ loss * N / K)
    logit, label = TABLE["prediction"].to_numpy(), TABLE["label"].to_numpy()
    total = (np.logaddexp(0, logit) - label * logit).sum()
    error = np.std(estimates) / np.sqrt(DRAWS)
    assert np.mean(estimates) == pytest.approx(total, abs=4 * error)
    assert error < 0.01 * total
