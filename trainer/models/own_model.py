"""A model of the user's own: `name = "module:factory"` in `[model]` (docs/models.md).

The name stands in the operator's pipeline file and runs with the trainer's rights, like the trainer
itself. What is scored later is the exported program, which imports nothing.
"""

import sys
import traceback
from importlib import import_module
from pathlib import Path

from torch import nn

from schemas.bundle import Blueprint
from schemas.errors import ConfigurationError


def own_network(blueprint: Blueprint) -> nn.Module:
    """What the factory named by the blueprint makes of it."""
    name = blueprint.architecture
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(import_module(module), attribute, None)
    except ImportError as error:
        raise ConfigurationError(
            f"model.name = {name!r}: {error}. Remedy: install the package that has it, or put its"
            " folder into PYTHONPATH, wherever training runs."
        ) from error
    except Exception as error:
        raise failed("cannot be imported", error, name, "mend the module") from error
    if not callable(factory):
        raise ConfigurationError(
            f"model.name = {name!r}: module {module} has no function {attribute!r}. Remedy: name"
            " a function that takes a blueprint and gives a torch.nn.Module."
        )
    try:
        network = factory(blueprint)
    except ConfigurationError:
        raise
    except Exception as error:
        remedy = "correct the factory, or model.settings of the pipeline file"
        raise failed("the factory failed", error, name, remedy) from error
    if not isinstance(network, nn.Module):
        raise ConfigurationError(
            f"model.name = {name!r}: gave a {type(network).__name__}. Remedy: return a"
            " torch.nn.Module."
        )
    return network


def failed(what: str, error: BaseException, name: str, remedy: str) -> ConfigurationError:
    """What is said of an error in the code of a model of one's own, whose name is module:factory:
    the error and the line that raised it."""
    said = " ".join(str(error).split())[:600] or "no message"
    line = own_line(error, name)
    where = f" ({line})" if line else ""
    kind = type(error).__name__
    return ConfigurationError(
        f"model.name = {name!r}: {what}{where}: {kind}: {said.removesuffix('.')}. Remedy: {remedy}."
    )


def own_line(error: BaseException, name: str) -> str | None:
    """The last line of the model's own module, or of its neighbours, on the way to an error."""
    module = sys.modules.get(name.partition(":")[0])
    if module is None or module.__file__ is None:
        return None
    folder = Path(module.__file__).parent
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).parent == folder]
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}" if own else None
