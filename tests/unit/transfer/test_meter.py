"""Diff IDs beside a download: in order, out of order, behind, and of wrong bytes."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

from entrepot.errors import LayerInvalid, LayerTooLarge
from entrepot.layers.diff_id import DiffIdHash, Uncompressed
from entrepot.testing.images import Layer, build_layer
from entrepot.transfer import meter as meter_module
from entrepot.transfer.meter import LayerMeter

LAYER = build_layer({"data": random.Random(1).randbytes(300_000)})
PIECE = 10_000


class Stored:
    """The finished blob; ``opened`` says from where it was read."""

    def __init__(self, layer: Layer = LAYER) -> None:
        self.digest, self.size = layer.digest, layer.size
        self._data = layer.data
        self.opened: list[int] = []

    def open(self, *, start: int = 0, end: int | None = None) -> Any:
        self.opened.append(start)
        return self._opened(start, end)

    @asynccontextmanager
    async def _opened(self, start: int, end: int | None) -> AsyncIterator[AsyncIterator[bytes]]:
        async def pieces() -> AsyncIterator[bytes]:
            for at in range(start, self.size if end is None else end, PIECE):
                yield self._data[at : at + PIECE]

        yield pieces()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def positions() -> list[int]:
    return list(range(0, LAYER.size, PIECE))


def offer(meter: LayerMeter, position: int, data: bytes = LAYER.data) -> None:
    meter.offer(position, data[position : position + PIECE])


def is_right(found: Uncompressed) -> bool:
    return found.diff_id == LAYER.diff_id


async def test_pieces_in_order_are_not_read_again(executor: ThreadPoolExecutor) -> None:
    meter, blob = LayerMeter(executor, 0), Stored()
    for position in positions():
        offer(meter, position)
    assert is_right(await meter.finish(blob))
    assert blob.opened == []


@pytest.mark.parametrize("seed", range(5))
async def test_pieces_in_any_order_give_the_same(executor: ThreadPoolExecutor, seed: int) -> None:
    meter, blob, mixed = LayerMeter(executor, 0), Stored(), positions()
    random.Random(seed).shuffle(mixed)
    for position in mixed:
        offer(meter, position)
    assert is_right(await meter.finish(blob))


async def test_pieces_that_never_came_are_read(executor: ThreadPoolExecutor) -> None:
    """Of a blob that an earlier run had the beginning of."""
    meter, blob = LayerMeter(executor, 0), Stored()
    for position in positions()[5:]:
        offer(meter, position)
    assert is_right(await meter.finish(blob))
    assert blob.opened == [0]


async def test_gap_is_read_from_where_it_begins(executor: ThreadPoolExecutor) -> None:
    meter, blob = LayerMeter(executor, 0), Stored()
    for position in [*positions()[:3], *positions()[4:]]:
        offer(meter, position)
    assert is_right(await meter.finish(blob))
    assert blob.opened == [3 * PIECE]


async def test_thread_that_falls_behind_holds_nobody_up(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than a bound waits in memory; the rest is read from the blob."""
    monkeypatch.setattr(meter_module, "MOST_WAITING", 5 * PIECE)
    held = threading.Event()
    update = DiffIdHash.update

    def slow(self: DiffIdHash, piece: bytes) -> None:
        held.wait()
        update(self, piece)

    monkeypatch.setattr(DiffIdHash, "update", slow)
    meter, blob = LayerMeter(executor, 0), Stored()
    for position in positions():
        offer(meter, position)
    held.set()
    assert is_right(await meter.finish(blob))
    assert blob.opened == [6 * PIECE]


async def test_wrong_bytes_before_a_reset_do_not_count(executor: ThreadPoolExecutor) -> None:
    meter, blob = LayerMeter(executor, 0), Stored()
    for position in positions()[:5]:
        offer(meter, position, bytes(LAYER.size))
    meter.reset()
    for position in positions():
        offer(meter, position)
        await asyncio.sleep(0)
    assert is_right(await meter.finish(blob))
    assert blob.opened == []


async def test_reset_while_wrong_bytes_are_read_does_not_count_them(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, begun = threading.Event(), threading.Event()
    update = DiffIdHash.update

    def slow(self: DiffIdHash, piece: bytes) -> None:
        begun.set()
        held.wait()
        update(self, piece)

    monkeypatch.setattr(DiffIdHash, "update", slow)
    meter, blob = LayerMeter(executor, 0), Stored()
    offer(meter, 0, bytes(LAYER.size))
    await asyncio.to_thread(begun.wait)
    meter.reset()
    offer(meter, 0)
    held.set()
    assert is_right(await meter.finish(blob))


async def test_layer_that_is_damaged_is_invalid(executor: ThreadPoolExecutor) -> None:
    meter = LayerMeter(executor, 0)
    damaged = LAYER.data[:5000] + bytes(100) + LAYER.data[5100:]
    for position in positions():
        offer(meter, position, damaged)
    with pytest.raises(LayerInvalid):
        await meter.finish(Stored())


@pytest.mark.parametrize("offered", [True, False], ids=["beside", "afterwards"])
async def test_layer_that_unpacks_to_too_much_is_refused(executor: ThreadPoolExecutor, offered: bool) -> None:
    bomb = build_layer({"zeros": bytes(20_000_000)})
    meter = LayerMeter(executor, 1_000_000)
    if offered:
        meter.offer(0, bomb.data)
    with pytest.raises(LayerTooLarge):
        await meter.finish(Stored(bomb))


async def test_meter_whose_executor_is_shut_down_leaves_no_error_behind() -> None:
    """As when another blob of the copy has failed."""
    executor, held = ThreadPoolExecutor(1), threading.Event()
    executor.submit(held.wait)
    meter = LayerMeter(executor, 0)
    offer(meter, 0)
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    executor.shutdown(wait=False, cancel_futures=True)
    held.set()
    await asyncio.to_thread(executor.shutdown, wait=True)
    await asyncio.sleep(0)
    assert errors == []
