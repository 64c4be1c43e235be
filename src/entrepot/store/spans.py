"""Which bytes of a file are there, as spans (start, end excluded)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

Span = tuple[int, int]


class Spans:
    """A set of positions: spans in order that neither touch nor overlap."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in spans:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Put in the positions from ``start`` up to ``end``."""
        if start >= end:
            return
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def remove(self, start: int, end: int) -> None:
        """Take out the positions from ``start`` up to ``end``."""
        if start >= end:
            return
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end)
        touched = list(zip(self._starts[first:last], self._ends[first:last], strict=True))
        kept = [(a, min(b, start)) for a, b in touched if a < start] + [(max(a, end), b) for a, b in touched if b > end]
        self._starts[first:last] = [a for a, _ in kept]
        self._ends[first:last] = [b for _, b in kept]

    def missing(self, start: int, end: int) -> list[Span]:
        """The spans between ``start`` and ``end`` that are not in here, in order; none of them is empty."""
        gaps = []
        first = bisect_right(self._ends, start)
        for there, until in zip(self._starts[first:], self._ends[first:], strict=True):
            if there >= end:
                break
            if there > start:
                gaps.append((start, there))
            start = until
        if start < end:
            gaps.append((start, end))
        return gaps

    def prefix(self) -> int:
        """Where the first gap begins."""
        return self._ends[0] if self._starts and self._starts[0] == 0 else 0

    def end(self) -> int:
        """Where the last span ends."""
        return self._ends[-1] if self._ends else 0

    def __bool__(self) -> bool:
        return bool(self._starts)

    def as_list(self) -> list[Span]:
        return list(zip(self._starts, self._ends, strict=True))
