"""Progress on a terminal: a line for each layer, drawn again in place, as docker does it.

Drawn are only as many lines as the terminal has: those that are finished move up and out first. The number of rows to
go back is counted anew when the terminal has become narrower, because the lines then take more rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from entrepot.cli.human import bar_size
from entrepot.cli.progress_meter import Meter
from entrepot.cli.progress_words import Verb, because, describe, describe_retry, describe_wait, doing, short_id
from entrepot.progress import Event, Kind, State

DRAW_SECONDS = 0.1
BAR_FROM_WIDTH = 110  # columns; docker draws a bar on terminals wider than this
_BAR_CELLS = 50

_WITH_BAR = frozenset({State.MOVING, State.UNPACKING})
_FINISHED = frozenset({State.EXISTS, State.MOUNTED, State.DONE, State.FAILED})

Size = Callable[[], os.terminal_size]


@dataclass(slots=True)
class _Line:
    event: Event
    until: float = 0  # of a retry

    @property
    def is_finished(self) -> bool:
        return self.event.state in _FINISHED


class TerminalDisplay:
    """Draws on ``stream``, which is a terminal of ``size`` now."""

    tick_seconds: float | None = DRAW_SECONDS

    def __init__(self, verb: Verb, stream: TextIO, clock: Callable[[], float], size: Size) -> None:
        self._verb = verb
        self._stream = stream
        self._clock = clock
        self._size = size
        self._meter = Meter()
        self._lines: dict[str, _Line] = {}  # in the order in which they were first heard of
        self._drawn: list[str] = []  # what stands on the terminal and will be drawn over
        self._is_stale = False

    def show(self, event: Event) -> None:
        """Take note; what is drawn changes with the next tick."""
        self._meter.add(event)
        if event.kind is Kind.LAYER:
            self._lines[event.digest] = _Line(event, self._clock() + event.seconds)
            self._is_stale = True
        elif event.state is State.RETRYING:
            self.message(describe_wait(event))

    def message(self, line: str) -> None:
        """A line that stays, above the layers."""
        self._draw([line], self._picture())

    def say(self, line: str) -> None:
        """A line of the result: the layers so far stay above it, as they are."""
        self._draw([*self._rest(), line], [])

    def tick(self) -> None:
        """Draw what has changed."""
        self._meter.sample(self._clock())
        if self._is_stale or self._is_counting_down():
            self._is_stale = False
            self._draw(self._take_finished(), self._picture())

    def close(self) -> None:
        """The last picture: every layer that is left, and no summary."""
        self._draw(self._rest(), [])

    def _rest(self) -> list[str]:
        """Every layer that is shown, for the last time."""
        lines = [self._format(digest, line) for digest, line in self._lines.items()]
        self._lines.clear()
        self._is_stale = False
        return lines

    def _is_counting_down(self) -> bool:
        return any(line.event.state is State.RETRYING for line in self._lines.values())

    # What is drawn

    def _take_finished(self) -> list[str]:
        """Those at the top that will not change any more, when there is no room for all; they scroll away."""
        above = []
        for digest in list(self._lines):
            if len(self._lines) <= self._room() - 1 or not self._lines[digest].is_finished:
                break
            above.append(self._format(digest, self._lines.pop(digest)))
        return above

    def _picture(self) -> list[str]:
        shown = self._shown()
        picture = [self._format(digest, self._lines[digest]) for digest in shown]
        if len(shown) < len(self._lines):
            picture.append(f"... and {len(self._lines) - len(shown)} more layers")
        if self._meter.is_moving:
            picture.append(f"{doing(self._verb)}: {self._meter.summary()}")
        width = self._size().columns
        return [line[: width - 1] for line in picture]

    def _shown(self) -> list[str]:
        """All layers, or as many of the unfinished ones as there is room for."""
        room = self._room() - 1  # one for the summary
        if len(self._lines) <= room:
            return list(self._lines)
        return [digest for digest, line in self._lines.items() if not line.is_finished][: room - 1]

    def _room(self) -> int:
        return max(4, self._size().lines - 1)

    def _format(self, digest: str, line: _Line) -> str:
        return f"{short_id(digest)}: {self._words(line)}"

    def _words(self, line: _Line) -> str:
        event = line.event
        if event.state is State.RETRYING:
            return describe_retry(line.until - self._clock()) + because(event)
        words = describe(self._verb, event)
        if event.state in _WITH_BAR and event.total:
            return f"{words} {bar(event.done, event.total, width=self._size().columns)}"
        return words

    def _draw(self, above: list[str], picture: list[str]) -> None:
        width = max(1, self._size().columns)
        rows = sum(max(1, -(-len(line) // width)) for line in self._drawn)
        back = f"\x1b[{rows}A" if rows else ""
        lines = "".join(f"\r\x1b[2K{line}\n" for line in [*above, *picture])
        leftover = "\x1b[J" if rows > len(above) + len(picture) else ""
        if back or lines:
            self._stream.write(back + lines + leftover)
            self._stream.flush()
        self._drawn = picture


def bar(done: int, total: int, *, width: int) -> str:
    """``[=====>     ]  163.8kB/3.001MB``: the bar on a wide terminal only; a total that is exceeded is not shown."""
    numbers = f"{bar_size(done):>8}" + (f"/{bar_size(total)}" if done <= total else "")
    if width <= BAR_FROM_WIDTH:
        return numbers
    cells = min(_BAR_CELLS, int(done / total * 100) // 2)
    return f"[{'=' * cells}>{' ' * (_BAR_CELLS - cells)}] {numbers}"
