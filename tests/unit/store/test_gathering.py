from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import pytest

from entrepot.store.gathering import Gathering


@pytest.mark.parametrize(
    "sizes", [[], [0], [5], [1] * 2000, [3, 0, 700, 1, 1] * 400], ids=lambda sizes: str(len(sizes))
)
def test_take_pieces_gives_all_bytes_in_order(sizes: Sequence[int]) -> None:
    gathering, content = Gathering(7), b""
    for number, size in enumerate(sizes):
        piece = bytes([number % 256]) * size
        gathering.add(piece)
        content += piece
    assert (gathering.size, gathering.end) == (len(content), 7 + len(content))
    start, pieces, size = gathering.take()
    assert (start, b"".join(pieces), size) == (7, content, len(content))


def test_take_pieces_twice_goes_on_where_the_first_ended() -> None:
    gathering = Gathering(0)
    gathering.add(b"abc")
    gathering.take()
    gathering.add(b"de")
    assert gathering.take() == (3, [b"de"], 2)
    assert gathering.take() == (5, [], 0)


def test_gather_single_bytes_takes_little_more_memory_than_they_are() -> None:
    pieces = [bytes([number % 250, 7]) for number in range(200)]
    tracemalloc.start()
    gathering = Gathering(0)
    for _ in range(500):
        for piece in pieces:
            gathering.add(piece + b"!")  # a new object each time
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert gathering.size == 300_000
    assert peak < 1_500_000  # an object for each addition would take 4 MB; other threads of the process may take some
