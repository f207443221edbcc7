"""Names of parts that must be there: policies and what they are made of, sources, own modules.

The engine's own tables say which policies and sources there are; they are asked when a command
begins, and not when a server loads a pipeline, because the engine takes half a second to import.
"""

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import ConfigurationError
from schemas.sections.fault import Fault

if TYPE_CHECKING:
    from schemas.pipeline import Pipeline


def policy_exists(pipeline: "Pipeline") -> Iterator[Fault]:
    """A policy that is unknown, or that the task or its parts do not allow."""
    from spark_jobs.selection.policies import configured

    if _unknown_stratum(pipeline):
        return  # told as a fault of the strata
    try:
        configured(pipeline)
    except ConfigurationError as error:
        yield _of_selection(pipeline, str(error))


_FIELD = re.compile(r"(?:policy '(?P<policy>.*?)': |selection\.)?(?P<field>\w+) = .*?: ", re.DOTALL)


def _of_selection(pipeline: "Pipeline", error: str) -> Fault:
    """The engine's refusal of a policy, by the field that it names."""
    told, _, remedy = error.rstrip(".").partition(". Remedy: ")
    named = _FIELD.match(told)
    if named is None:
        return Fault("selection.policy", pipeline.selection.policy, told, remedy)
    value = getattr(pipeline.selection, named["field"], None)
    of = "" if named["policy"] is None else f" (policy {named['policy']!r})"
    if value is None:  # of the policy itself, which the file does not change
        return Fault("selection.policy", pipeline.selection.policy, told, remedy)
    return Fault(f"selection.{named['field']}", value, told[named.end() :] + of, remedy)


def _unknown_stratum(pipeline: "Pipeline") -> bool:
    strata = pipeline.selection.strata
    return strata is not None and strata.segment not in pipeline.instances.segments


def policy_reads(pipeline: "Pipeline") -> Iterator[Fault]:
    """What `[selection]` changes of a policy that does not look at it, and a record step where none
    is summed up."""
    from spark_jobs.selection.policies import configured, unread

    if _unknown_stratum(pipeline):
        return
    try:
        policy = configured(pipeline)
    except ConfigurationError:
        return  # told already
    for name, why in unread(policy).items():
        if name in pipeline.selection.model_fields_set:
            value = getattr(pipeline.selection, name)
            problem = f"nothing reads it under policy {policy.name!r}: {why}"
            yield Fault(f"selection.{name}", value, problem, "remove it, or change the policy")
    step = pipeline.training.record_step
    if step and not policy.calibrated:
        problem = f"policy {policy.name!r} is not calibrated, and it is summed up where rows are"
        yield Fault("training.record_step", step, problem, "remove it, or change the policy")


def source_exists(pipeline: "Pipeline") -> Iterator[Fault]:
    """A source that `tenforward ingest` does not know."""
    from spark_jobs.sources import require_source

    if pipeline.source is not None:
        try:
            require_source(pipeline.source)
        except ConfigurationError as error:
            _, _, remedy = str(error).rstrip(".").partition(". Remedy: ")
            yield Fault("source", pipeline.source, "no such source", remedy)


def own_model_exists(pipeline: "Pipeline") -> Iterator[Fault]:
    """A model of the user's own whose module, or the function in it, is not to be had.

    The module is read, not run: it would import torch, and do what it likes.
    """
    if not pipeline.model.own:
        return
    name = pipeline.model.name
    module, _, function = name.partition(":")
    try:
        spec = find_spec(module)
    except (ImportError, ValueError) as error:  # of a package around it
        spec, why = None, str(error)
    else:
        why = f"no module {module!r}"
    if spec is None:
        remedy = "install the package that has it, or put its folder into PYTHONPATH"
        yield Fault("model.name", name, f"{why} where this runs", remedy)
    elif spec.origin is not None and spec.origin.endswith(".py"):
        problem = _lacks(Path(spec.origin), function)
        if problem is not None:
            yield Fault("model.name", name, f"{module} {problem}", "correct the name")


def _lacks(source: Path, function: str) -> str | None:
    """Why a module cannot have a function of that name; None where it has, or may have."""
    try:
        body = ast.parse(source.read_bytes(), str(source)).body
    except (OSError, SyntaxError, ValueError) as error:
        return f"cannot be read: {error}"
    names: set[str] = set()
    for node in ast.walk(ast.Module(body, [])):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.ImportFrom(names=aliases) | ast.Import(names=aliases):
                names |= {one.asname or one.name.partition(".")[0] for one in aliases}
    if function in names or "*" in names or "__getattr__" in names:
        return None
    return f"has no function {function!r}"
