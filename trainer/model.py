"""The models, by name: what is trained, exported and warm-started.

A model is built from its card alone and maps
(categories int64 (n, c), numbers float32 (n, m)) to
(output float32 (n, outputs), sketch float32 (n, sketch_width)).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from schemas.bundle import ModelCard
from schemas.errors import ConfigurationError
from schemas.tables import SKETCH_WIDTH
from trainer.survey import Survey

PROJECTION_SEED = 20210414  # any constant: fresh models of one shape share their projection
EMBEDDING_SCALE = 0.05  # small, so that a code never seen in training says almost nothing
FAR = 8.0  # standardised numbers beyond this are taken as this


class EmbeddingMLP(nn.Module):
    """Embeddings of the categories beside the standardised numbers, then ReLU layers."""

    def __init__(
        self, buckets: Sequence[int], numbers: int, hidden: Sequence[int], outputs: int
    ) -> None:
        """`buckets` is the number of codes of each category, `hidden` the width of each layer."""
        super().__init__()
        self.embeddings = nn.ModuleList(map(_embedding, buckets))
        widths = [sum(embedding_width(n) for n in buckets) + numbers, *hidden]
        self.layers = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))
        self.head = nn.Linear(widths[-1], outputs)
        # Fixed: set once from the first training set, then inherited by warm starts.
        self.mean: Tensor
        self.scale: Tensor
        self.projection: Tensor
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("scale", torch.ones(numbers))
        self.register_buffer("projection", _projection(widths[-1]))

    def forward(self, categories: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """(output (n, outputs), sketch (n, width)); the sketch projects the last hidden layer."""
        parts = [embed(categories[:, i]) for i, embed in enumerate(self.embeddings)]
        parts.append(((numbers - self.mean) / self.scale).clamp(-FAR, FAR))
        layer = torch.cat(parts, dim=1)
        for linear in self.layers:
            layer = torch.relu(linear(layer))
        return self.head(layer), layer @ self.projection


def embedding_width(buckets: int) -> int:
    """Twice the fourth root of the number of codes, at most 16: 7 -> 3, 256 -> 8, 1024 -> 11."""
    return min(16, round(2 * math.pow(buckets, 0.25)))


def _embedding(buckets: int) -> nn.Embedding:
    embedding = nn.Embedding(buckets, embedding_width(buckets))
    nn.init.normal_(embedding.weight, std=EMBEDDING_SCALE)
    return embedding


def sketch_width(hidden: Sequence[int]) -> int:
    """Numbers in the sketch of a model with these layers."""
    return min(SKETCH_WIDTH, hidden[-1])


def _projection(width: int) -> Tensor:
    """Orthonormal columns (width, min(16, width)), the same on every call."""
    generator = np.random.Generator(np.random.Philox(PROJECTION_SEED))
    columns = generator.standard_normal((width, sketch_width([width])))
    return torch.from_numpy(np.linalg.qr(columns)[0].astype(np.float32))


def _embedding_mlp(card: ModelCard) -> nn.Module:
    return EmbeddingMLP(card.buckets, len(card.names("number")), card.hidden, card.outputs)


DEFAULT_MODEL = "embedding-mlp"
MODELS: dict[str, Callable[[ModelCard], nn.Module]] = {DEFAULT_MODEL: _embedding_mlp}


def build_model(card: ModelCard, seed: int) -> nn.Module:
    """A fresh model of the card's architecture; its weights are a function of (card, seed)."""
    if card.architecture not in MODELS:
        raise ConfigurationError(
            f"architecture = {card.architecture!r}: unknown. Remedy: choose {', '.join(MODELS)}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[card.architecture](card)


def standardise(model: nn.Module, survey: Survey) -> None:
    """Set the model's fixed mean and scale from the sample's moments."""
    if not survey.numbers.mean.size or survey.weight <= 0:
        return
    model.get_buffer("mean").copy_(torch.from_numpy(survey.numbers.mean))
    model.get_buffer("scale").copy_(torch.from_numpy(survey.numbers.scale))
