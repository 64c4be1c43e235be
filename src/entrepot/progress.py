"""What a transfer tells about itself while it runs; ``cli/progress.py`` turns it into lines and bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where one blob or manifest stands. The values are the words of ``--progress=json``."""

    PREPARING = "preparing"  # of a push: it is known that it must get there
    WAITING = "waiting"  # for others that come first
    EXISTS = "exists"  # nothing to do, it is there
    STARTING = "starting"  # of a pull: the transfer is about to begin
    MOVING = "moving"  # bytes are coming or going; ``done`` of ``total``
    VERIFYING = "verifying"
    RECEIVED = "received"  # all bytes are there
    UNPACKING = "unpacking"  # its uncompressed form is being read; ``done`` of ``total``, compressed bytes
    MOUNTED = "mounted"  # taken over from the repository ``note``
    DONE = "done"
    RETRYING = "retrying"  # in ``seconds``, because of ``note``
    FAILED = "failed"


class Kind(Enum):
    """What an event is about."""

    LAYER = "layer"
    CONFIG = "config"
    MANIFEST = "manifest"
    REQUEST = "request"  # no blob: a request that has to wait


@dataclass(frozen=True, slots=True)
class Event:
    """A blob, manifest or request has come to a state. ``done`` and ``total`` in bytes."""

    state: State
    kind: Kind
    digest: str = ""  # empty for requests
    done: int = 0
    total: int = 0
    note: str = ""
    seconds: float = 0


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A Listener for those who do not want to know."""
