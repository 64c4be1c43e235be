"""What a move is between, what it tells while it runs, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from entrepot.jobs.check import Finding
from entrepot.metadata.base import Metadata
from entrepot.store.base import BlobStore


@dataclass(frozen=True, slots=True)
class Place:
    """One end of a move; the names are for people, so there is no password in them.

    ``is_shared``: whether processes of other machines may have the database open.
    """

    metadata: Metadata
    store: BlobStore
    name: str
    store_name: str
    is_shared: bool = False


class Step(Enum):
    """What a move is doing."""

    BYTES = "bytes"
    HOLDING = "holding"  # writers are held off from here on
    ROWS = "rows"
    COMPARING = "comparing"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is: ``done`` of ``total`` blobs or rows, ``total`` is 0 when nobody knows; ``size`` in bytes."""

    step: Step
    done: int
    total: int
    size: int = 0
    total_size: int = 0
    table: str = ""


Listener = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """A Listener for those who do not want to know."""


@dataclass(slots=True)
class Moved:
    """What was moved: the new place's rows by table, the bytes of its blobs, and what is ``damaged``.

    Open ``uploads`` stay behind. Damaged blobs are recorded without their bytes, so that a push heals them; damaged
    manifests go over as they are. ``was_done``: an earlier run had done it all.
    """

    rows: dict[str, int] = field(default_factory=dict)
    blob_bytes: int = 0
    uploads: int = 0
    damaged: list[Finding] = field(default_factory=list)
    seconds_held: float = 0.0
    was_done: bool = False

    @property
    def is_clean(self) -> bool:
        return not self.damaged
