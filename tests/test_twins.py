"""Twins of the demonstration: closed loops of their own, at the same backward passes."""

from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from demo import twins
from demo.outcome import difference, mean_loss, verdict
from demo.stream import labelled, records, rows_of
from demo.twins import Arm, Week, arms, closed_loop
from schemas.pipeline import Pipeline, load_pipeline
from schemas.record_step import RecordStep
from spark_jobs.refresh.plan import cut_of
from trainer.fitting.trials import fit_rows
from trainer.models.export import Loaded
from trainer.models.model import model_card

FIRST = date(2013, 1, 1)
DAYS = [date(2013, 1, 14) + timedelta(days=7 * week) for week in range(3)]
A_DAY = 61  # flights: 427 a week pay for 42.7 backward passes at one in ten


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    settings = {"epochs": 1, "batch_size": 16, "learning_rate": 0.003, "pull": 0.01, "seed": 1}
    overrides = {f"training.{name}": value for name, value in settings.items()}
    return load_pipeline("pipelines/flights.toml", overrides | {"gate.min_rows": 10})


@pytest.fixture(scope="module")
def flights(pipeline: Pipeline) -> pa.Table:
    """Five weeks; lateness hangs on the distance. Every ninth flight never gets a label, and that
    of a day's last one is known only the day after."""
    random = np.random.default_rng(3)
    n = 35 * A_DAY
    dates = [FIRST + timedelta(days=at // A_DAY) for at in range(n)]
    late = [at % A_DAY == A_DAY - 1 for at in range(n)]
    known = [
        None
        if at % 9 == 0
        else datetime.combine(day, time(23), UTC) + timedelta(hours=5 if late[at] else 0)
        for at, day in enumerate(dates)
    ]
    distance = random.normal(size=n).astype(np.float32)
    label = (random.random(n) < 1 / (1 + np.exp(1 - 2 * distance))).astype(np.float32)
    columns = {
        name: random.integers(0, 4, n).astype(np.int32)
        if feature.kind == "category"
        else random.normal(size=n).astype(np.float32)
        for name, feature in pipeline.features.items()
    }
    return pa.table(
        {
            "instance_id": [f"flight-{at}" for at in range(n)],
            "event_date": dates,
            "segments": [[f"origin{at % 3}", f"carrier{at % 2}"] for at in range(n)],
            "held_out": [at % 20 == 7 for at in range(n)],
            **(columns | {"distance": distance}),
            "known_at": pa.array(known, pa.timestamp("us", tz="UTC")),
            "label": pa.array(label, mask=np.array([one is None for one in known])),
        }
    )


@pytest.fixture(scope="module")
def first(pipeline: Pipeline, flights: pa.Table) -> Loaded:
    card = model_card(pipeline, "none", 1)
    rows = rows_of(pipeline, labelled(flights.slice(0, 7 * A_DAY)))
    return Loaded(card, fit_rows(pipeline, card, rows, None).model.state_dict())


@pytest.fixture
def seen(monkeypatch) -> list[tuple[pa.Table, Loaded, RecordStep | None]]:
    """What every fit was given: the rows as a table, the parent, and the record step."""
    given = []

    def chosen(*arguments):
        rows, step = original(*arguments)
        given.append([rows])
        return rows, step

    def fitted(pipeline, card, rows, parent, step):
        given[-1] += [parent, step]
        return fit_rows(pipeline, card, rows, parent, step)

    original = twins._chosen
    monkeypatch.setattr(twins, "_chosen", chosen)
    monkeypatch.setattr(twins, "fit_rows", fitted)
    return given


def loop(pipeline, flights, first, arm, seed=0) -> list[Week]:
    return closed_loop(pipeline, flights, arms(pipeline, 0.1)[arm], first, DAYS, seed)


# --- what is spent ---


def test_the_twins_spend_the_same_backward_passes_and_carry_what_is_left(pipeline, flights, first):
    own = loop(pipeline, flights, first, "calibrated")
    uniform = loop(pipeline, flights, first, "uniform")
    assert [week.forward_passes for week in own] == [7 * A_DAY] * 3
    assert [week.backward_passes for week in own] == [42, 43, 43]  # of 42.7, 85.4 and 128.1
    assert [week.backward_passes for week in uniform] == [42, 43, 43]


def test_a_row_costs_what_it_is_fitted_for(pipeline, flights, first):
    training = pipeline.training.model_copy(update={"epochs": 4})
    weeks = loop(pipeline.model_copy(update={"training": training}), flights, first, "uniform")
    assert [week.backward_passes for week in weeks] == [40, 44, 44]


def test_all_is_every_new_candidate_once(pipeline, flights, first, seen):
    """A flight of the last evening, whose label came after the cut, is taken a week later."""
    weeks = loop(pipeline, flights, first, "all")
    taken: list[str] = []
    for number, (week, (chosen, *_)) in enumerate(zip(weeks, seen, strict=True)):
        assert week.backward_passes == len(chosen)
        taken += chosen["instance_id"].to_pylist()
        dates = set(chosen["event_date"].to_pylist())
        assert dates == {week.ds - timedelta(days=back) for back in range(7 + bool(number))}
    assert len(taken) == len(set(taken))
    ended = flights.filter(pc.less_equal(flights["known_at"], pa.scalar(cut_of(DAYS[-1]))))
    ended = ended.filter(pc.greater(ended["event_date"], DAYS[0] - timedelta(days=7)))
    assert set(taken) == set(ended.filter(pc.invert(ended["held_out"]))["instance_id"].to_pylist())


@pytest.mark.parametrize("arm", ["calibrated", "uniform", "all"])
def test_only_candidates_are_fitted(pipeline, flights, first, seen, arm):
    for week, (chosen, *_) in zip(loop(pipeline, flights, first, arm), seen, strict=True):
        assert not any(chosen["held_out"].to_pylist())
        assert pc.max(chosen["known_at"]).as_py() <= cut_of(week.ds)
        assert pc.min(chosen["event_date"]).as_py() > DAYS[0] - timedelta(days=7)


# --- closed ---


def test_each_flight_is_answered_once_by_the_model_that_served(
    pipeline, flights, first, monkeypatch
):
    asked = []

    def spy(pipeline, model, new):
        asked.append((new["event_date"].to_pylist(), next(model.parameters()).sum().item()))
        return records(pipeline, model, new)

    monkeypatch.setattr(twins, "records", spy)
    weeks = loop(pipeline, flights, first, "calibrated")
    assert all(week.promoted for week in weeks)
    days = [day for dates, _ in asked for day in dates]
    assert len(days) == 3 * 7 * A_DAY
    assert (min(days), max(days)) == (DAYS[0] - timedelta(days=6), DAYS[-1])
    assert len({weights for _, weights in asked}) == 3


def test_a_fit_begins_with_the_arms_own_predecessor(pipeline, flights, first, seen):
    weeks = loop(pipeline, flights, first, "uniform")
    parents = [parent for _, parent, _ in seen]
    assert all(week.promoted for week in weeks)
    assert parents[0] is first
    assert len({id(parent) for parent in parents}) == 3


def test_the_own_policy_takes_the_record_step_where_that_is_asked_for(
    pipeline, flights, first, seen
):
    stepped = pipeline.model_copy(
        update={"training": pipeline.training.model_copy(update={"record_step": 0.1})}
    )
    loop(stepped, flights, first, "calibrated")
    served, week = [], 0
    for _, parent, step in seen:
        if not any(parent is one for one in served):
            served.append(parent)
            week = 0
        week += 1
        assert step.version == str(len(served))
        assert 300 * week < step.rows < 427 * week  # one week's flights for each that it served
    for settings, arm in ((stepped, "uniform"), (pipeline, "calibrated")):
        seen.clear()
        loop(settings, flights, first, arm)
        assert [step for _, _, step in seen] == [None] * len(DAYS)


def test_so_does_its_optimizer(pipeline, flights, first, seen):
    loop(pipeline, flights, first, "uniform")
    states = [parent.optimizer for _, parent, _ in seen]
    assert states[0] is first.optimizer
    steps = [float(state.tensors["step/network.layers.0.weight"]) for state in states[1:]]
    assert steps == [3, 6]  # of 42 and 43 rows in batches of 16


def test_what_the_gate_refuses_does_not_serve(pipeline, flights, first, seen):
    strict = pipeline.gate.model_copy(update={"max_loss_increase": -9.0})
    refusing = pipeline.model_copy(update={"gate": strict})
    weeks = loop(refusing, flights, first, "calibrated")
    assert not any(week.promoted for week in weeks)
    assert all(parent is first for _, parent, _ in seen)
    uniform = loop(refusing, flights, first, "uniform")
    assert [week.loss for week in weeks] == [week.loss for week in uniform]  # the first model's


def test_a_seed_repeats_and_another_draws_anew(pipeline, flights, first):
    once, again, other = (loop(pipeline, flights, first, "calibrated", seed) for seed in (0, 0, 1))
    assert once == again
    assert [week.loss for week in once] != [week.loss for week in other]


def test_the_pipelines_own_policy_is_an_arm(pipeline):
    found = arms(pipeline, 0.1)
    assert found["uniform"] == Arm("uniform", found["uniform"].policy, 0.1)
    assert found["uniform"].policy.name == "uniform"
    assert found["calibrated"].policy.name == "calibrated"
    assert (found["all"].policy, found["all"].amount) == (None, 1.0)


# --- the difference ---


def weeks_of(*losses: float, flights: tuple[int, ...] = (100, 300)) -> list[Week]:
    return [
        Week(day, 1000, 100, True, count, loss)
        for day, count, loss in zip(DAYS, flights, losses, strict=False)
    ]


def test_a_week_weighs_its_flights():
    assert mean_loss(weeks_of(0.5, 0.6)) == pytest.approx(0.575)


def test_the_interval_is_students_over_seeds():
    own = [weeks_of(0.50, 0.50), weeks_of(0.52, 0.52), weeks_of(0.51, 0.51)]
    other = [weeks_of(0.53, 0.53)] * 3
    mean, low, high = difference(own, other)
    assert mean == pytest.approx(-0.02)
    assert (high - low) / 2 == pytest.approx(4.302653 * 0.01 / np.sqrt(3), rel=1e-6)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ((0.50, 0.50), "beat uniform"),
        ((0.56, 0.56), "did NOT beat uniform at the same backward passes: it was worse"),
        ((0.52, 0.54), "did NOT beat uniform at the same backward passes: the interval has 0"),
    ],
)
def test_the_verdict_is_in_words(own, words):
    apart = difference(
        [weeks_of(loss, loss) for loss in own], [weeks_of(0.53, 0.53), weeks_of(0.531, 0.531)]
    )
    assert words in verdict("calibrated", apart)
