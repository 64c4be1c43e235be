"""Parts on their way out: in memory while there is room, else in files."""

from __future__ import annotations

import hashlib

import pytest

from entrepot.store.s3_body import MemoryBudget, PartBody
from entrepot.store.threads import DiskThreads

CONTENT = bytes(range(256)) * 4096
PIECES = [CONTENT[at : at + 1000] for at in range(0, len(CONTENT), 1000)]


def part(budget: MemoryBudget, *, is_signed: bool = True) -> PartBody:
    return PartBody(budget, DiskThreads(1), "", is_signed=is_signed)


async def read(body: PartBody) -> bytes:
    return b"".join([piece async for piece in body.outgoing()])


@pytest.mark.parametrize("free", [2 * len(CONTENT), len(CONTENT) // 2, 0], ids=["memory", "memory_then_file", "file"])
async def test_body_gives_what_was_added_as_often_as_asked(free: int) -> None:
    body = part(MemoryBudget(free))
    for piece in PIECES:
        body.add([piece])
    assert body.size == len(CONTENT)
    assert body.is_in_file is (free < len(CONTENT))
    assert await read(body) == await read(body) == body.as_bytes() == CONTENT
    body.release()


@pytest.mark.parametrize("free", [len(CONTENT), 0], ids=["memory", "file"])
def test_body_feeds_hashes_from_its_beginning(free: int) -> None:
    body = part(MemoryBudget(free))
    body.add(PIECES)
    running = hashlib.sha256()
    body.update([running])
    assert running.digest() == hashlib.sha256(CONTENT).digest()
    body.release()


@pytest.mark.parametrize(("is_signed", "expected"), [(True, hashlib.sha256(CONTENT).hexdigest()), (False, None)])
def test_body_knows_its_checksum_when_it_is_to_be_signed(is_signed: bool, expected: str | None) -> None:
    body = part(MemoryBudget(len(CONTENT)), is_signed=is_signed)
    body.add(PIECES)
    assert body.outgoing().sha256 == expected


def test_body_takes_memory_from_the_budget_and_gives_it_back() -> None:
    budget = MemoryBudget(len(CONTENT) + 1)
    body = part(budget)
    body.add(PIECES)
    assert budget.free == 1
    body.release()
    body.release()
    assert budget.free == len(CONTENT) + 1


def test_body_that_goes_to_a_file_gives_back_its_memory() -> None:
    budget = MemoryBudget(1500)
    first, second = part(budget), part(budget)
    first.add([CONTENT[:1000]])
    second.add([CONTENT[:400]])
    first.add([CONTENT[1000:2000]])
    assert first.is_in_file
    assert not second.is_in_file
    assert budget.free == 1100
    first.release()
    second.release()
    assert budget.free == 1500


def test_budget_gives_no_more_than_there_is() -> None:
    budget = MemoryBudget(10)
    assert budget.take(10)
    assert not budget.take(1)
    budget.give_back(4)
    assert budget.take(4)


def test_outgoing_is_not_read_like_a_file() -> None:
    with pytest.raises(RuntimeError):
        part(MemoryBudget(0)).outgoing().read()
