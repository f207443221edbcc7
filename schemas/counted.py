"""What trainings have counted on this machine: a file each, eight bytes and what they belong to.

The trainer adds to the bytes at every step, so they survive whatever becomes of the process; what
the table `backward_passes` does not have yet is read from here.
"""

import json
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

from schemas.places import state_place

# What backward passes were for; the ratio is that of trainings, the others stand beside it.
Purpose = Literal["training", "bootstrap", "twin", "study"]

COUNT = struct.Struct("<q")  # the first bytes of a file


@dataclass(frozen=True)
class Account:
    """What the backward passes of a training are written down under."""

    training_id: str
    refresh_id: str
    ds: str
    purpose: Purpose

    @staticmethod
    def new(refresh_id: str, ds: str, purpose: Purpose) -> "Account":
        """That of a training which has not begun."""
        return Account(uuid4().hex, refresh_id, ds, purpose)

    @property
    def application(self) -> str:
        """Under which the table knows up to where the count was published."""
        return f"training/{self.training_id}"

    def file(self) -> bytes:
        """The file of a training that has counted nothing."""
        return COUNT.pack(0) + json.dumps(asdict(self)).encode()


def counts_folder(warehouse: str) -> Path:
    """Where the files are, beside locks and checkpoints."""
    return state_place(warehouse) / "spent"


def count_of(content: bytes) -> tuple[Account, int] | None:
    """What a file says; None where it is not one of these."""
    try:
        (total,) = COUNT.unpack_from(content)
        return Account(**json.loads(content[COUNT.size :])), total
    except (struct.error, ValueError, TypeError):
        return None


def files_of_counts(warehouse: str) -> list[Path]:
    """The files of trainings that go on or were killed."""
    folder = counts_folder(warehouse)
    names = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file for file in names if not file.name.startswith(".")]  # one not yet whole


def counted_here(warehouse: str) -> list[tuple[Account, int]]:
    """The counts of trainings that go on on this machine or were killed on it."""
    found = []
    for file in files_of_counts(warehouse):
        try:
            found.append(count_of(file.read_bytes()))
        except FileNotFoundError:  # its training has ended: the table has its count
            continue
    return [one for one in found if one is not None]
