"""The default beside uniform at the settings that both were tried with."""

from math import inf

from benchmarks.study.same_settings import pairs, same_settings
from benchmarks.study.tuned import Setting, Trial

FAST, SLOW, OTHER = Setting(16, 0.1, 7), Setting(16, 0.001, 7), Setting(64, 0.001, 7)


def tried(
    arm: str, setting: Setting, *losses: float, data: str = "flights", amount: float = 0.1
) -> list[Trial]:
    """A trial a seed."""
    return [
        Trial(data, arm, amount, setting, seed, loss, 1.0, chosen=False)
        for seed, loss in enumerate(losses)
    ]


TRIALS = [
    *tried("uniform", FAST, 0.5, 0.75),
    *tried("calibrated", FAST, 0.5, 0.6875),
    *tried("uniform", SLOW, 0.5, 0.5),
    *tried("calibrated", SLOW, 0.535, 0.535),
    *tried("uniform", OTHER, 0.3, 0.3),  # the other arm never came here
    *tried("calibrated", OTHER, 0.1, 0.1, amount=0.25),  # at another amount
    *tried("all", SLOW, 0.1, 0.1, amount=1.0),
    *tried("uniform", SLOW, inf, 0.4, data="mnist"),
    *tried("calibrated", SLOW, 0.3, 0.4, data="mnist"),
    *tried("uniform", FAST, 0.8, 0.8, data="mnist"),
    *tried("calibrated", FAST, 0.6, 0.6, data="mnist"),
]


def test_a_pair_is_one_setting_of_both_arms_at_the_amount_of_the_goal():
    assert pairs(TRIALS) == {
        "flights": [(0.625, 0.59375), (0.5, 0.535)],
        "mnist": [(inf, 0.35), (0.8, 0.6)],
    }


def test_a_diverged_fit_counts_and_has_no_part_in_the_median():
    told = same_settings(TRIALS)
    assert "| flights | 2 | 1 | +1.00 % |" in told  # of -5 % and +7 %
    assert "| mnist | 2 | 2 | -25.00 % |" in told
