"""Every blob store against the contract of blob stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.errors import UploadUnknown
from entrepot.store.base import BlobStore, StoredBlob, Upload
from entrepot.store.cached import CachedBlobStore
from entrepot.store.claims import ProcessClaims
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.memory import MemoryBlobStore
from entrepot.store.s3 import S3BlobStore
from entrepot.store.s3_keys import S3Keys
from entrepot.store.s3_options import S3Credentials, S3Options
from entrepot.testing.store_suite import BlobStoreSuite, PersistentBlobStoreSuite
from entrepot.testing.upload_suite import MIB, Damage, blobs_of, chunks, uploads_of
from tests.services.s3 import S3Place, client


def filesystem(root: Path) -> FilesystemBlobStore:
    return FilesystemBlobStore(root, lock_wait_seconds=0.05)


def cached(store: BlobStore) -> BlobStore:
    return CachedBlobStore(store, capacity=MIB, largest=MIB // 4)


def damage_files(root: Path) -> Damage:
    def damage(blob: StoredBlob, content: bytes | None) -> None:
        path = root / "blobs" / blob.location
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return damage


def damage_memory(store: MemoryBlobStore) -> Damage:
    def damage(blob: StoredBlob, content: bytes | None) -> None:
        del store.blobs[blob.location]
        if content is not None:
            store.blobs[blob.location] = content

    return damage


class TestMemoryBlobStore(BlobStoreSuite):
    @pytest.fixture
    def store(self) -> MemoryBlobStore:
        return MemoryBlobStore()

    @pytest.fixture
    def damage(self, store: MemoryBlobStore) -> Damage:
        return damage_memory(store)


class TestFilesystemBlobStore(PersistentBlobStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return filesystem(tmp_path)

    @pytest.fixture
    def second_store(self, tmp_path: Path) -> BlobStore:
        return filesystem(tmp_path)

    @pytest.fixture
    def damage(self, tmp_path: Path) -> Damage:
        return damage_files(tmp_path)


class TestCachedMemoryBlobStore(BlobStoreSuite):
    @pytest.fixture
    def memory(self) -> MemoryBlobStore:
        return MemoryBlobStore()

    @pytest.fixture
    def store(self, memory: MemoryBlobStore) -> BlobStore:
        return cached(memory)

    @pytest.fixture
    def damage(self, memory: MemoryBlobStore) -> Damage:
        return damage_memory(memory)


class TestCachedFilesystemBlobStore(TestFilesystemBlobStore):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return cached(filesystem(tmp_path))

    @pytest.fixture
    def second_store(self, tmp_path: Path) -> BlobStore:
        return cached(filesystem(tmp_path))


LARGE = (b"0123456789abcdef" * (8 * MIB // 16), bytes(MIB))  # a part, and more than a state may hold


async def write_and_save(upload: Upload) -> None:
    await upload.write(chunks(*LARGE))
    await upload.save()


def s3_store(place: S3Place, claims: ProcessClaims) -> S3BlobStore:
    options = S3Options(
        place.bucket,
        place.prefix,
        region=place.region,
        endpoint=place.endpoint,
        credentials=S3Credentials(place.access_key, place.secret_key),
        claim_wait_seconds=0.05,
    )
    return S3BlobStore(options, claims)


class TestS3BlobStore(PersistentBlobStoreSuite):
    @pytest.fixture
    def claims(self) -> ProcessClaims:
        return ProcessClaims()

    @pytest.fixture
    async def store(self, s3: S3Place, claims: ProcessClaims) -> AsyncIterator[S3BlobStore]:
        store = s3_store(s3, claims)
        yield store
        await store.close()

    @pytest.fixture
    async def second_store(self, s3: S3Place, claims: ProcessClaims) -> AsyncIterator[S3BlobStore]:
        store = s3_store(s3, claims)
        yield store
        await store.close()

    @pytest.fixture
    def damage(self, s3: S3Place) -> Damage:
        keys, plain = S3Keys(s3.prefix), client(s3)

        def damage(blob: StoredBlob, content: bytes | None) -> None:
            key = keys.content(blob.location)
            if content is None:
                plain.delete_object(Bucket=s3.bucket, Key=key)
            else:
                plain.put_object(Bucket=s3.bucket, Key=key, Body=content)

        return damage

    @pytest.mark.parametrize("end", ["cancel", "commit", "discard"])
    async def test_resume_upload_that_has_ended_is_unknown(self, store: BlobStore, end: str) -> None:
        """As soon as its bytes are needed; those of a short upload are in its state, so only its row can tell."""
        upload = await store.begin_upload()
        await upload.write(chunks(*LARGE))
        state = await upload.save()
        if end == "commit":
            await upload.commit(Digest.of(b"".join(LARGE)))
            await upload.recorded()
            await upload.close()
        elif end == "cancel":
            await upload.cancel()
        else:
            await upload.close()
            await store.discard_upload(state)
        resumed = await store.resume_upload(state)
        with pytest.raises(UploadUnknown):
            await write_and_save(resumed)
        await resumed.close()
        assert await uploads_of(store) == []
        assert [blob.size for blob in await blobs_of(store)] == ([9 * MIB] if end == "commit" else [])
