"""The S3 store under load: large blobs, many uploads, and a network that breaks all the time."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.store.base import StoredBlob, UploadState
from entrepot.store.s3 import S3BlobStore
from entrepot.store.s3_keys import S3Keys
from entrepot.store.s3_options import MIB
from entrepot.testing.upload_suite import pull
from tests.services.s3 import S3Place
from tests.services.s3_proxy import FaultyS3Proxy

from .s3_stores import OpenStore, opening

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GIB = 1024 * MIB
_PAGE = 4096
_UPLOADS = 12


@pytest.fixture
async def open_store() -> AsyncIterator[OpenStore]:
    async with opening() as open_store:
        yield open_store


async def test_push_of_a_gibibyte_is_committed_within_a_second_in_little_memory(
    ceph: S3Place, open_store: OpenStore
) -> None:
    store = open_store(ceph)
    await store.check()  # what the first request loads does not count
    before, pushing = resident(), asyncio.create_task(push_much(store, GIB))
    peak = before
    while not pushing.done():
        await asyncio.wait({pushing}, timeout=0.05)
        peak = max(peak, resident())
    upload_state, digest = await pushing
    assert peak - before < 24 * MIB + 40 * MIB  # the budget, and what is on its way in buffers
    upload = await store.resume_upload(upload_state)
    started = time.monotonic()
    blob = await upload.commit(digest)
    assert time.monotonic() - started < 1
    assert (blob.size, await store.stat(blob.location)) == (GIB, GIB)


async def push_much(store: S3BlobStore, size: int) -> tuple[UploadState, Digest]:
    running = hashlib.sha256()

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(size // (64 * 1024)):
            piece = number.to_bytes(8, "big") * (64 * 1024 // 8)
            running.update(piece)
            yield piece
            await asyncio.sleep(0)

    upload = await store.begin_upload()
    await upload.write(pieces())
    state = await upload.save()
    await upload.close()
    return state, Digest(f"sha256:{running.hexdigest()}")


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_uploads_over_replicas_through_a_broken_network_are_whole(
    ceph: S3Place, open_store: OpenStore, seed: int
) -> None:
    """Requests of any size that break off anywhere, writers that die, and replicas that take turns."""
    with FaultyS3Proxy(int(ceph.endpoint.rpartition(":")[2]), share=0.1, seed=seed) as proxy:
        stores = [open_store(ceph.behind(proxy.endpoint), memory_bytes=16 * MIB) for _ in range(3)]
        clients = [_Client(random.Random(seed * 100 + number), stores) for number in range(_UPLOADS)]
        blobs = await asyncio.gather(*(client.push() for client in clients))
        for store in stores:
            await store.close()
    direct, keys = open_store(ceph), S3Keys("")
    for client, blob in zip(clients, blobs, strict=True):
        assert await pull(direct, blob) == client.content
    expected = {key for blob in blobs for key in (keys.content(blob.location), keys.record(blob.location))}
    assert set(ceph.keys()) == expected
    async for state in direct.walk_uploads():  # of writers that died before anybody knew of their parts
        assert await direct.discard_upload(state)
    assert ceph.open_uploads() == []


class _Client:
    """Pushes its content in requests to any of the stores, as chance has it."""

    def __init__(self, chance: random.Random, stores: list[S3BlobStore]) -> None:
        self.content = chance.randbytes(chance.choice([0, 100, 300_000, 3 * MIB, 9 * MIB, 20 * MIB]))
        self._chance = chance
        self._stores = stores

    async def push(self) -> StoredBlob:
        upload = await self._stores[0].begin_upload()
        state = UploadState.empty(upload.id, "sha256")
        while state.offset < len(self.content) or self._chance.random() < 0.2:
            state = await self._request(state)
        upload = await self._chance.choice(self._stores).resume_upload(state)
        blob = await upload.commit(Digest.of(self.content))
        await upload.recorded()
        return blob

    async def _request(self, state: UploadState) -> UploadState:
        """What is recorded in the end."""
        recorded = [state]

        async def record(saved: UploadState) -> None:
            recorded.append(saved)

        upload = await self._chance.choice(self._stores).resume_upload(state)
        try:
            await upload.write(self._pieces(state.offset), checkpoint=record)
            if self._chance.random() < 0.9:  # else the writer dies here
                await record(await upload.save())
                await upload.recorded()
        finally:
            await upload.close()
        return recorded[-1]

    async def _pieces(self, start: int) -> AsyncIterator[bytes]:
        end = min(len(self.content), start + self._chance.choice([1, 1000, 300_000, 4 * MIB, 12 * MIB]))
        for at in range(start, end, 100_000):
            yield self.content[at : min(end, at + 100_000)]
