"""`from tenforward import ForwardRecorder, draw`: each loaded when it is first used, without Spark
and torch."""

import subprocess
import sys

import pytest

import inference.recorder
import spark_jobs.selection
import tenforward


def python(code: str) -> str:
    """What a new interpreter prints."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_names_load_where_neither_spark_nor_torch_can_be_imported() -> None:
    said = python(
        "import sys\n"
        "for name in ('pyspark', 'py4j', 'delta', 'torch', 'petastorm'):\n"
        "    sys.modules[name] = None  # importing it is an error\n"
        "from tenforward import ForwardRecorder, draw\n"
        "print(ForwardRecorder.__name__, draw.__name__)"
    )
    assert said == "ForwardRecorder draw\n"


def test_importing_tenforward_alone_loads_nothing_heavy() -> None:
    said = python(
        "import sys, tenforward\n"
        "heavy = ('numpy', 'pyarrow', 'deltalake', 'pydantic', 'numba', 'pyspark', 'torch')\n"
        "print([name for name in heavy if name in sys.modules], dir(tenforward))"
    )
    assert said.startswith("[] ")
    assert "'ForwardRecorder'" in said
    assert "'draw'" in said


def test_the_recorder_loads_without_the_kernels_and_the_kernels_without_the_recorder() -> None:
    recorder = "from tenforward import ForwardRecorder; import sys; print('numba' in sys.modules)"
    assert python(recorder) == "False\n"
    draw = "from tenforward import draw; import sys; print('deltalake' in sys.modules)"
    assert python(draw) == "False\n"


def test_the_old_places_hold_the_same() -> None:
    assert tenforward.ForwardRecorder is inference.recorder.ForwardRecorder
    assert tenforward.draw is spark_jobs.selection.draw
    assert tenforward.draw is sys.modules["spark_jobs.selection.draw"].draw


def test_every_public_name_is_listed_and_another_is_no_attribute() -> None:
    assert set(tenforward.PUBLIC) <= set(tenforward.__all__)
    assert set(tenforward.__all__) <= set(dir(tenforward))
    with pytest.raises(AttributeError, match="'tenforward' has no attribute 'undraw'"):
        _ = tenforward.undraw
