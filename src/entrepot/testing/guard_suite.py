"""The guard of a blob store as tests; ``store_suite`` tells how a suite is bound."""

from __future__ import annotations

import asyncio

import pytest

from entrepot.store.base import BlobStore


class GuardSuite:
    """What the guard of every store does."""

    @pytest.fixture
    def store(self) -> BlobStore:
        """A fresh store."""
        raise NotImplementedError("bind the suite with a fixture named store")

    @pytest.fixture
    def second_store(self, store: BlobStore) -> BlobStore:
        """Another object over the same place if there can be one."""
        return store

    async def test_guard_is_held_by_many_at_once(self, store: BlobStore, second_store: BlobStore) -> None:
        async with store.guard(), second_store.guard(), store.guard():
            pass

    async def test_guard_can_be_held_again_and_again(self, store: BlobStore, second_store: BlobStore) -> None:
        for alone in (True, False, True):
            async with store.guard(alone=alone):
                pass
            async with second_store.guard(alone=alone):
                pass

    @pytest.mark.parametrize(
        ("first", "then"), [(True, False), (True, True), (False, True)], ids=["alone-many", "alone-alone", "many-alone"]
    )
    async def test_guard_that_is_held_is_waited_for(
        self, store: BlobStore, second_store: BlobStore, first: bool, then: bool
    ) -> None:
        async with asyncio.timeout(60):
            async with store.guard(alone=first):
                entering = asyncio.create_task(_enter(second_store, alone=then))
                await _pass_turns()
                assert not entering.done()
            await entering

    async def test_guard_alone_gets_its_turn_before_those_who_come_later(
        self, store: BlobStore, second_store: BlobStore
    ) -> None:
        order: list[str] = []

        async def hold(name: str, *, alone: bool) -> None:
            async with second_store.guard(alone=alone):
                order.append(name)

        async with asyncio.timeout(60):
            async with store.guard():
                alone = asyncio.create_task(hold("alone", alone=True))
                await _pass_turns()
                later = asyncio.create_task(hold("later", alone=False))
                await _pass_turns()
                assert order == []
            await asyncio.gather(alone, later)
        assert order == ["alone", "later"]

    @pytest.mark.parametrize("alone", [False, True])
    async def test_guard_whose_waiting_is_cancelled_is_free_afterwards(self, store: BlobStore, alone: bool) -> None:
        async with asyncio.timeout(60):
            async with store.guard(alone=not alone):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(_enter(store, alone=alone), 0.05)
            await _enter(store, alone=True)

    async def test_guard_is_let_go_when_its_holder_fails(self, store: BlobStore) -> None:
        for alone in (False, True):
            with pytest.raises(ZeroDivisionError):
                async with store.guard(alone=alone):
                    raise ZeroDivisionError
        await asyncio.wait_for(_enter(store, alone=True), 60)


async def _enter(store: BlobStore, *, alone: bool) -> None:
    async with store.guard(alone=alone):
        pass


async def _pass_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
