"""Objects of one bucket: put, asked about, read and deleted one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from entrepot import hashing
from entrepot.digest import CANONICAL, Digest
from entrepot.errors import Corrupt
from entrepot.store.s3_body import MemoryBudget, PartBody
from entrepot.store.s3_client import Answer, S3Client
from entrepot.store.s3_errors import is_missing
from entrepot.store.s3_keys import S3Keys
from entrepot.store.s3_options import S3Options
from entrepot.store.s3_reading import ObjectReader
from entrepot.store.threads import DiskThreads

_HASH_AT_ONCE = 1024 * 1024
_MOST_TEXT = 1000


class S3Bucket:
    """What the store and its uploads share. ``keys`` says where things lie."""

    def __init__(self, options: S3Options, *, threads: int = 4) -> None:
        self.options = options
        self.keys = S3Keys(options.prefix)
        self.client = S3Client(options)
        self.threads = DiskThreads(threads)
        self.budget = MemoryBudget(options.memory_bytes)

    @property
    def writing(self) -> dict[str, Any]:
        """What every request that begins an object says besides: how to encrypt and keep it."""
        options = self.options
        values = {
            "ServerSideEncryption": options.encryption,
            "SSEKMSKeyId": options.kms_key_id,
            "StorageClass": options.storage_class,
        }
        return {name: value for name, value in values.items() if value}

    async def new_body(self) -> PartBody:
        """An empty body to gather bytes in."""
        is_signed = await self.client.is_signed()
        return PartBody(self.budget, self.threads, self.options.temporary_folder, is_signed=is_signed)

    async def put(self, key: str, body: PartBody) -> None:
        """One object from the bytes gathered."""
        await self.client.call("put_object", doing="write", body=body, Key=key, **self.writing)

    async def put_empty(self, key: str) -> None:
        """An object without bytes, whose name says all."""
        await self.client.call("put_object", doing="write", Key=key, Body=b"", **self.writing)

    async def put_text(self, key: str, text: str) -> None:
        """A small object."""
        await self.client.call("put_object", doing="write", Key=key, Body=text.encode(), **self.writing)

    async def read_text(self, key: str) -> str | None:
        """All of a small object; None when there is none."""
        size = await self.size_of(key)
        if size is None:
            return None
        async with self.open(key, start=0, end=min(size, _MOST_TEXT), size=size) as pieces:
            return b"".join([piece async for piece in pieces]).decode("utf-8", "replace")

    async def head(self, key: str) -> Answer | None:
        """What the server knows of an object; None when there is none."""
        return await self.client.ask("head_object", is_missing, doing="read", Key=key)

    async def size_of(self, key: str) -> int | None:
        """None when there is no such object."""
        answer = await self.head(key)
        return None if answer is None else int(answer["ContentLength"])

    async def delete(self, key: str) -> None:
        """Also fine when there is no such object."""
        await self.client.ask("delete_object", is_missing, doing="delete", Key=key)

    async def move(self, key: str, to: str) -> None:
        """Copy an object within the bucket, which S3 does for those up to 5 GiB, and delete it."""
        source = {"Bucket": self.options.bucket, "Key": key}
        await self.client.ask("copy_object", is_missing, doing="move", Key=to, CopySource=source, **self.writing)
        await self.delete(key)

    async def list_objects(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """Keys and sizes of all objects whose key begins so."""
        async for page in self.client.pages("list_objects_v2", doing="list", Prefix=prefix):
            for entry in page.get("Contents", ()):
                yield str(entry["Key"]), int(entry["Size"])

    @asynccontextmanager
    async def open(self, key: str, *, start: int, end: int, size: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes from ``start`` up to ``end`` of an object of ``size`` bytes.

        Raises Corrupt when it has another size or is not there.
        """
        reader = ObjectReader(self.client, key, start=start, end=end, size=size)
        try:
            await reader.open()
            yield reader.pieces()
        finally:
            reader.close()

    async def hash(self, key: str, algorithms: Iterable[str] = (CANONICAL,)) -> dict[str, Digest]:
        """Read an object and hash it. Raises Corrupt when it is not there."""
        size = await self.size_of(key)
        if size is None:
            raise Corrupt(f"the bytes at {self.keys.path(key)} are missing", location=self.keys.path(key))
        running = {name: hashing.begin(name) for name in algorithms}

        def feed(pieces: list[bytes]) -> None:
            for piece in pieces:
                for one in running.values():
                    one.update(piece)

        async with self.open(key, start=0, end=size, size=size) as pieces:
            async for some in _some_at_once(pieces):
                await self.threads.run(feed, some)
        return {name: one.digest() for name, one in running.items()}


async def _some_at_once(pieces: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    some: list[bytes] = []
    size = 0
    async for piece in pieces:
        some.append(piece)
        size += len(piece)
        if size >= _HASH_AT_ONCE:
            yield some
            some, size = [], 0
    yield some
