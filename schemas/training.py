"""`[training]` and `[gate]`: how the model is fitted, and when it may serve."""

from pydantic import Field

from schemas.section import Section


class Training(Section):
    """`[training]`: the model and how it is fitted."""

    hidden: list[int] = Field(default=[64, 32], min_length=1, max_length=8)
    epochs: int = Field(default=8, ge=1, le=10_000)
    batch_size: int = Field(default=256, ge=1, le=1 << 20)
    learning_rate: float = Field(default=3e-3, gt=0, le=10)
    weight_decay: float = Field(default=1e-4, ge=0, le=10)
    pull: float = Field(
        default=0.0, ge=0, le=1e6, description="L2-SP: how hard the parent's weights pull."
    )
    warm_start: bool = True
    seed: int = Field(default=1, ge=1, lt=1 << 31)


class Gate(Section):
    """`[gate]`: when a challenger becomes the champion, on the same held-out rows."""

    max_loss_increase: float = Field(
        default=0.0, ge=0, le=10, description="How much worse the challenger's loss may be."
    )
    min_rows: int = Field(default=100, ge=1, description="Held-out rows below which none passes.")
