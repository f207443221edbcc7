"""The training loop. On a CPU its result is a function of (rows, settings, parent, number of
ranks), bit by bit, whether it ran through or was killed and resumed."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from schemas.errors import DataQualityError
from schemas.log import log
from schemas.pipeline import Task
from schemas.progress import Underway
from schemas.progress import step as underway
from schemas.sections.training import Training
from trainer.data.batches import Batch
from trainer.data.epoch import steps
from trainer.data.reader import Rows
from trainer.data.sample import Sample, in_memory
from trainer.data.survey import mean_weight_of
from trainer.fitting.checkpoint import Checkpoint, Progress
from trainer.fitting.divisor import Divisor
from trainer.fitting.graphed import Given, Graphed
from trainer.fitting.intercept import settle_intercept
from trainer.fitting.loss import RowLoss, row_loss
from trainer.fitting.meter import Meter
from trainer.fitting.schedule import last_epoch, rate
from trainer.fitting.validation import split
from trainer.models.optimizer_state import OptimizerState
from trainer.processes.ranks import Ranks, alone
from trainer.processes.threads import one_thread

QUIET_S = 10.0  # between log lines of one training

OPTIMIZERS: dict[str, Callable[[list[nn.Parameter], Training], torch.optim.Optimizer]] = {
    "adamw": lambda weights, settings: torch.optim.AdamW(
        weights,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,
        capturable=all(weight.is_cuda for weight in weights),
    ),
    "sgd": lambda weights, settings: torch.optim.SGD(
        weights,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        momentum=settings.momentum,
        fused=all(weight.is_cuda for weight in weights),
    ),
}


@dataclass(frozen=True)
class History:
    """How a fit went, and what it leaves to the next one."""

    losses: list[
        float
    ]  # weighted mean of the rows' losses over each epoch, each as its step met it
    validation: list[float]  # that of the rows held back, where the fit may stop early
    rows: int  # that went through a step in this process's own run, over all ranks
    seconds: float
    waited: float  # of these seconds, for data
    optimizer: OptimizerState | None  # what the optimizer remembers at the end

    def metrics(self) -> dict[str, float]:
        """For the run's record. `rows_per_second` turns budgets in GPU hours into rows."""
        if not self.rows:  # resumed after the last step
            return {}
        waiting = self.waited / self.seconds
        return {"rows_per_second": self.rows / self.seconds, "share_waiting": waiting}


class Fitted(NamedTuple):
    """A model after its fit, and how that went."""

    model: nn.Module
    history: History


@one_thread()
def fit(
    model: nn.Module,
    rows: Rows | Sample,
    task: Task,
    settings: Training,
    *,
    pulled: bool = False,
    ranks: Ranks | None = None,
    checkpoint: Checkpoint | None = None,
    mean_weight: float | None = None,
    meter: Meter | None = None,
    carried: OptimizerState | None = None,
) -> History:
    """Train `model` in place and leave it on the CPU.

    `pulled` says that the model comes with a parent's weights, to which `settings.pull` pulls
    (L2-SP). The learning rate decays to 0 (`schedule.py`), and the intercept is settled at
    the end. `mean_weight` is that of the rows, as their survey has it: without it they are read
    once more. `meter` counts the rows of every step; the first rank has it. `carried` is the state
    from which the optimizer goes on: the first rank's counts, the others give its form. Every rank
    calls this with the same model, rows and settings. Raises DataQualityError when a loss is not
    finite, or the weights sum to 0.
    """
    ranks = ranks or alone()
    whole = in_memory(rows) if isinstance(rows, Rows) else rows
    weight = mean_weight_of(whole.parts()) if mean_weight is None else mean_weight
    sample, validation = split(whole, task, settings)
    divisor = Divisor.of(len(whole), weight, validation.rows if validation else None)
    step = Step.of(model.train(), task, settings, ranks, divisor, pulled=pulled, carried=carried)
    done = _resumed(checkpoint, step)
    an_epoch = steps(len(sample), settings.batch_size)
    clock, seen, began = _Waiting(), 0, time.perf_counter()
    with torch.random.fork_rng(devices=[ranks.device] if ranks.device.type == "cuda" else []):
        for epoch, met in _with_progress(settings, done, len(sample)):
            for batch in clock.over(sample.epoch(epoch, settings, ranks, done.step)):
                number = epoch * an_epoch + done.step
                done.sums.append(step.take(batch, number, number / an_epoch, done.validation))
                seen += min(settings.batch_size, len(sample) - done.step * settings.batch_size)
                met.add(batch.rows)
                done.step += 1
                if meter:
                    meter.add(batch.rows)
                if checkpoint and (number + 1) % settings.checkpoint_steps == 0:
                    _save(checkpoint, step, done)
                    if meter:
                        meter.publish()
            mean = _finite_sum(ranks.total(torch.stack(done.sums)), epoch) / divisor.epoch
            done.end_epoch(mean, validation.loss(model, ranks) if validation else None)
    if checkpoint and seen:  # a fit of any length outlives what fails after it
        _save(checkpoint, step, done)
    if ranks.device.type == "cuda":
        torch.cuda.synchronize(ranks.device)
    seconds = time.perf_counter() - began
    settle_intercept(model.eval(), whole, task, settings)
    model.cpu()
    left = OptimizerState.of(settings.optimizer, step.optimizer, model)
    return History(done.means, done.validation, seen, seconds, clock.seconds, left)


