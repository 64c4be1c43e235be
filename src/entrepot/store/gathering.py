"""Small pieces of a stream, gathered into large ones."""

from __future__ import annotations

_MOST_PIECES = 512


class Gathering:
    """Pieces of a stream from ``start`` on; ``end`` is where the next one belongs."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.size = 0
        self._pieces: list[bytes] = []
        self._joined = 0  # so many pieces at the beginning are themselves made of many

    @property
    def end(self) -> int:
        return self.start + self.size

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.size += len(piece)
        if len(self._pieces) - self._joined >= _MOST_PIECES:  # an object for each byte would take fifty bytes
            self._pieces[self._joined :] = [b"".join(self._pieces[self._joined :])]
            self._joined += 1

    def take(self) -> tuple[int, list[bytes], int]:
        """Where they begin, the pieces, and their size; what is added then goes on behind them."""
        taken = self.start, self._pieces, self.size
        self.start, self.size, self._pieces, self._joined = self.end, 0, [], 0
        return taken
