"""Bytes that a killed writer leaves in the bucket where no listing shows them, and who removes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.jobs.expire_uploads import ExpireUploads
from entrepot.metadata import blobs, leases
from entrepot.metadata.claims import SECONDS, LeaseClaims
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Chunk
from entrepot.repositories.local import LocalRegistry, LocalRepository
from entrepot.store.base import StoredBlob, Upload
from entrepot.store.s3 import S3BlobStore
from entrepot.store.s3_bucket import S3Bucket
from entrepot.store.s3_keys import S3Keys, Session
from entrepot.store.s3_open_uploads import walk_sessions
from entrepot.testing.upload_suite import pull
from tests.services.s3 import S3Place, client
from tests.services.s3_proxy import HoldingS3Proxy

from .s3_stores import PART, TAIL, MortalClaims, OpenStore, begin, opening, options, stream

NAME = RepositoryName.parse("team/app")
CONTENT = PART + TAIL
DIGEST = Digest.of(CONTENT)
EXPIRY = 1000
A_RECORD = b"/blobs/sha256/"


@dataclass
class Site:
    """Replicas that share a database, a bucket and a clock."""

    place: S3Place
    metadata: SqliteMetadata
    open_store: OpenStore
    now: int = field(default_factory=lambda: int(time.time()))

    def store(self, place: S3Place | None = None, claims: LeaseClaims | None = None) -> S3BlobStore:
        return self.open_store(place or self.place, claims=claims or LeaseClaims(self.metadata, lambda: self.now))

    def mortal_claims(self) -> MortalClaims:
        return MortalClaims(self.metadata, lambda: self.now)

    def repository(self, place: S3Place | None = None, claims: LeaseClaims | None = None) -> LocalRepository:
        return LocalRegistry(self.store(place, claims), self.metadata, clock=lambda: self.now).repository(NAME)

    async def expire(self) -> None:
        await ExpireUploads(self.store(), self.metadata, lambda: self.now, after_seconds=EXPIRY).run(_keep)

    async def traces(self) -> list[str]:
        return await self.metadata.read(leases.ended_leases("", "~", before=self.now + 10 * EXPIRY, limit=100))

    async def record(self, stored: StoredBlob) -> None:
        await self.metadata.write(blobs.put_blob(NAME, stored.digest, stored, self.now))

    def data(self) -> list[str]:
        """The keys of what came in parts."""
        return [key for key in sorted(self.place.keys()) if key.startswith("data/")]


async def _keep() -> None:
    """The lease is never lost here."""


@pytest.fixture
async def site(s3: S3Place, database: Path) -> AsyncIterator[Site]:
    metadata = SqliteMetadata(database)
    async with opening() as open_store:
        yield Site(s3, metadata, open_store)
    await metadata.close()


async def kill_before_record(site: Site) -> None:
    """A push in one request dies when its parts are an object, and that has no record yet."""
    with HoldingS3Proxy(port_of(site.place), A_RECORD) as proxy:
        claims = site.mortal_claims()
        upload = await write(site.store(site.place.behind(proxy.endpoint), claims))
        await break_off(asyncio.create_task(upload.commit(DIGEST)), proxy)
        claims.is_dead = True


async def write(store: S3BlobStore) -> Upload:
    """All of it, in one request."""
    upload = await store.begin_upload()
    await upload.write(stream(CONTENT))
    return upload


async def break_off(work: asyncio.Task[StoredBlob], proxy: HoldingS3Proxy) -> None:
    await proxy.met()
    work.cancel()
    await asyncio.wait({work})


def port_of(place: S3Place) -> int:
    return int(place.endpoint.rpartition(":")[2])


async def test_bytes_of_a_writer_that_died_before_their_record_are_removed(site: Site) -> None:
    await kill_before_record(site)
    assert len(site.place.keys()) == len(site.data()) == 1
    assert site.place.open_uploads() == []
    site.now += SECONDS + EXPIRY
    await site.expire()
    assert len(site.data()) == 1  # not that old yet
    site.now += 1
    await site.expire()
    assert site.place.keys() == {}
    assert await site.traces() == []


async def test_blob_of_a_writer_that_died_after_its_record_stays(site: Site) -> None:
    upload = await write(site.store())
    blob = await upload.commit(DIGEST)
    site.now += 2 * EXPIRY
    await site.expire()
    assert await pull(site.store(), blob) == CONTENT
    assert await site.traces() == []


async def test_blob_that_the_database_names_stays_though_its_record_is_lost(site: Site) -> None:
    upload = await write(site.store())
    blob = await upload.commit(DIGEST)
    await site.record(blob)
    client(site.place).delete_object(Bucket=site.place.bucket, Key=S3Keys(site.place.prefix).record(blob.location))
    site.now += 2 * EXPIRY
    await site.expire()
    assert await pull(site.store(), blob) == CONTENT


async def test_damaged_blob_that_was_taken_out_stays(site: Site) -> None:
    upload = await write(site.store())
    blob = await upload.commit(DIGEST)
    key = S3Keys(site.place.prefix).content(blob.location)
    client(site.place).put_object(Bucket=site.place.bucket, Key=key, Body=b"damaged")
    assert await site.store().quarantine(blob)
    site.now += 2 * EXPIRY
    await site.expire()
    assert len(site.data()) == 1


async def test_upload_that_is_going_on_stays(site: Site) -> None:
    claims = site.now
    upload, _ = await begin(site.store(), PART)
    job = ExpireUploads(site.store(), site.metadata, lambda: claims + 2 * EXPIRY, after_seconds=EXPIRY)
    await job.run(_keep)
    await upload.write(stream(TAIL))
    assert await pull(site.store(), await upload.commit(DIGEST)) == CONTENT
    await upload.close()


async def test_open_uploads_and_remainders_of_a_writer_that_died_are_removed(site: Site) -> None:
    claims = site.mortal_claims()
    upload, _ = await begin(site.store(claims=claims), PART, TAIL)
    assert len(site.place.open_uploads()) == len(site.place.keys()) == 1
    claims.is_dead = True
    site.now += 2 * EXPIRY
    assert await site.store().discard_remains(upload.id, _nobody)
    assert site.place.open_uploads() == []
    assert site.place.keys() == {}


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "broken_off"])
async def test_bytes_of_a_closing_request_that_was_repeated_elsewhere_are_removed(
    site: Site, *, is_killed: bool
) -> None:
    """The upload's row knows nothing of what the first request has sent."""
    upload_id = await site.repository().begin_upload()
    with HoldingS3Proxy(port_of(site.place), A_RECORD) as proxy:
        claims = site.mortal_claims()
        first = site.repository(site.place.behind(proxy.endpoint), claims)
        closing = asyncio.create_task(first.finish_upload(upload_id, DIGEST, Chunk(stream(CONTENT))))
        await proxy.met()
        if is_killed:
            claims.is_dead = True
            site.now += SECONDS
        else:
            closing.cancel()
            await asyncio.wait({closing})
        blob = await site.repository().finish_upload(upload_id, DIGEST, Chunk(stream(CONTENT)))
        closing.cancel()
        await asyncio.wait({closing})
    assert len(site.data()) == 2
    site.now += 2 * EXPIRY
    await site.expire()
    assert len(site.data()) == 1
    assert await site.traces() == []
    assert (await site.repository().find_blob(DIGEST)).size == blob.size
    [stored] = [stored async for stored in site.store().walk()]
    assert await pull(site.store(), stored) == CONTENT


