"""Slots and crews: turns are kept, and one error comes out."""

from __future__ import annotations

import asyncio

import pytest

from entrepot.transfer.tasks import Crew, Slots


async def test_slots_let_so_many_in() -> None:
    slots, inside, most = Slots(3), 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with slots:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert most == 3
    assert [slots.take_spare() for _ in range(4)] == [True, True, True, False]


async def test_slots_let_in_whoever_came_first() -> None:
    slots, order = Slots(1), list[int]()

    async def work(number: int) -> None:
        async with slots:
            order.append(number)

    async with slots:
        waiting = [asyncio.create_task(work(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert not slots.take_spare()
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2, 3, 4]


async def test_slot_of_one_who_is_cancelled_goes_to_the_next() -> None:
    slots = Slots(1)
    await slots.acquire()
    first, second = asyncio.create_task(slots.acquire()), asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release()
    first.cancel()  # it was let in and has not noticed yet
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    slots.release()
    assert slots.take_spare()


async def test_crew_raises_the_first_error_alone_with_its_cause() -> None:
    cause = OSError("disk")

    async def fail() -> None:
        raise ValueError("first") from cause

    async def hang() -> None:
        await asyncio.Event().wait()

    async def work() -> None:
        async with Crew() as crew:
            crew.start(hang())
            crew.start(fail())
            crew.start(hang())

    with pytest.raises(ValueError, match="first") as caught:
        await work()
    assert caught.value.__cause__ is cause


async def test_crew_inside_a_crew_raises_the_first_error_alone() -> None:
    async def inner() -> None:
        async with Crew() as crew:
            crew.start(fail())

    async def fail() -> None:
        raise ValueError("first")

    async def outer() -> None:
        async with Crew() as crew:
            crew.start(inner())

    with pytest.raises(ValueError, match="first"):
        await outer()


async def test_crew_calls_what_follows_also_for_work_that_never_began() -> None:
    ended: list[int] = []

    async def work() -> None:
        raise AssertionError("begun")

    async def leave_at_once() -> None:
        async with Crew() as crew:
            crew.start(work(), then=lambda: ended.append(1))
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        await leave_at_once()
    await asyncio.sleep(0)
    assert ended == [1]
