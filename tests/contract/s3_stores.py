"""What the tests of the S3 store share: stores over one place, and contents that are large enough for parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from entrepot.errors import Unavailable
from entrepot.metadata.claims import LeaseClaims
from entrepot.store.base import Claims, Upload, UploadState
from entrepot.store.claims import ProcessClaims
from entrepot.store.s3 import S3BlobStore
from entrepot.store.s3_options import MIB, S3Credentials, S3Options
from tests.services.s3 import S3Place

PART = bytes(range(256)) * (8 * MIB // 256)  # as many bytes as the first parts have
TAIL = b"entrepot" * (MIB // 8)  # more than a state may hold, less than a part

OpenStore = Callable[..., S3BlobStore]


def options(place: S3Place, **changes: Any) -> S3Options:
    """How to get to the place: no other writer is waited for, the server for long, as the machine may be busy."""
    values: dict[str, Any] = {
        "region": place.region,
        "endpoint": place.endpoint,
        "credentials": S3Credentials(place.access_key, place.secret_key),
        "claim_wait_seconds": 0.05,
        "connect_timeout_seconds": 30.0,
        "read_timeout_seconds": 30.0,
        "wait_seconds": 90.0,
    }
    return S3Options(place.bucket, place.prefix, **{**values, **changes})


class MortalClaims(LeaseClaims):
    """Those of a process that may die: from then on it neither renews nor drops any."""

    is_dead = False

    async def renew(self, name: str, token: str) -> bool:
        if self.is_dead:
            raise Unavailable("the process is dead")
        return await super().renew(name, token)

    async def drop(self, name: str, token: str, *, is_clean: bool = True) -> None:
        if not self.is_dead:
            await super().drop(name, token, is_clean=is_clean)


@asynccontextmanager
async def opening() -> AsyncIterator[OpenStore]:
    """Opens stores that share their claims, as replicas do, and closes them in the end."""
    shared = ProcessClaims()
    async with AsyncExitStack() as stack:

        def open_store(place: S3Place, *, claims: Claims = shared, **changes: Any) -> S3BlobStore:
            store = S3BlobStore(options(place, **changes), claims)
            stack.push_async_callback(store.close)
            return store

        yield open_store


async def stream(*pieces: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    """The pieces as a network brings them; others have their turn in between."""
    for piece in pieces:
        for at in range(0, len(piece), size):
            yield piece[at : at + size]
            await asyncio.sleep(0)


async def append(store: S3BlobStore, state: UploadState, *pieces: bytes) -> UploadState:
    """One request: resume, write, save, and let go."""
    upload = await store.resume_upload(state)
    await upload.write(stream(*pieces))
    saved = await upload.save()
    await upload.recorded()
    await upload.close()
    return saved


async def begin(store: S3BlobStore, *pieces: bytes) -> tuple[Upload, UploadState]:
    """An upload with these bytes, saved and still held."""
    upload = await store.begin_upload()
    await upload.write(stream(*pieces))
    return upload, await upload.save()
