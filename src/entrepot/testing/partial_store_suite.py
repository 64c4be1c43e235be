"""The contract of a store that keeps partial downloads as tests: what ``PartialStore`` of ``store/base.py`` says.

Bind it as ``store_suite`` tells; a store that outlives its process binds ``PersistentPartialStoreSuite``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack

import pytest

from entrepot.digest import Digest
from entrepot.store.base import PartialStore
from entrepot.store.spans import Span
from entrepot.testing.partial_suite import (
    END,
    HALF,
    LONG_DIGEST,
    OTHER,
    SHORT_DIGEST,
    begin,
    fetch,
    fill,
    partials_of,
)
from entrepot.testing.upload_suite import LONG, MIB, SHORT, Damage, chunks, missing, pull, push


class PartialStoreSuite:
    """What every store that keeps partial downloads does."""

    @pytest.fixture
    def store(self) -> PartialStore:
        """A fresh store."""
        raise NotImplementedError("bind the suite with a fixture named store")

    @pytest.fixture
    def second_store(self, store: PartialStore) -> PartialStore:
        """Another object over the same place if there can be one."""
        return store

    @pytest.fixture
    def damage(self) -> Damage:
        """See ``UploadSuite.damage``."""
        pytest.skip("this binding cannot damage what is stored")

    # one holder

    async def test_open_partial_waits_for_its_holder_and_goes_on(
        self, store: PartialStore, second_store: PartialStore
    ) -> None:
        async with asyncio.timeout(60), AsyncExitStack() as stack:
            first = await stack.enter_async_context(store.open_partial(LONG_DIGEST, END))
            waiting = asyncio.create_task(_missing(second_store))
            await first.write(0, chunks(LONG[:HALF]))
            assert not waiting.done()
            await stack.aclose()
            assert await waiting == [(HALF, END)]

    async def test_open_partial_waits_until_its_holder_has_left_although_it_is_committed(
        self, store: PartialStore, second_store: PartialStore
    ) -> None:
        async with asyncio.timeout(60):
            async with store.open_partial(LONG_DIGEST, END) as first:
                await fill(first, LONG)
                waiting = asyncio.create_task(_missing(second_store))
                await first.commit()
                assert not await _gets_done(waiting)
            assert await waiting == [(0, END)]
        assert await partials_of(store) == {}

    async def test_open_partial_whose_waiting_is_cancelled_leaves_it_to_others(
        self, store: PartialStore, second_store: PartialStore
    ) -> None:
        async with asyncio.timeout(60):
            async with store.open_partial(LONG_DIGEST, END):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(_missing(second_store), 0.05)
            assert await _missing(second_store) == [(0, END)]

    async def test_open_partials_of_two_blobs_at_once(self, store: PartialStore, second_store: PartialStore) -> None:
        async with (
            store.open_partial(LONG_DIGEST, END) as one,
            second_store.open_partial(SHORT_DIGEST, len(SHORT)) as other,
        ):
            await asyncio.gather(fill(one, LONG), fill(other, SHORT))
            blobs = [await one.commit(), await other.commit()]
        assert [await pull(store, blob) for blob in blobs] == [LONG, SHORT]

    # what is left

    async def test_walk_partials_gives_what_was_begun(self, store: PartialStore) -> None:
        await begin(store, LONG, (0, HALF))
        await begin(store, SHORT, (5, 6))
        await fetch(store, b"done")
        found = await partials_of(store)
        assert found.keys() == {LONG_DIGEST, SHORT_DIGEST}
        assert found[LONG_DIGEST] >= HALF
        assert found[SHORT_DIGEST] > 0

    async def test_discard_partial_removes_it(self, store: PartialStore, second_store: PartialStore) -> None:
        await begin(store, LONG, (0, HALF))
        await begin(store, SHORT, (0, 5))
        assert await second_store.discard_partial(LONG_DIGEST)
        assert (await partials_of(store)).keys() == {SHORT_DIGEST}
        async with store.open_partial(LONG_DIGEST, END) as partial:
            assert partial.missing() == [(0, END)]

    async def test_discard_absent_partial_is_done(self, store: PartialStore) -> None:
        assert await store.discard_partial(LONG_DIGEST)
        assert await partials_of(store) == {}

    async def test_discard_partial_that_is_held_is_refused(
        self, store: PartialStore, second_store: PartialStore
    ) -> None:
        async with store.open_partial(LONG_DIGEST, END) as partial:
            await partial.write(0, chunks(LONG[:HALF]))
            assert not await second_store.discard_partial(LONG_DIGEST)
            await fill(partial, LONG)
            assert await pull(store, await partial.commit()) == LONG

    # bytes that nobody names

    async def test_find_bytes_gives_what_was_committed(self, store: PartialStore) -> None:
        blob = await push(store, LONG)
        assert await store.find_bytes(LONG_DIGEST, END) == blob

    @pytest.mark.parametrize("size", [0, END - 1, END + 1])
    async def test_find_bytes_of_another_size_gives_none(self, store: PartialStore, size: int) -> None:
        await push(store, LONG)
        assert await store.find_bytes(LONG_DIGEST, size) is None

    async def test_find_bytes_that_are_absent_gives_none(self, store: PartialStore) -> None:
        assert await store.find_bytes(missing(SHORT).digest, len(SHORT)) is None
        assert await store.find_bytes(Digest.of(SHORT, "sha512"), len(SHORT)) is None

    async def test_find_bytes_that_are_damaged_gives_none(self, store: PartialStore, damage: Damage) -> None:
        damage(await push(store, LONG), OTHER)
        assert await store.find_bytes(LONG_DIGEST, END) is None


class PersistentPartialStoreSuite(PartialStoreSuite):
    """What a store that outlives its process does besides."""

    @pytest.fixture
    def second_store(self, store: PartialStore) -> PartialStore:
        """Another object over the same place as ``store``, as a second process would have it."""
        raise NotImplementedError("bind the suite with a fixture named second_store")

    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    async def test_open_partial_after_restart_goes_on(
        self, store: PartialStore, second_store: PartialStore, algorithm: str
    ) -> None:
        digest = Digest.of(LONG, algorithm)
        async with store.open_partial(digest, END) as partial:
            await partial.write(0, chunks(LONG[:MIB]))
            await partial.write(HALF, chunks(LONG[HALF:]))
            await partial.set_validator('W/"v1"')
        async with second_store.open_partial(digest, END) as partial:
            assert partial.missing() == [(MIB, HALF)]
            assert partial.validator == 'W/"v1"'
            await fill(partial, LONG)
            assert await pull(store, await partial.commit()) == LONG
        assert await partials_of(store) == {}


async def _missing(store: PartialStore) -> list[Span]:
    async with store.open_partial(LONG_DIGEST, END) as partial:
        return partial.missing()


async def _gets_done(waiting: Awaitable[object]) -> bool:
    """Whether it ends although it should wait; a short time is enough to see that it goes on."""
    done, _ = await asyncio.wait({asyncio.ensure_future(waiting)}, timeout=0.1)
    return bool(done)
