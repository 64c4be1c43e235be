"""How far a transfer is in all: bytes, speed, time left."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from entrepot.cli.human import human_duration, human_size
from entrepot.progress import Event, Kind, State

SPEED_WINDOW_SECONDS = 10.0

_NOTHING_TO_MOVE = frozenset({State.EXISTS, State.MOUNTED})
_FINISHED = frozenset({State.DONE, State.FAILED}) | _NOTHING_TO_MOVE
_ALL_THERE = frozenset({State.RECEIVED, State.UNPACKING, State.DONE})


@dataclass(slots=True)
class _Blob:
    state: State
    done: int
    total: int


class Meter:
    """Adds up what is told about the layers of one transfer."""

    def __init__(self) -> None:
        self._blobs: dict[str, _Blob] = {}
        self._moved = 0  # in this run; what an earlier run has left does not make this one fast
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, event: Event) -> None:
        """Take note of an event."""
        if event.kind is not Kind.LAYER:
            return
        blob = self._blobs.get(event.digest)
        if blob is None:
            blob = self._blobs[event.digest] = _Blob(event.state, 0, 0)
        done = event.total if event.state in _ALL_THERE else event.done
        if event.state is State.RETRYING:
            done = blob.done
        elif blob.state is State.MOVING:
            self._moved += max(0, done - blob.done)
        blob.state, blob.done, blob.total = event.state, done, event.total or blob.total

    @property
    def is_moving(self) -> bool:
        """Whether anything is under way."""
        return any(blob.state is State.MOVING or blob.state is State.RETRYING for blob in self._blobs.values())

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return all(blob.state in _FINISHED for blob in self._blobs.values())

    def sample(self, now: float) -> None:
        """Remember how much has moved by now, for the speed."""
        self._samples.append((now, self._moved))
        while self._samples[0][0] < now - SPEED_WINDOW_SECONDS:
            self._samples.popleft()

    def summary(self) -> str:
        """``12.3MB of 45.6MB (27%), 3.2MB/s, 10 seconds left``; without what is not known yet."""
        blobs = [blob for blob in self._blobs.values() if blob.state not in _NOTHING_TO_MOVE]
        done, total = sum(blob.done for blob in blobs), sum(blob.total for blob in blobs)
        parts = [f"{human_size(done)} of {human_size(total)} ({100 * done // total if total else 0}%)"]
        speed = self._speed()
        if speed is not None:
            parts.append(f"{human_size(speed)}/s")
        if speed and done < total:
            parts.append(f"{human_duration((total - done) / speed)} left")
        return ", ".join(parts)

    def _speed(self) -> float | None:
        if len(self._samples) < 2:
            return None
        (begin, before), (end, after) = self._samples[0], self._samples[-1]
        return (after - before) / (end - begin) if end > begin else None
