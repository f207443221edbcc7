"""The steps of a fit as one CUDA graph: of a small model the kernels take a tenth of the time that
starting them one by one takes.

A step is recorded once, with the batch in buffers of its own, and then repeated by a single launch
(Gray et al., "Accelerating PyTorch with CUDA Graphs", pytorch.org, 2021). Some models gain nothing
(a large convolution is slower so), and some cannot be recorded (those that ask the device a
question in the middle of a step), so it is tried, and the faster way is kept.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from schemas.log import log

WARM_STEPS = 20  # started one by one before anything is measured: kernels load, buffers are made
TRIED_STEPS = 20  # timed each way


class Given(NamedTuple):
    """What a step is of."""

    inputs: tuple[Tensor, ...]
    label: Tensor
    offset: Tensor
    weight: Tensor

    @property
    def shape(self) -> tuple[torch.Size, ...]:
        """Of every tensor."""
        return tuple(tensor.shape for tensor in self.tensors)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return *self.inputs, self.label, self.offset, self.weight


# (a batch, what its loss is divided by) -> its sum of weight x loss
Update = Callable[[Given, Tensor | float], Tensor]


class Recorded(NamedTuple):
    """A step that was recorded, and where it reads and writes."""

    graph: torch.cuda.CUDAGraph
    given: Given
    divisor: Tensor
    rate: Tensor
    part: Tensor

    def take(self, given: Given, divisor: float, rate: float) -> Tensor:
        """The step for another batch of the same shape."""
        for own, new in zip(self.given.tensors, given.tensors, strict=True):
            own.copy_(new)
        self.divisor.fill_(divisor)
        self.rate.fill_(rate)
        self.graph.replay()
        return self.part.clone()


@dataclass
class Graphed:
    """Takes steps: recorded where the shape is the usual one and that is the faster way."""

    update: Update
    optimizer: torch.optim.Optimizer
    device: torch.device
    tries: bool = True  # it is not known yet which way is the faster one
    shape: tuple[torch.Size, ...] | None = None  # the usual one: that of the first batch
    taken: int = 0  # of the usual shape
    seconds: dict[bool, float] = field(default_factory=lambda: {False: 0.0, True: 0.0})  # recorded?
    recorded: Recorded | None = None

    def take(self, given: Given, divisor: float, rate: float) -> Tensor:
        """A step of the optimizer at this learning rate; its sum of weight x loss."""
        self.shape = self.shape or given.shape
        if given.shape != self.shape:  # the last batch of an epoch
            return self._started_one_by_one(given, divisor, rate)
        self.taken += 1
        if self.tries and self.taken == WARM_STEPS + TRIED_STEPS + 1:
            self.recorded = self._record(given)
        if self.tries and self.taken > WARM_STEPS:
            return self._timed(given, divisor, rate)
        return self._step(given, divisor, rate)

    def _step(self, given: Given, divisor: float, rate: float) -> Tensor:
        if self.recorded is not None:
            return self.recorded.take(given, divisor, rate)
        return self._started_one_by_one(given, divisor, rate)

    def _started_one_by_one(self, given: Given, divisor: float, rate: float) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return self.update(given, divisor)

    def _timed(self, given: Given, divisor: float, rate: float) -> Tensor:
        """A step of those that are timed, each way so many in a row: what the device computes while
        the next step is started costs no time. Waiting for a batch is no step's time."""
        way = self.recorded is not None
        number = (self.taken - WARM_STEPS - 1) % TRIED_STEPS
        if number == 0:
            torch.cuda.synchronize(self.device)
        began = time.perf_counter()
        part = self._step(given, divisor, rate)
        if number == TRIED_STEPS - 1:
            torch.cuda.synchronize(self.device)
        self.seconds[way] += time.perf_counter() - began
        if way and number == TRIED_STEPS - 1:
            self._choose(*(self.seconds[way] / TRIED_STEPS for way in (False, True)))
        return part

    def _choose(self, one_by_one: float, recorded: float) -> None:
        self.tries = False
        faster = recorded < one_by_one
        log.info(
            "a step takes %.2f ms as a CUDA graph, %.2f ms kernel by kernel: %s",
            recorded * 1e3,
            one_by_one * 1e3,
            "graphs from here on" if faster else "no graph",
        )
        if not faster:
            self.recorded = None

    def _record(self, given: Given) -> Recorded | None:
        """The step as a graph, which is not yet taken by that; None where it cannot be one."""
        inputs, *others = given
        own = Given(tuple(map(_room, inputs)), *map(_room, others))
        divisor = torch.ones((), device=self.device)
        rate = torch.zeros((), device=self.device)
        graph = torch.cuda.CUDAGraph()
        before = [group["lr"] for group in self.optimizer.param_groups]
        numbers = torch.cuda.default_generators[self.device.index or 0]
        seed = numbers.initial_seed()
        for mine, new in zip(own.tensors, given.tensors, strict=True):
            mine.copy_(new)
        try:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            with torch.cuda.graph(graph):
                part = self.update(own, divisor)
        except RuntimeError as error:
            self.tries = False
            # A recording that failed has left the device's random numbers in its hands.
            fresh = torch.Generator(self.device).manual_seed(seed)
            numbers.graphsafe_set_state(fresh.graphsafe_get_state())
            log.warning(
                "a step of this model cannot be a CUDA graph (%s): its kernels are started one by"
                " one, which takes longer for small batches",
                str(error).strip().splitlines()[0],
            )
            return None
        finally:
            for group, value in zip(self.optimizer.param_groups, before, strict=True):
                group["lr"] = value
        return Recorded(graph, own, divisor, rate, part)


def _room(like: Tensor) -> Tensor:
    return torch.empty(like.shape, dtype=like.dtype, device=like.device)
