"""`[model]`: which model is trained, and the settings that this model has."""

import difflib
import re
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from schemas.sections.fault import Fault, Wrong
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

    name: str = Field(
        default=DEFAULT_MODEL, description="Of a built-in model, or `module:factory` of your own."
    )
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
            near = difflib.get_close_matches(self.name, SETTINGS, n=1)
            raise Wrong(
                Fault(
                    "name",
                    self.name,
                    f'{self.name!r} is none of {", ".join(SETTINGS)}, and not "module:factory"',
                    f"write {near[0]!r}" if near else "write one of them",
                )
            )
        known_settings = OWN_SETTINGS if self.own else SETTINGS[self.name]
        has = ", ".join(known_settings) or "none"
        faults = [
            Fault(name, value, f"not a setting of {self.name!r}, which has {has}", "remove it")
            for name, value in self.model_dump(exclude_defaults=True, exclude={"name"}).items()
            if name not in known_settings
        ]
        if self.own and self.sketch_layer is None:
            remedy = 'name the layer whose output is sketched, such as "encoder.2"'
            faults.append(Fault("sketch_layer", None, "missing", remedy))
        for field, widths in (("hidden", self.hidden), ("channels", self.channels)):
            faults += [
                Fault(field, width, f"a width of {width}", "use 1 to 65536")
                for width in widths or []
                if not 1 <= width <= 1 << 16
            ]
        if faults:
            raise Wrong(*faults)
        return self

    def resolved(self) -> dict[str, Any]:
        """Every setting that this model has: as given, else the default."""
        if self.own:
            return dict(self.settings)
        given = self.model_dump(exclude_none=True)
        return {name: given.get(name, usual) for name, usual in SETTINGS[self.name].items()}

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that the model is for."""
        return TASKS.get(self.name, get_args(Task))
