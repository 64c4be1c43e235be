"""The contract of partial downloads as tests: what ``Partial`` of ``store/base.py`` says.

Bind it as ``store_suite`` tells. What ``PartialStore`` says of many of them is in ``partial_store_suite``.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from entrepot.digest import Digest
from entrepot.errors import DigestInvalid, SizeInvalid
from entrepot.store.base import Partial, PartialStore, StoredBlob
from entrepot.store.spans import Span
from entrepot.testing.upload_suite import LONG, MIB, SHORT, Damage, blobs_of, chunks, pull, push, require_empty

LONG_DIGEST, SHORT_DIGEST = Digest.of(LONG), Digest.of(SHORT)
END = len(LONG)
HALF = END // 2
OTHER = bytes(255 - byte for byte in LONG)  # as long, and different everywhere


async def partials_of(store: PartialStore) -> dict[Digest, int]:
    """What was begun and not committed, with the bytes each takes."""
    return {digest: size async for digest, size in store.walk_partials()}


async def fill(partial: Partial, content: bytes) -> None:
    """Write what is missing of it, all spans at once."""
    spans = partial.missing()
    await asyncio.gather(*(partial.write(start, chunks(content[start:end])) for start, end in spans))


async def fetch(store: PartialStore, content: bytes, digest: Digest | None = None) -> StoredBlob:
    """Go on with a blob, and commit it."""
    async with store.open_partial(digest or Digest.of(content), len(content)) as partial:
        await fill(partial, content)
        return await partial.commit()


async def begin(store: PartialStore, content: bytes, *spans: Span, validator: str | None = None) -> None:
    """Write these spans of a blob and leave it."""
    async with store.open_partial(Digest.of(content), len(content)) as partial:
        for start, end in spans:
            await partial.write(start, chunks(content[start:end]))
        if validator is not None:
            await partial.set_validator(validator)


class PartialSuite:
    """What every partial download does."""

    @pytest.fixture
    def store(self) -> PartialStore:
        """A fresh store."""
        raise NotImplementedError("bind the suite with a fixture named store")

    @pytest.fixture
    def damage(self) -> Damage:
        """See ``UploadSuite.damage``."""
        pytest.skip("this binding cannot damage what is stored")

    # writing

    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    @pytest.mark.parametrize("content", [b"", b"x", SHORT, LONG], ids=["empty", "byte", "short", "long"])
    async def test_commit_partial_stores_what_was_written(
        self, store: PartialStore, content: bytes, algorithm: str
    ) -> None:
        blob = await fetch(store, content, Digest.of(content, algorithm))
        assert (blob.digest, blob.size) == (Digest.of(content), len(content))
        assert await blobs_of(store) == [blob]
        assert await pull(store, blob) == content
        assert await partials_of(store) == {}

    async def test_open_new_partial_misses_everything(self, store: PartialStore) -> None:
        async with store.open_partial(LONG_DIGEST, END) as partial:
            assert (partial.digest, partial.size, partial.validator) == (LONG_DIGEST, END, None)
            assert (partial.missing(), partial.prefix()) == ([(0, END)], 0)

    async def test_open_partial_of_empty_blob_misses_nothing(self, store: PartialStore) -> None:
        async with store.open_partial(Digest.of(b""), 0) as partial:
            assert (partial.missing(), partial.prefix()) == ([], 0)

    async def test_write_returns_where_the_bytes_end(self, store: PartialStore) -> None:
        async with store.open_partial(LONG_DIGEST, END) as partial:
            assert await partial.write(5, chunks(LONG[5:MIB], LONG[MIB : 2 * MIB])) == 2 * MIB
            assert await partial.write(7, chunks()) == 7
            assert partial.missing() == [(0, 5), (2 * MIB, END)]
            assert partial.prefix() == 0
            assert await partial.write(0, chunks(LONG[:5])) == 5
            assert partial.prefix() == 2 * MIB

    @pytest.mark.parametrize(
        "order",
        [[(HALF, END), (0, HALF)], [(0, 1), (2, END), (1, 2)], [(END - 1, END), (MIB, END - 1), (0, MIB)]],
        ids=["halves", "hole", "backwards"],
    )
    async def test_write_in_any_order_stores_the_blob(self, store: PartialStore, order: list[Span]) -> None:
        async with store.open_partial(LONG_DIGEST, END) as partial:
            for start, end in order:
                await partial.write(start, chunks(LONG[start:end]))
            assert partial.missing() == []
            blob = await partial.commit()
        assert await pull(store, blob) == LONG

    async def test_write_many_spans_at_once_stores_the_blob(self, store: PartialStore) -> None:
        edges = [*range(0, END, 100_001), END]
        async with store.open_partial(LONG_DIGEST, END) as partial:
            spans = itertools.pairwise(edges)
            await asyncio.gather(*(partial.write(start, chunks(LONG[start:end])) for start, end in spans))
            blob = await partial.commit()
        assert await pull(store, blob) == LONG

    async def test_write_byte_by_byte_stores_the_blob(self, store: PartialStore) -> None:
        content = LONG[:5000]
        async with store.open_partial(Digest.of(content), 5000) as partial:
            await partial.write(0, chunks(*(content[at : at + 1] for at in range(5000))))
            assert await pull(store, await partial.commit()) == content

    @pytest.mark.parametrize("start", [0, 1, HALF, MIB])
    async def test_write_over_what_is_there_leaves_it(self, store: PartialStore, start: int) -> None:
        """Bytes that were hashed must not be changed by a server that sends them once more."""
        async with store.open_partial(LONG_DIGEST, END) as partial:
            await partial.write(0, chunks(LONG[:HALF]))
            await partial.write(start, chunks(OTHER[start:HALF], LONG[HALF:]))
            assert await pull(store, await partial.commit()) == LONG

    async def test_write_the_same_span_at_once_keeps_one_of_them(self, store: PartialStore) -> None:
        async with store.open_partial(LONG_DIGEST, END) as partial:
            await asyncio.gather(partial.write(0, chunks(LONG)), partial.write(0, chunks(OTHER)))
            assert partial.missing() == []
            blob = await partial.commit()
            assert await pull(store, blob) == LONG

    async def test_write_whose_source_fails_keeps_what_came(self, store: PartialStore) -> None:
        async with store.open_partial(LONG_DIGEST, END) as partial:
            with pytest.raises(ConnectionError):
                await partial.write(MIB, chunks(LONG[MIB : 2 * MIB], LONG[2 * MIB : END - 1], then=ConnectionError()))
            assert partial.missing() == [(0, MIB), (END - 1, END)]

    async def test_write_that_is_cancelled_keeps_what_came(self, store: PartialStore) -> None:
        came = asyncio.Event()

        async def stalling() -> AsyncIterator[bytes]:
            yield LONG[:HALF]
            came.set()
            await asyncio.Event().wait()

        async with store.open_partial(LONG_DIGEST, END) as partial:
            writing = asyncio.create_task(partial.write(0, stalling()))
            await came.wait()
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            assert partial.missing() == [(HALF, END)]

    async def test_write_beyond_the_size_is_refused_and_keeps_the_rest(self, store: PartialStore) -> None:
        async with store.open_partial(SHORT_DIGEST, len(SHORT)) as partial:
            with pytest.raises(SizeInvalid) as caught:
                await partial.write(5, chunks(SHORT[5:8], SHORT[8:] + b"!"))
            assert caught.value.detail == {"expected": 10, "actual": 11}
            assert partial.missing() == [(0, 5)]

    @pytest.mark.parametrize("start", [-1, len(SHORT) + 1])
    async def test_write_outside_of_the_blob_is_refused(self, store: PartialStore, start: int) -> None:
        async with store.open_partial(SHORT_DIGEST, len(SHORT)) as partial:
            with pytest.raises(SizeInvalid):
                await partial.write(start, chunks(b"x"))
            assert partial.missing() == [(0, len(SHORT))]

    # going on

    async def test_open_partial_again_goes_on(self, store: PartialStore) -> None:
        await begin(store, LONG, (0, MIB), (HALF, END - 1), validator='"v1"')
        async with store.open_partial(LONG_DIGEST, END) as partial:
            assert partial.missing() == [(MIB, HALF), (END - 1, END)]
            assert (partial.prefix(), partial.validator) == (MIB, '"v1"')
            await fill(partial, LONG)
            assert await pull(store, await partial.commit()) == LONG

    async def test_open_partial_after_a_failure_goes_on(self, store: PartialStore) -> None:
        with pytest.raises(ZeroDivisionError):
            async with store.open_partial(LONG_DIGEST, END) as partial:
                await partial.write(0, chunks(LONG[:HALF]))
                raise ZeroDivisionError
        async with store.open_partial(LONG_DIGEST, END) as partial:
            assert partial.missing() == [(HALF, END)]

    async def test_open_partial_many_times_keeps_each_part(self, store: PartialStore) -> None:
        for start in range(0, END, 300_000):
            await begin(store, LONG, (start, min(start + 300_000, END)))
        async with store.open_partial(LONG_DIGEST, END) as partial:
            assert partial.missing() == []
            assert await pull(store, await partial.commit()) == LONG

    async def test_open_partial_of_another_size_starts_over(self, store: PartialStore) -> None:
        await begin(store, LONG, (0, END), validator='"v1"')
        async with store.open_partial(LONG_DIGEST, END - 1) as partial:
            assert (partial.missing(), partial.validator) == ([(0, END - 1)], None)
        assert await pull(store, await fetch(store, LONG)) == LONG

    async def test_restart_partial_misses_everything(self, store: PartialStore) -> None:
        async with store.open_partial(LONG_DIGEST, END) as partial:
            await partial.write(0, chunks(OTHER[:HALF]))
            await partial.set_validator('"v1"')
            await partial.restart()
            assert (partial.missing(), partial.prefix(), partial.validator) == ([(0, END)], 0, None)
            await fill(partial, LONG)
            assert await pull(store, await partial.commit()) == LONG

    async def test_restart_partial_of_an_earlier_run_is_remembered(self, store: PartialStore) -> None:
        await begin(store, LONG, (0, HALF), validator='"v1"')
        async with store.open_partial(LONG_DIGEST, END) as partial:
            await partial.restart()
        assert await partials_of(store) == {}
        async with store.open_partial(LONG_DIGEST, END) as partial:
            assert (partial.missing(), partial.validator) == ([(0, END)], None)

    async def test_leave_partial_without_bytes_keeps_nothing(self, store: PartialStore) -> None:
        async with store.open_partial(LONG_DIGEST, END) as partial:
            await partial.set_validator('"v1"')
        assert await partials_of(store) == {}

    # commit

    async def test_commit_partial_with_missing_bytes_is_refused_and_keeps_the_rest(self, store: PartialStore) -> None:
        async with store.open_partial(LONG_DIGEST, END) as partial:
            await partial.write(1, chunks(LONG[1:]))
            with pytest.raises(SizeInvalid) as caught:
                await partial.commit()
            assert caught.value.detail == {"expected": END, "actual": END - 1}
            assert partial.missing() == [(0, 1)]
            await partial.write(0, chunks(LONG[:1]))
            assert await pull(store, await partial.commit()) == LONG

    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    async def test_commit_partial_with_wrong_digest_keeps_nothing(self, store: PartialStore, algorithm: str) -> None:
        wanted = Digest.of(OTHER, algorithm)
        async with store.open_partial(wanted, END) as partial:
            await fill(partial, LONG)
            with pytest.raises(DigestInvalid) as caught:
                await partial.commit()
            actual = Digest.of(LONG, algorithm)
            assert caught.value.detail == {"expected": wanted, "actual": actual, "size": END}
            assert partial.missing() == [(0, END)]
        assert await partials_of(store) == {}
        await require_empty(store)

    async def test_commit_partial_with_wrong_bytes_of_an_earlier_run_can_be_fetched_anew(
        self, store: PartialStore
    ) -> None:
        async with store.open_partial(LONG_DIGEST, END) as partial:
            await partial.write(0, chunks(OTHER[:HALF]))
        async with store.open_partial(LONG_DIGEST, END) as partial:
            await fill(partial, LONG)
            with pytest.raises(DigestInvalid):
                await partial.commit()
            await fill(partial, LONG)
            assert await pull(store, await partial.commit()) == LONG
        assert await partials_of(store) == {}

    async def test_commit_partial_replaces_damaged_bytes(self, store: PartialStore, damage: Damage) -> None:
        damage(await push(store, LONG), OTHER)
        assert await pull(store, await fetch(store, LONG)) == LONG
