"""What docker calls the states of a transfer; the words of a pull and of a push differ."""

from __future__ import annotations

import math
from typing import Literal

from entrepot.cli.tables import plain_cell
from entrepot.progress import Event, State

Verb = Literal["pull", "push", "copy"]

MAX_NOTE = 300  # characters; a registry's own words may be in it

_PULL = {
    State.PREPARING: "Pulling fs layer",
    State.WAITING: "Waiting",
    State.EXISTS: "Already exists",
    State.STARTING: "Pulling fs layer",
    State.MOVING: "Downloading",
    State.VERIFYING: "Verifying Checksum",
    State.RECEIVED: "Download complete",
    State.UNPACKING: "Extracting",
    State.DONE: "Pull complete",
    State.FAILED: "Failed",
}
_PUSH = {
    State.PREPARING: "Preparing",
    State.WAITING: "Waiting",
    State.EXISTS: "Layer already exists",
    State.STARTING: "Pushing",
    State.MOVING: "Pushing",
    State.VERIFYING: "Pushing",
    State.RECEIVED: "Pushing",
    State.UNPACKING: "Pushing",
    State.DONE: "Pushed",
    State.FAILED: "Failed",
}
_COPY = _PUSH | {
    State.EXISTS: "Already exists",
    State.STARTING: "Copying",
    State.MOVING: "Copying",
    State.VERIFYING: "Verifying Checksum",
    State.RECEIVED: "Copying",
    State.UNPACKING: "Extracting",
    State.DONE: "Copied",
}
_WORDS: dict[Verb, dict[State, str]] = {"pull": _PULL, "push": _PUSH, "copy": _COPY}


def short_id(digest: str) -> str:
    """The 12 hex digits that stand for a blob."""
    return digest.partition(":")[2][:12]


def describe(verb: Verb, event: Event) -> str:
    """The state of a layer in docker's words; for a wait see ``describe_retry``."""
    if event.state is State.MOUNTED:
        return f"Mounted from {_note(event)}"
    return _WORDS[verb][event.state]


def doing(verb: Verb) -> str:
    """What all of it is: ``Downloading``, ``Pushing``, ``Copying``."""
    return _WORDS[verb][State.MOVING]


def describe_retry(seconds: float) -> str:
    """``Retrying in 5 seconds``."""
    count = max(1, math.ceil(seconds))
    return f"Retrying in {count} second{'' if count == 1 else 's'}"


def describe_wait(event: Event) -> str:
    """A line about a request, or about why a layer is tried again: ``waiting 5 s: <why>``."""
    return f"waiting {event.seconds:g} s: {_note(event)}"


def because(event: Event) -> str:
    """The reason of a retry, to be put behind it; empty when there is none."""
    return f" ({_note(event)})" if event.note else ""


def _note(event: Event) -> str:
    return plain_cell(event.note[:MAX_NOTE])