@dataclass(frozen=True)
class Step:
    """One step of the optimizer, and all that it needs."""

    model: nn.Module
    called: nn.Module  # the model as a step calls it: see `Ranks.together`
    loss: RowLoss
    settings: Training
    ranks: Ranks
    divisor: Divisor
    optimizer: torch.optim.Optimizer
    anchors: Sequence[tuple[Tensor, Tensor]]
    graphed: Graphed | None = None  # on a GPU, where a step is this process's own

    @staticmethod
    def of(
        model: nn.Module,
        task: Task,
        settings: Training,
        ranks: Ranks,
        divisor: Divisor,
        *,
        pulled: bool,
        carried: OptimizerState | None,
    ) -> "Step":
        """The steps of a fit of this model, which goes to the device."""
        called = ranks.together(model, settings.compile)
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        anchors = _anchors(trained) if pulled and settings.pull else []
        optimizer = OPTIMIZERS[settings.optimizer](trained, settings)
        if carried is not None:
            carried.put(optimizer, model)
            ranks.share(value for kept in optimizer.state.values() for value in kept.values())
        loss = row_loss(task, settings)
        step = Step(model, called, loss, settings, ranks, divisor, optimizer, anchors)
        if ranks.device.type != "cuda" or ranks.world > 1 or settings.compile:
            return step
        return replace(step, graphed=Graphed(step.update, optimizer, ranks.device))

    def take(self, batch: Batch, number: int, done: float, validation: Sequence[float]) -> Tensor:
        """Step `number` of the training, with `done` epochs behind and their validation losses;
        this rank's part of the batch's sum of weight x loss."""
        # A model with dropout draws from here: anew each step, so that a resumed fit draws alike.
        own = number * self.ranks.world + self.ranks.rank
        _seed(self.ranks.device, (self.settings.seed << 32) + own)
        lr, divisor = rate(done, validation, self.settings), self.divisor.batch(batch.rows)
        given = Given(batch.inputs, batch.label, batch.offset, batch.weight)
        if self.graphed is not None:
            return self.graphed.take(given, divisor, lr)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return self.update(given, divisor)

    def update(self, given: Given, divisor: float | Tensor) -> Tensor:
        """The weights after this rank's part of a batch; its sum of weight x loss."""
        with self._precision():
            output, _ = self.called(*given.inputs)
        loss = self.loss(output.float(), given.label, given.offset)
        part = (given.weight * loss).sum()
        # Gradients are averaged over the ranks, and the parts are to be summed.
        mean = part / divisor * self.ranks.world
        self.optimizer.zero_grad()
        if self.ranks.device.type == "cuda":
            mean.backward()
            _pull(self.anchors, self.settings.pull)
        else:
            (mean + self.settings.pull * _distance(self.anchors)).backward()
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()
        return part.detach()

    def _precision(self) -> torch.autocast | nullcontext[None]:
        if self.settings.precision == "bf16":
            return torch.autocast(self.ranks.device.type, torch.bfloat16)
        return nullcontext()


