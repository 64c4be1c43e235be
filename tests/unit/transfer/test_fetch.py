"""Fetching one blob into a store that keeps parts: in one stream, side by side, and over several runs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.errors import DigestInvalid, SizeInvalid, Unsupported
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.repositories.base import Blob
from entrepot.repositories.local import LocalRegistry, LocalRepository
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.transfer import fetch as fetch_module
from entrepot.transfer.fetch import BlobFetch
from entrepot.transfer.tasks import Slots
from entrepot.transport.base import ConnectionFailed
from tests.unit.transfer.places import NAME

PART = 64 * 1024
CONTENT = random.Random(5).randbytes(10 * PART + 123)
DIGEST, SIZE = Digest.of(CONTENT), len(CONTENT)


class Source:
    """A blob somewhere else. ``ranges``: whether parts of it can be had; ``wait`` is called for each stream."""

    def __init__(
        self,
        content: bytes = CONTENT,
        *,
        ranges: bool = True,
        breaks_at: int | None = None,
        wait: Callable[[], Any] | None = None,
        etag: str | None = '"tag"',
    ) -> None:
        self.digest, self.size = DIGEST, SIZE
        self.validator: str | None = None
        self.expected: list[str | None] = []
        self.spans: list[tuple[int, int]] = []
        self.streams: list[tuple[int, int | None]] = []
        self.open_now = self.most_open = 0
        self._content, self._ranges, self._breaks_at = content, ranges, breaks_at
        self._wait, self._etag = wait, etag

    def expect(self, validator: str | None) -> None:
        self.expected.append(validator)

    def open(self, *, start: int = 0, end: int | None = None) -> Any:
        self.streams.append((start, end))
        return self._opened(start, self.size if end is None else end)

    def open_span(self, start: int, end: int) -> Any:
        self.spans.append((start, end))
        return self._opened(start, end, is_part=True)

    @asynccontextmanager
    async def _opened(self, start: int, end: int, *, is_part: bool = False) -> AsyncIterator[AsyncIterator[bytes]]:
        if is_part and not self._ranges:
            raise Unsupported("no parts")
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            yield self._pieces(start, end)
        finally:
            self.open_now -= 1

    async def _pieces(self, start: int, end: int) -> AsyncIterator[bytes]:
        self.validator = self._etag
        for at in range(start, end, 10_000):
            if self._breaks_at is not None and at >= self._breaks_at:
                raise ConnectionFailed("connection reset by peer")
            yield self._content[at : min(at + 10_000, end)]
            if self._wait is not None:
                await self._wait()


@pytest.fixture
async def repository(tmp_path: Path, database: Path) -> AsyncIterator[LocalRepository]:
    metadata = SqliteMetadata(database)
    yield LocalRegistry(FilesystemBlobStore(tmp_path), metadata).repository(NAME)
    await metadata.close()


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_module, "PART", PART)


class Told:
    """What a fetch tells while it runs."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.pieces: dict[int, bytes] = {}
        self.restarts = 0

    def piece(self, position: int, piece: bytes) -> None:
        self.pieces[position] = piece

    def restarted(self) -> None:
        self.restarts += 1


async def run(
    repository: LocalRepository,
    source: Source,
    *,
    slots: Slots | None = None,
    split_above: int = 1,
    told: Told | None = None,
) -> Blob:
    """Fetch ``source`` as a copy does, holding a slot."""
    told, slots = told or Told(), slots or Slots(4)
    async with slots, repository.fetch_blob(DIGEST, SIZE) as fetch:
        return await BlobFetch(
            blob=source,
            fetch=fetch,
            slots=slots,
            split_above=split_above,
            progress=told.done.append,
            pieces=told.piece,
            restarted=told.restarted,
        ).run()


async def require_there(repository: LocalRepository) -> None:
    async with (await repository.find_blob(DIGEST)).open() as pieces:
        assert b"".join([bytes(piece) async for piece in pieces]) == CONTENT


async def leave_behind(repository: LocalRepository, *spans: tuple[int, int], content: bytes = CONTENT) -> None:
    """What an earlier run has left of the blob."""
    async with repository.fetch_blob(DIGEST, SIZE) as fetch:
        await fetch.set_validator('"old"')
        for start, end in spans:

            async def pieces(piece: bytes = content[start:end]) -> AsyncIterator[bytes]:
                yield piece

            await fetch.write(start, pieces())


async def test_run_of_small_blob_is_one_stream(repository: LocalRepository) -> None:
    source, told = Source(), Told()
    await run(repository, source, split_above=SIZE + 1, told=told)
    await require_there(repository)
    assert (source.streams, source.spans) == ([(0, SIZE)], [])
    assert told.done == sorted(told.done)
    assert (told.done[0], told.done[-1]) == (0, SIZE)
    assert b"".join(told.pieces.values()) == CONTENT


async def test_run_of_large_blob_is_in_parts_side_by_side(repository: LocalRepository) -> None:
    async def let_others_on() -> None:
        await asyncio.sleep(0)

    source, told, slots = Source(wait=let_others_on), Told(), Slots(4)
    await run(repository, source, slots=slots, told=told)
    await require_there(repository)
    assert source.streams == []
    assert source.spans == [(at, min(at + PART, SIZE)) for at in range(0, SIZE, PART)]
    assert source.most_open == 4
    assert told.done[-1] == SIZE
    assert b"".join(told.pieces[position] for position in sorted(told.pieces)) == CONTENT
    assert all(slots.take_spare() for _ in range(4))


