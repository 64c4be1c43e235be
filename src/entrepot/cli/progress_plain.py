"""Progress for logs: a line for each change of state, one now and then that says how far all is, and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TextIO

from entrepot.cli.progress_meter import Meter
from entrepot.cli.progress_words import Verb, because, describe, describe_retry, describe_wait, doing, short_id
from entrepot.progress import Event, Kind, State

HEARTBEAT_SECONDS = 5.0
JSON_SECONDS = 0.5  # between two lines about bytes of one blob

_Shown = dict[State, tuple[State, ...]]  # by state: what is printed for it, if not itself

_OF_A_PULL: _Shown = {  # docker prints two words when the bytes are there, and nothing while they come
    State.PREPARING: (),
    State.WAITING: (),
    State.MOVING: (),
    State.VERIFYING: (),
    State.RECEIVED: (State.VERIFYING, State.RECEIVED),
    State.UNPACKING: (),
    State.FAILED: (),  # the error says more
}
_OF_A_PUSH: _Shown = {
    State.STARTING: (),
    State.MOVING: (),
    State.VERIFYING: (),
    State.RECEIVED: (),
    State.UNPACKING: (),
    State.FAILED: (),
}


class PlainDisplay:
    """State lines as docker prints them into a pipe on ``stream``, everything else on ``notices``."""

    tick_seconds: float | None = 1.0

    def __init__(self, verb: Verb, stream: TextIO, notices: TextIO, clock: Callable[[], float]) -> None:
        self._verb = verb
        self._stream = stream
        self._notices = notices
        self._clock = clock
        self._meter = Meter()
        self._shown: dict[str, str] = {}
        self._printed_for = _OF_A_PULL if verb == "pull" else _OF_A_PUSH
        self._next_heartbeat = clock() + HEARTBEAT_SECONDS

    def show(self, event: Event) -> None:
        """Print what is new."""
        self._meter.add(event)
        if event.kind is not Kind.LAYER:
            if event.state is State.RETRYING:
                self.message(describe_wait(event))
        elif event.state is State.RETRYING:
            self._print(event.digest, describe_retry(event.seconds) + because(event))
        else:
            for state in self._printed_for.get(event.state, (event.state,)):
                self._print(event.digest, describe(self._verb, Event(state, event.kind, note=event.note)))

    def _print(self, digest: str, words: str) -> None:
        if self._shown.get(digest) != words:
            self._shown[digest] = words
            self._stream.write(f"{short_id(digest)}: {words}\n")
            self._stream.flush()

    def message(self, line: str) -> None:
        """A line of its own."""
        self._notices.write(f"{line}\n")
        self._notices.flush()

    def say(self, line: str) -> None:
        """A line of the result; the layers of another image may follow."""
        self._shown.clear()
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def tick(self) -> None:
        """Say how far all is, when it is time."""
        now = self._clock()
        self._meter.sample(now)
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_SECONDS
            if self._meter.is_moving:
                self.message(f"{doing(self._verb)}: {self._meter.summary()}")

    def close(self) -> None:
        """Nothing is left to print."""


class JsonDisplay:
    """One JSON object a line: state, kind, digest, and what else the event has."""

    tick_seconds: float | None = None

    def __init__(self, stream: TextIO, notices: TextIO, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._notices = notices
        self._clock = clock
        self._last: dict[str, tuple[State, float]] = {}

    def show(self, event: Event) -> None:
        """Print the event, unless the one before it on the same bytes is too fresh."""
        now = self._clock()
        state, at = self._last.get(event.digest, (None, 0.0))
        if event.state is state and event.state is State.MOVING and now - at < JSON_SECONDS:
            return
        self._last[event.digest] = (event.state, now)
        self._write(_as_data(event))

    def message(self, line: str) -> None:
        """A notice as an object of its own."""
        self._write({"message": line})

    def say(self, line: str) -> None:
        """A line of the result, as it is."""
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def tick(self) -> None:
        """Nothing happens by itself."""

    def close(self) -> None:
        """Nothing is left to print."""

    def _write(self, data: dict[str, Any]) -> None:
        self._notices.write(json.dumps(data) + "\n")
        self._notices.flush()


def _as_data(event: Event) -> dict[str, Any]:
    data: dict[str, Any] = {"state": event.state.value, "kind": event.kind.value}
    if event.digest:
        data |= {"digest": event.digest, "done": event.done, "total": event.total}
    if event.note:
        data["note"] = event.note
    return data | ({"seconds": event.seconds} if event.seconds else {})
