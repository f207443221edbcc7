"""A model of the user's own: `name = "module:factory"` in `[model]` (docs/models.md).

The name stands in the operator's pipeline file and runs with the trainer's rights, like the trainer
itself. What is scored later is the exported program, which imports nothing.
"""

from importlib import import_module

from torch import nn

from schemas.bundle import Blueprint
from schemas.errors import ConfigurationError


def own_network(blueprint: Blueprint) -> nn.Module:
    """What the factory named by the blueprint makes of it."""
    name = blueprint.architecture
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"model.name = {name!r}: {error}. Remedy: install the package that has it, or put its"
            " folder into PYTHONPATH, wherever training runs."
        ) from error
    if not callable(factory):
        raise ConfigurationError(
            f"model.name = {name!r}: module {module} has no function {attribute!r}. Remedy: name"
            " a function that takes a blueprint and gives a torch.nn.Module."
        )
    network = factory(blueprint)
    if not isinstance(network, nn.Module):
        raise ConfigurationError(
            f"model.name = {name!r}: gave a {type(network).__name__}. Remedy: return a"
            " torch.nn.Module."
        )
    return network