async def test_run_takes_no_slot_that_others_hold(repository: LocalRepository) -> None:
    slots = Slots(2)
    async with slots:
        source = Source(wait=lambda: asyncio.sleep(0))
        await run(repository, source, slots=slots)
    assert source.most_open == 1
    await require_there(repository)


async def test_run_against_server_without_ranges_is_one_stream(repository: LocalRepository) -> None:
    source, slots = Source(ranges=False), Slots(4)
    await run(repository, source, slots=slots)
    await require_there(repository)
    assert (source.spans, source.streams) == ([(0, PART)], [(0, SIZE)])
    assert all(slots.take_spare() for _ in range(4))


async def test_run_against_server_without_ranges_fills_gaps_in_one_stream(repository: LocalRepository) -> None:
    await leave_behind(repository, (0, 10), (100, 200), (1000, 1001))
    source, told = Source(ranges=False), Told()
    await run(repository, source, told=told)
    await require_there(repository)
    assert source.streams == [(10, SIZE)]
    assert max(told.done) == SIZE


async def test_run_that_breaks_off_ends_all_parts_and_gives_their_slots_back(repository: LocalRepository) -> None:
    slots = Slots(4)
    source = Source(breaks_at=3 * PART, wait=lambda: asyncio.sleep(0))
    before = asyncio.all_tasks()
    with pytest.raises(ConnectionFailed):
        await run(repository, source, slots=slots)
    assert (source.open_now, asyncio.all_tasks()) == (0, before)
    assert all(slots.take_spare() for _ in range(4))


@pytest.mark.parametrize("split_above", [1, SIZE + 1], ids=["parts", "stream"])
@pytest.mark.parametrize("position", [10_000, PART, 3 * PART, SIZE - 15_000])
async def test_run_again_fetches_what_is_missing(repository: LocalRepository, split_above: int, position: int) -> None:
    with pytest.raises(ConnectionFailed):
        await run(repository, Source(breaks_at=position), split_above=split_above)
    source, told = Source(), Told()
    await run(repository, source, split_above=split_above, told=told)
    await require_there(repository)
    fetched = sum(map(len, told.pieces.values()))
    assert fetched <= SIZE - position + 10_000
    assert told.done[0] == SIZE - fetched


async def test_run_again_says_what_the_bytes_came_with(repository: LocalRepository) -> None:
    with pytest.raises(ConnectionFailed):
        await run(repository, Source(breaks_at=PART, etag='"first"'))
    source = Source()
    await run(repository, source)
    assert source.expected == ['"first"']


async def test_first_run_expects_nothing(repository: LocalRepository) -> None:
    source = Source()
    await run(repository, source)
    assert source.expected == []


async def test_run_with_wrong_bytes_of_an_earlier_run_fetches_all_again(repository: LocalRepository) -> None:
    await leave_behind(repository, (0, 5000), (SIZE - 10, SIZE), content=bytes(SIZE))
    source, told = Source(), Told()
    await run(repository, source, split_above=SIZE + 1, told=told)
    await require_there(repository)
    assert source.streams == [(5000, SIZE - 10), (0, SIZE)]
    assert told.restarts == 1


@pytest.mark.parametrize("split_above", [1, SIZE + 1], ids=["parts", "stream"])
async def test_run_with_wrong_bytes_is_refused_at_once(repository: LocalRepository, split_above: int) -> None:
    source = Source(bytes(SIZE))
    with pytest.raises(DigestInvalid):
        await run(repository, source, split_above=split_above)
    assert len(source.streams) <= 1


async def test_run_with_wrong_bytes_again_and_again_is_refused_in_the_end(repository: LocalRepository) -> None:
    await leave_behind(repository, (0, 5000))
    source = Source(bytes(SIZE))
    with pytest.raises(DigestInvalid):
        await run(repository, source, split_above=SIZE + 1)
    assert source.streams == [(5000, SIZE), (0, SIZE)]


async def test_run_with_too_few_bytes_is_refused_and_can_go_on(repository: LocalRepository) -> None:
    with pytest.raises(SizeInvalid):
        await run(repository, Source(CONTENT[:70_000]), split_above=SIZE + 1)
    source = Source()
    await run(repository, source, split_above=SIZE + 1)
    assert source.streams == [(70_000, SIZE)]
    await require_there(repository)


async def test_run_that_is_cancelled_keeps_what_came(repository: LocalRepository) -> None:
    reached = asyncio.Event()

    async def hang() -> None:
        reached.set()
        await asyncio.Event().wait()

    source, slots, before = Source(wait=hang), Slots(4), asyncio.all_tasks()
    running = asyncio.create_task(run(repository, source, slots=slots))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (source.open_now, asyncio.all_tasks()) == (0, before)
    told = Told()
    await run(repository, Source(), told=told)
    assert told.done[0] >= 10_000
    await require_there(repository)
