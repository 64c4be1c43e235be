"""What an S3 store does beyond the contract of blob stores, against real servers."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.errors import Corrupt, DigestInvalid, UploadBusy, UploadUnknown
from entrepot.jobs.expire_uploads import ExpireUploads
from entrepot.metadata.claims import SECONDS, LeaseClaims
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Chunk
from entrepot.repositories.local import LocalRegistry
from entrepot.repositories.local_blob import LocalBlob
from entrepot.store.base import UploadState
from entrepot.store.claims import ProcessClaims
from entrepot.store.s3_keys import S3Keys
from entrepot.store.s3_options import MIB
from entrepot.testing.upload_suite import blobs_of, pull, push
from tests.services.s3 import S3Place, client
from tests.services.s3_proxy import FaultyS3Proxy

from .s3_stores import PART, TAIL, MortalClaims, OpenStore, append, begin, opening, stream

NAME = RepositoryName.parse("team/app")


@pytest.fixture
async def open_store() -> AsyncIterator[OpenStore]:
    async with opening() as open_store:
        yield open_store


def port_of(place: S3Place) -> int:
    return int(place.endpoint.rpartition(":")[2])


# uploads


async def test_push_over_three_replicas_goes_on_in_the_middle_of_parts_and_tails(
    s3: S3Place, open_store: OpenStore
) -> None:
    first, second, third = open_store(s3), open_store(s3), open_store(s3)
    content = PART + TAIL + PART + b"few" + TAIL + b"bytes"
    state = UploadState.empty((await first.begin_upload()).id, "sha256")
    state = await append(first, state, PART, TAIL)
    assert ([part.size for part in state.parts], state.tail) == ([8 * MIB], b"")
    assert state.tail_location.startswith("tails/")
    state = await append(second, state, PART, b"few")
    assert [part.size for part in state.parts] == [8 * MIB, 8 * MIB]
    state = await append(third, state, TAIL, b"bytes")
    upload = await first.resume_upload(state)
    blob = await upload.commit(Digest.of(content))
    await upload.recorded()
    assert await pull(second, blob) == content
    assert await blobs_of(third) == [blob]
    keys = S3Keys("")
    assert s3.keys() == {keys.content(blob.location): len(content), keys.record(blob.location): 0}
    assert s3.open_uploads() == []


async def test_push_in_many_small_requests_leaves_one_object(s3: S3Place, open_store: OpenStore) -> None:
    stores = [open_store(s3), open_store(s3)]
    state = UploadState.empty((await stores[0].begin_upload()).id, "sha256")
    piece = PART[: 300 * 1024]
    for number in range(5):
        state = await append(stores[number % 2], state, piece)
    upload = await stores[0].resume_upload(state)
    blob = await upload.commit(Digest.of(5 * piece))
    await upload.recorded()
    assert s3.keys() == {f"blobs/{blob.location}": 5 * len(piece)}


async def test_upload_of_few_bytes_costs_no_request_before_its_commit(ceph: S3Place, open_store: OpenStore) -> None:
    with FaultyS3Proxy(port_of(ceph)) as proxy:
        store = open_store(ceph.behind(proxy.endpoint))
        upload, state = await begin(store, b"config")
        await upload.close()
        assert proxy.fates.total() == 0
        await (await store.resume_upload(state)).commit(Digest.of(b"config"))
        assert proxy.fates.total() == 1


async def test_commit_of_a_remainder_that_is_all_there_is_costs_no_request(
    ceph: S3Place, open_store: OpenStore
) -> None:
    with FaultyS3Proxy(port_of(ceph)) as proxy:
        store = open_store(ceph.behind(proxy.endpoint))
        upload, state = await begin(store, TAIL)
        await upload.close()
        before = proxy.fates.total()
        blob = await (await store.resume_upload(state)).commit(Digest.of(TAIL))
        assert proxy.fates.total() == before == 1
        assert await pull(store, blob) == TAIL


async def test_commit_of_a_large_upload_takes_two_requests_and_no_copy(ceph: S3Place, open_store: OpenStore) -> None:
    with FaultyS3Proxy(port_of(ceph)) as proxy:
        store = open_store(ceph.behind(proxy.endpoint))
        upload, state = await begin(store, *[PART] * 12)
        await upload.close()
        before, started = proxy.fates.total(), time.monotonic()
        blob = await (await store.resume_upload(state)).commit(Digest.of(12 * PART))
        assert time.monotonic() - started < 20  # on a machine that does other things as well
        assert proxy.fates.total() - before == 2
        assert await store.stat(blob.location) == blob.size == 96 * MIB


async def test_commit_whose_answer_was_lost_is_done_again_elsewhere(s3: S3Place, open_store: OpenStore) -> None:
    store, second = open_store(s3), open_store(s3)
    upload, state = await begin(store, PART, TAIL)
    digest = Digest.of(PART + TAIL)
    blob = await upload.commit(digest)
    await upload.close()
    assert await (await second.resume_upload(state)).commit(digest) == blob
    assert await pull(second, blob) == PART + TAIL
    assert await blobs_of(store) == [blob]


async def test_commit_with_wrong_digest_aborts_everything(s3: S3Place, open_store: OpenStore) -> None:
    upload, _ = await begin(open_store(s3), PART, PART, TAIL)
    with pytest.raises(DigestInvalid):
        await upload.commit(Digest.of(b"another"))
    await upload.cancel()
    assert s3.keys() == {}
    assert s3.open_uploads() == []


async def test_commit_by_hashes_that_were_lost_reads_what_came(s3: S3Place, open_store: OpenStore) -> None:
    store = open_store(s3)
    upload, state = await begin(store, PART, b"end")
    await upload.close()
    state = replace(state, hashes=dict.fromkeys(state.hashes, b""))
    blob = await (await store.resume_upload(state)).commit(Digest.of(PART + b"end", "sha512"))
    assert blob.digest == Digest.of(PART + b"end")


async def test_commit_by_a_writer_whose_parts_were_replaced_is_refused(ceph: S3Place, open_store: OpenStore) -> None:
    """Each of the two takes himself for the only one; the one who was last in each part has it."""
    store, other = open_store(ceph), open_store(ceph, claims=ProcessClaims())
    upload, state = await begin(store, PART)
    await upload.write(stream(PART))
    await upload.save()
    intruder = await other.resume_upload(state)
    await intruder.write(stream(PART[::-1]))
    await intruder.save()
    with pytest.raises(UploadUnknown):
        await upload.commit(Digest.of(PART + PART))
    blob = await intruder.commit(Digest.of(PART + PART[::-1]))
    assert await pull(store, blob) == PART + PART[::-1]


async def test_write_by_a_writer_whose_claim_is_lost_is_refused(ceph: S3Place, open_store: OpenStore) -> None:
    claims = ProcessClaims()
    store = open_store(ceph, claims=claims)
    upload, state = await begin(store, PART)
    claims.seconds = 0
    with pytest.raises(UploadBusy):
        await upload.save()
    with pytest.raises(UploadBusy):
        await upload.commit(Digest.of(PART))
    claims.seconds = 3600
    await upload.cancel()  # of another's upload nothing goes
    blob = await (await open_store(ceph).resume_upload(state)).commit(Digest.of(PART))
    assert await pull(store, blob) == PART


async def test_upload_of_a_replica_that_died_is_taken_over_when_its_lease_ends(
    ceph: S3Place, database: Path, open_store: OpenStore
) -> None:
    metadata = SqliteMetadata(database)
    now = int(time.time())
    mortal = MortalClaims(metadata, lambda: now)
    dead = open_store(ceph, claims=mortal)
    alive = open_store(ceph, claims=LeaseClaims(metadata, lambda: now))
    upload, state = await begin(dead, PART, TAIL)
    with pytest.raises(UploadBusy):
        await alive.resume_upload(state)
    mortal.is_dead = True
    now += SECONDS
    taken_over = await alive.resume_upload(state)
    blob = await taken_over.commit(Digest.of(PART + TAIL))
    assert await pull(alive, blob) == PART + TAIL
    await upload.close()
    await metadata.close()


async def test_upload_with_parts_of_fixed_size_has_no_other_but_the_last(ceph: S3Place, open_store: OpenStore) -> None:
    store = open_store(ceph, part_bytes=5 * MIB)
    upload, state = await begin(store, PART, PART)
    await upload.close()
    state = await append(store, state, PART[: 6 * MIB])
    assert [part.size for part in state.parts] == [5 * MIB] * 4
    content = PART + PART + PART[: 6 * MIB]
    assert await pull(store, await (await store.resume_upload(state)).commit(Digest.of(content))) == content


async def test_same_bytes_pushed_twice_are_kept_once(ceph: S3Place, database: Path, open_store: OpenStore) -> None:
    metadata = SqliteMetadata(database)
    repository = LocalRegistry(open_store(ceph), metadata).repository(NAME)
    digest = Digest.of(TAIL)
    first = await repository.put_blob(digest, Chunk(stream(TAIL)))
    assert (await repository.put_blob(digest, Chunk(stream(TAIL)))).stored == first.stored
    assert ceph.keys() == {f"blobs/{first.stored.location}": len(TAIL)}
    await metadata.close()


async def test_same_bytes_pushed_again_replace_those_that_are_gone(
    ceph: S3Place, database: Path, open_store: OpenStore
) -> None:
    metadata = SqliteMetadata(database)
    store = open_store(ceph)
    repository = LocalRegistry(store, metadata).repository(NAME)
    digest = Digest.of(TAIL)
    first = await repository.put_blob(digest, Chunk(stream(TAIL)))
    await store.delete(first.stored.location)
    second = await repository.put_blob(digest, Chunk(stream(TAIL)))
    assert second.stored.location != first.stored.location
    assert (await repository.find_blob(digest)).stored == second.stored
    assert await pull(store, second.stored) == TAIL
    await metadata.close()


async def test_finish_with_right_and_wrong_digest_at_once_never_loses_an_acknowledged_blob(
    ceph: S3Place, database: Path, open_store: OpenStore
) -> None:
    metadata = SqliteMetadata(database)
    claims = LeaseClaims(metadata, lambda: int(time.time()))
    replicas = [LocalRegistry(open_store(ceph, claims=claims, claim_wait_seconds=60), metadata) for _ in range(2)]
    first, second = [replica.repository(NAME) for replica in replicas]
    for number in range(4):
        content = TAIL + bytes([number])
        digest, wrong = Digest.of(content), Digest.of(b"wrong")
        upload_id = await first.begin_upload()
        await first.append(upload_id, Chunk(stream(content)))
        finishing = [
            replica.finish_upload(upload_id, announced, Chunk(stream()))
            for replica, announced in ((first, digest), (second, wrong))
        ]
        found, refused = await asyncio.gather(*finishing, return_exceptions=True)
        assert isinstance(refused, DigestInvalid | UploadUnknown)
        if isinstance(found, LocalBlob):
            assert await pull(replicas[1].store, found.stored) == content
        else:
            assert isinstance(found, UploadUnknown)
    await metadata.close()


# memory


@pytest.mark.parametrize("memory_bytes", [0, 12 * MIB], ids=["files", "memory_then_files"])
async def test_many_uploads_at_once_keep_to_the_memory_there_is(
    ceph: S3Place, open_store: OpenStore, memory_bytes: int
) -> None:
    store = open_store(ceph, memory_bytes=memory_bytes)
    digest = Digest.of(PART + TAIL)
    uploads = [await store.begin_upload() for _ in range(12)]
    tracemalloc.start()
    try:
        await asyncio.gather(*(upload.write(stream(PART, TAIL)) for upload in uploads))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < memory_bytes + len(uploads) * 2 * MIB
    blobs = await asyncio.gather(*(upload.commit(digest) for upload in uploads))
    assert {blob.size for blob in blobs} == {9 * MIB}


# leftovers


async def test_abandoned_uploads_are_aborted_by_the_expiry_job(
    s3: S3Place, database: Path, open_store: OpenStore
) -> None:
    metadata = SqliteMetadata(database)
    now = int(time.time())
    store = open_store(s3, claims=LeaseClaims(metadata, lambda: now))
    registry = LocalRegistry(store, metadata, clock=lambda: now)
    repository = registry.repository(NAME)
    recorded = await repository.begin_upload()
    await repository.append(recorded, Chunk(stream(PART, TAIL)))
    abandoned, _ = await begin(store, PART, TAIL)
    await abandoned.close()
    going_on, _ = await begin(store, PART, TAIL)
    assert len(s3.open_uploads()) == 3
    await ExpireUploads(store, metadata, lambda: now + 1000, after_seconds=100).run(_keep)
    assert len(s3.open_uploads()) == 1
    assert len(s3.keys()) == 1
    await going_on.commit(Digest.of(PART + TAIL))
    await going_on.recorded()
    assert s3.open_uploads() == []
    await metadata.close()


async def _keep() -> None:
    """The lease is never lost here."""


async def test_walk_passes_over_foreign_objects_and_rebuilds_the_rest(s3: S3Place, open_store: OpenStore) -> None:
    store = open_store(s3)
    small, medium = await push(store, b"small"), await push(store, TAIL)
    large = await (await begin(store, PART, TAIL))[0].commit(Digest.of(PART + TAIL))
    client(s3).put_object(Bucket=s3.bucket, Key=f"{s3.prefix}/blobs/sha256/README", Body=b"foreign")
    expected = sorted([small, medium, large], key=lambda blob: blob.location)
    assert await blobs_of(open_store(s3)) == expected


@pytest.mark.parametrize("content", [TAIL, PART + TAIL], ids=["object", "parts"])
async def test_quarantine_keeps_what_was_damaged(ceph: S3Place, open_store: OpenStore, content: bytes) -> None:
    store = open_store(ceph)
    upload, _ = await begin(store, content)
    blob = await upload.commit(Digest.of(content))
    key = S3Keys(ceph.prefix).content(blob.location)
    client(ceph).put_object(Bucket=ceph.bucket, Key=key, Body=b"damaged")
    assert await store.quarantine(blob)
    assert await blobs_of(store) == []
    kept = [path for path in sorted(ceph.keys()) if path.startswith("quarantine/")]
    assert kept == [f"quarantine/{'/'.join(blob.location.split('/')[-2:])}"]


# reading


async def test_open_blob_whose_answers_break_off_gives_all_of_it(ceph: S3Place, open_store: OpenStore) -> None:
    blob = await push(open_store(ceph), PART[: 5 * MIB])
    with FaultyS3Proxy(port_of(ceph), share=0.5, seed=7) as proxy:
        store = open_store(ceph.behind(proxy.endpoint))
        assert await pull(store, blob) == PART[: 5 * MIB]
        assert await pull(store, blob, start=1000, end=2 * MIB) == PART[1000 : 2 * MIB]
        assert proxy.fates["answer cut"] > 0


async def test_open_blob_that_is_replaced_while_it_is_read_is_corrupt(ceph: S3Place, open_store: OpenStore) -> None:
    blob = await push(open_store(ceph), PART)
    key = S3Keys(ceph.prefix).content(blob.location)
    with FaultyS3Proxy(port_of(ceph)) as proxy:
        store = open_store(ceph.behind(proxy.endpoint))
        async with store.open(blob) as pieces:
            await anext(pieces)
            client(ceph).put_object(Bucket=ceph.bucket, Key=key, Body=PART[::-1])
            proxy.call(proxy.reset_all())
            with pytest.raises(Corrupt):
                async for _ in pieces:
                    pass


async def test_push_through_a_bad_network_succeeds(ceph: S3Place, open_store: OpenStore) -> None:
    content = [PART, PART[::-1], PART, TAIL]
    with FaultyS3Proxy(port_of(ceph), share=0.2, seed=3) as proxy:
        store = open_store(ceph.behind(proxy.endpoint))
        upload, _ = await begin(store, *content)
        blob = await upload.commit(Digest.of(b"".join(content)))
        assert proxy.fates.total() > proxy.fates["passed"]
    assert await pull(open_store(ceph), blob) == b"".join(content)
