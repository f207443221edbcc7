"""The processes of one training: which of them this is, and what the first tells the others.

`torchrun --nproc-per-node 2 -m trainer.train ...` starts them; without it a process is alone. The
first rank alone touches the registry, decides and reports; the others fit along.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ranks:
    """This process among those of the training."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this rank decides and reports."""
        return self.rank == 0

    def broadcast(self, message: str | None = None) -> str | None:
        """The first rank's message, on every rank; that of the others is left unread."""
        if self.world == 1:
            return message
        messages = [message]
        dist.broadcast_object_list(messages, src=0, device=self.device)
        return messages[0]

    def content(self, own: bytes) -> bytes:
        """The first rank's bytes, on every rank; those of the others are left unread."""
        if self.world == 1:
            return own
        length = torch.tensor(len(own), device=self.device)
        dist.broadcast(length, src=0)
        if not self.first:
            own = bytes(int(length))
        sent = torch.frombuffer(bytearray(own or b"\0"), dtype=torch.uint8).to(self.device)
        if length:
            dist.broadcast(sent, src=0)
        return bytes(sent.cpu().numpy().data) if length else b""

    def together(self, model: nn.Module, compiled: bool = False) -> nn.Module:
        """The model as a step calls it: on the device, with the first rank's weights on every
        rank and gradients averaged over the ranks, compiled if wanted."""
        model.to(self.device)
        called: nn.Module = model
        self.share(model.state_dict().values())
        if self.world > 1:
            # Statistics that a model keeps of its batches stay each rank's own; rank 0's are kept.
            called = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
        return torch.compile(called) if compiled else called  # type: ignore[return-value]

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give the tensors, which are on the device, the first rank's values on every rank."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def total(self, values: Tensor) -> Tensor:
        """The sum over the ranks, on every rank."""
        if self.world > 1:
            dist.all_reduce(values)
        return values


def this_device(local_rank: int = 0) -> torch.device:
    """The GPU of this rank where there are any, else the CPU."""
    return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")


def alone() -> Ranks:
    """One process, on the first GPU where there is one."""
    return Ranks(device=this_device())


def launched() -> bool:
    """Whether torchrun started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def helps() -> bool:
    """Whether this process only fits along: its result is not the command's."""
    return launched() and os.environ.get("RANK", "0") != "0"


@contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks that torchrun started, connected meanwhile; a process alone without it."""
    if not launched():
        yield alone()
        return
    device = this_device(int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
