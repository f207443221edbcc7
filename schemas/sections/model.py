"""`[model]`: which model is trained, and the settings that this model has."""

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from schemas.sections.section import Section

Task = Literal["binary", "multiclass", "regression"]

DEFAULT_MODEL = "embedding-mlp"

# Each built-in model: its settings with their defaults, and the tasks it is for.
SETTINGS: dict[str, dict[str, Any]] = {
    DEFAULT_MODEL: {"hidden": [64, 32]},
    "convolutional": {"channels": [16, 32], "hidden": [64]},
    "logistic-regression": {},
    "linear-regression": {},
}
TASKS: dict[str, tuple[Task, ...]] = {
    "logistic-regression": ("binary", "multiclass"),
    "linear-regression": ("regression",),
}
# A model of the user's own, `module:factory`, reads what it likes from `settings`.
OWN_MODEL = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
OWN_SETTINGS = ("sketch_layer", "settings")

Setting = bool | int | float | str


class Model(Section):
    """`[model]`: the name of a built-in model or `module:factory`, and its settings.

    A setting that the named model does not have is refused.
    """

    name: str = DEFAULT_MODEL
    hidden: list[int] | None = Field(
        default=None, min_length=1, max_length=8, description="Width of each layer."
    )
    channels: list[int] | None = Field(
        default=None, min_length=1, max_length=6, description="Of each convolution."
    )
    sketch_layer: str | None = Field(
        default=None, min_length=1, description="Name of the submodule whose output is sketched."
    )
    settings: dict[str, Setting | list[Setting]] = Field(
        default={}, description="Handed to the factory as they are."
    )

    @property
    def own(self) -> bool:
        """Whether the model is the user's own."""
        return OWN_MODEL.fullmatch(self.name) is not None

    @model_validator(mode="after")
    def _settings_fit(self) -> "Model":
        if not self.own and self.name not in SETTINGS:
            known = ", ".join(SETTINGS)
            raise ValueError(f'name: {self.name!r} is none of {known}, and not "module:factory"')
        known_settings = OWN_SETTINGS if self.own else SETTINGS[self.name]
        for name in self.model_dump(exclude_defaults=True, exclude={"name"}):
            if name not in known_settings:
                has = ", ".join(known_settings) or "none"
                raise ValueError(f"{name}: not a setting of {self.name!r}, which has {has}")
        if self.own and self.sketch_layer is None:
            raise ValueError(
                "sketch_layer: missing; name the layer whose output is sketched, such as"
                ' "encoder.2"'
            )
        for width in [*(self.hidden or []), *(self.channels or [])]:
            if not 1 <= width <= 1 << 16:
                raise ValueError(f"hidden, channels: a width of {width}; use 1 to 65536")
        return self

    def resolved(self) -> dict[str, Any]:
        """Every setting that this model has: as given, else the default."""
        if self.own:
            return dict(self.settings)
        given = self.model_dump(exclude_none=True)
        return {name: given.get(name, usual) for name, usual in SETTINGS[self.name].items()}

    def require_task(self, task: Task) -> None:
        """ValueError where the model is not for this task."""
        tasks = TASKS.get(self.name)
        if tasks is not None and task not in tasks:
            raise ValueError(
                f"model.name: {self.name!r} is for {' and '.join(tasks)} tasks, not {task}"
            )
