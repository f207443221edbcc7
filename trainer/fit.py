"""The training loop. On a CPU its result is a function of (rows, settings, parent), bit by bit."""

import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from schemas.errors import DataQualityError
from schemas.pipeline import Task
from schemas.training import Training
from trainer.epoch import Share, epoch_order, shares, steps
from trainer.loss import LOSSES, weighted_mean
from trainer.reader import Rows
from trainer.threads import one_thread

log = logging.getLogger("tenforward")

QUIET_S = 10.0  # between log lines of one training


@dataclass(frozen=True)
class _Device:
    """The rows of a refresh as tensors on the device, held there for every epoch."""

    categories: Tensor
    numbers: Tensor
    label: Tensor
    weight: Tensor
    offset: Tensor


@one_thread()
def fit(
    model: nn.Module,
    rows: Rows,
    task: Task,
    settings: Training,
    parent: Mapping[str, Tensor] | None = None,
) -> list[float]:
    """Train `model` in place; the mean training loss of each epoch.

    `parent` holds the weights that `settings.pull` pulls to (L2-SP), by parameter name. The
    learning rate decays to 0 along a cosine. Raises DataQualityError when a loss is not finite.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    data = _on_device(rows, device)
    anchors = _anchors(model, parent if settings.pull else None, device)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    total = settings.epochs * steps(len(rows), settings.batch_size)
    step = 0
    means: list[float] = []
    for epoch in _with_progress(settings.epochs, means):
        losses = []
        for share in shares(epoch_order(len(rows), settings.seed, epoch), settings.batch_size):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * _cosine(step, total)
            loss = _batch_loss(model, data, share, task)
            losses.append(loss.detach())
            optimizer.zero_grad()
            (loss + settings.pull * _distance(anchors)).backward()
            optimizer.step()
            step += 1
        means.append(_finite_mean(torch.stack(losses), epoch))
    model.cpu().eval()
    return means


def _batch_loss(model: nn.Module, data: _Device, share: Share, task: Task) -> Tensor:
    """Weighted mean loss of one batch; padding weighs nothing."""
    here = torch.from_numpy(share.rows).to(data.label.device)
    weight = data.weight[here] * torch.from_numpy(share.real).to(data.label.device)
    output, _ = model(data.categories[here], data.numbers[here])
    return weighted_mean(LOSSES[task](output, data.label[here], data.offset[here]), weight)


def _with_progress(epochs: int, means: list[float]) -> Iterator[int]:
    """The epochs, with a bar on a terminal; elsewhere a log line now and then, and at the end."""
    terminal, spoken = sys.stderr.isatty(), time.monotonic()
    for epoch in tqdm(range(epochs), "training", unit="epoch", leave=False, disable=not terminal):
        yield epoch
        last = epoch == epochs - 1
        if not terminal and (last or time.monotonic() - spoken > QUIET_S):
            log.info("epoch %d of %d: training loss %.5f", epoch + 1, epochs, means[-1])
            spoken = time.monotonic()


def _on_device(rows: Rows, device: torch.device) -> _Device:
    parts = (rows.categories, rows.numbers, rows.label, rows.weight, rows.offset)
    return _Device(*(torch.from_numpy(part).to(device) for part in parts))


def _anchors(
    model: nn.Module, parent: Mapping[str, Tensor] | None, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """Pairs of a trained parameter and the parent's value of it."""
    if parent is None:
        return []
    return [(weight, parent[name].to(device)) for name, weight in model.named_parameters()]


def _distance(anchors: list[tuple[Tensor, Tensor]]) -> Tensor | float:
    """Squared distance to the parent, over all parameters."""
    return sum(((weight - anchor) ** 2).sum() for weight, anchor in anchors)


def _cosine(step: int, total: int) -> float:
    """Share of the learning rate at a step: 1 at the first, 0 just after the last."""
    return 0.5 * (1 + math.cos(math.pi * step / total))


def _finite_mean(losses: Tensor, epoch: int) -> float:
    """Mean over an epoch's steps; looked at once an epoch, so that a GPU is not held up."""
    bad = torch.nonzero(~torch.isfinite(losses)).flatten()
    if len(bad):
        raise DataQualityError(
            f"loss = {losses[bad[0]].item()} in epoch {epoch + 1}, step {int(bad[0]) + 1} of"
            f" {len(losses)}: nothing was registered. Remedy: look for extreme features, labels or"
            " weights in the refresh, or lower training.learning_rate."
        )
    return float(losses.mean())