def _seed(device: torch.device, seed: int) -> None:
    """Seed what a step draws from. `torch.manual_seed` would also keep a stack trace for each kind
    of accelerator that is not in use: as long as the rest of a small step takes."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)


@dataclass
class _Waiting:
    """Seconds spent waiting for the next batch."""

    seconds: float = 0.0

    def over(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, timed."""
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.seconds += time.perf_counter() - began
            if batch is None:
                return
            yield batch


def _resumed(checkpoint: Checkpoint | None, step: Step) -> Progress:
    """Where the fit stands. The file holds the sums of all ranks together: the first has them."""
    if checkpoint is None:
        return Progress()
    done = checkpoint.resume(step.model, step.optimizer, step.ranks)
    if not step.ranks.first:
        done.sums = [torch.zeros_like(part) for part in done.sums]
    return done


def _save(checkpoint: Checkpoint, step: Step, done: Progress) -> None:
    """All ranks have the same weights; their parts of the sums are added for the first's file,
    and the others go on from nothing, so that the sum stays the sum."""
    if done.sums:
        together = step.ranks.total(torch.stack(done.sums))
        done.sums = list((together if step.ranks.first else torch.zeros_like(together)).unbind())
    if step.ranks.first:
        checkpoint.save(step.model, step.optimizer, done)


def _with_progress(settings: Training, done: Progress, rows: int) -> Iterator[tuple[int, Underway]]:
    """The epochs that are left, each with the step that its rows are counted in; with a bar on a
    terminal, elsewhere a log line now and then, and at the end. `done` grows meanwhile, and says
    when the end is near."""
    terminal, spoken = sys.stderr.isatty(), time.monotonic()
    with tqdm(
        desc="training",
        unit="epoch",
        leave=False,
        disable=not terminal,
        initial=done.epoch,
        total=settings.epochs,
    ) as bar:
        while done.epoch < last_epoch(done.validation, settings):
            words = f"epoch {done.epoch + 1} of {settings.epochs}"
            with underway(words, rows, own_bar=True) as met:
                met.add(done.step * settings.batch_size)
                yield done.epoch, met
            bar.update()
            end = last_epoch(done.validation, settings)
            if not terminal and (done.epoch == end or time.monotonic() - spoken > QUIET_S):
                log.info(
                    "epoch %d of %d: training loss %.5f%s",
                    done.epoch,
                    end,
                    done.means[-1],
                    f", validation loss {done.validation[-1]:.5f}" if done.validation else "",
                )
                spoken = time.monotonic()


def _anchors(weights: Sequence[nn.Parameter]) -> list[tuple[Tensor, Tensor]]:
    """Pairs of a trained parameter and its value now."""
    return [(weight, weight.detach().clone()) for weight in weights]


def _distance(anchors: Sequence[tuple[Tensor, Tensor]]) -> Tensor | float:
    """Squared distance to the parent, over all parameters."""
    return sum(((weight - anchor) ** 2).sum() for weight, anchor in anchors)


def _pull(anchors: Sequence[tuple[Tensor, Tensor]], pull: float) -> None:
    """Add to the gradients that of pull x the squared distance: two kernels for all parameters,
    where autograd would start some eight for each. It rounds otherwise than autograd does."""
    if not anchors:
        return
    weights, values = (list(part) for part in zip(*anchors, strict=True))
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    away = torch._foreach_sub([weight.detach() for weight in weights], values)
    torch._foreach_add_([weight.grad for weight in weights], away, alpha=2 * pull)


def _finite_sum(sums: Tensor, epoch: int) -> float:
    """Sum over an epoch's steps; looked at once an epoch, so that a GPU is not held up."""
    bad = torch.nonzero(~torch.isfinite(sums)).flatten()
    if len(bad):
        raise DataQualityError(
            f"loss = {sums[bad[0]].item()} in epoch {epoch + 1}, step {int(bad[0]) + 1} of"
            f" {len(sums)}: nothing was registered. Remedy: look for extreme features, labels or"
            " weights in the refresh, or lower training.learning_rate."
        )
    return float(sums.double().sum())