async def test_push_that_breaks_off_before_the_record_leaves_nothing_but_a_trace(site: Site) -> None:
    with HoldingS3Proxy(port_of(site.place), A_RECORD) as proxy:
        putting = asyncio.create_task(
            site.repository(site.place.behind(proxy.endpoint)).put_blob(DIGEST, Chunk(stream(CONTENT)))
        )
        await proxy.met()
        putting.cancel()
        await asyncio.wait({putting})
    assert site.place.keys() == {}
    assert len(await site.traces()) == 1
    site.now += 2 * EXPIRY
    await site.expire()
    assert await site.traces() == []


async def test_open_uploads_are_all_listed_however_few_fit_on_a_page(s3: S3Place) -> None:
    bucket, places = S3Bucket(options(s3)), client(s3)
    upload_ids = [f"{number:08x}-1111-4222-8333-444455556666" for number in range(40)]
    for upload_id in upload_ids:
        key = bucket.keys.session_data(upload_id, Session("0a1b2c3d", ""))
        places.create_multipart_upload(Bucket=s3.bucket, Key=key)
    listed = [state.id async for state in walk_sessions(bucket, most_on_a_page=10)]
    assert set(listed) == set(upload_ids)
    assert [state.id async for state in walk_sessions(bucket, upload_ids[7])] == [upload_ids[7]]
    await bucket.client.close()


@pytest.mark.parametrize("words", ["DELETE ", "HEAD /{bucket}/{prefix}/tails/"], ids=["open_upload", "object"])
async def test_remains_of_a_replica_that_died_while_it_tried_its_rights_are_removed(site: Site, words: str) -> None:
    first_line = words.format(bucket=site.place.bucket, prefix=site.place.prefix)
    with HoldingS3Proxy(port_of(site.place), first_line.encode()) as proxy:
        preparing = asyncio.create_task(site.store(site.place.behind(proxy.endpoint)).prepare())
        await proxy.met()
        preparing.cancel()
        await asyncio.wait({preparing})
    assert len(site.place.keys()) + len(site.place.open_uploads()) == 1
    await site.expire()
    assert site.place.keys() == {}
    assert site.place.open_uploads() == []


async def _nobody(_: StoredBlob) -> bool:
    return False
