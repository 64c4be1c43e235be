"""Reads an object; when the body breaks off it is taken up where it broke, as long as it is the same object."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from entrepot.errors import Corrupt
from entrepot.store.s3_client import Answer, S3Client
from entrepot.store.s3_errors import S3Error, is_missing, is_worth_a_retry, status_of, translate

_READ_PIECE = 256 * 1024
_MOST_BREAKS = 8  # without a byte in between; bounded by wait_seconds besides
_PAUSE_SECONDS = 0.2


class ObjectReader:
    """The bytes from ``start`` up to ``end`` of an object of ``size`` bytes."""

    def __init__(self, client: S3Client, key: str, *, start: int, end: int, size: int) -> None:
        self._client = client
        self._key = key
        self._position = start
        self._end = min(end, size)
        self._size = size
        self._etag = ""
        self._body: Any = None

    async def open(self) -> None:
        """Raises Corrupt when nothing is there, or not as many bytes as there should be; Unavailable."""
        if self._position >= self._end:
            answer = await self._client.ask("head_object", is_missing, doing="read", Key=self._key)
            self._require_size(answer, 0 if answer is None else int(answer["ContentLength"]))
            return
        answer = await self._get()
        self._require_size(answer, 0 if answer is None else _total(answer))
        assert answer is not None  # _require_size
        self._etag = str(answer["ETag"])
        self._body = answer["Body"]

    async def _get(self) -> Answer | None:
        parameters: dict[str, Any] = {"Key": self._key}
        if self._position or self._end < self._size:
            parameters["Range"] = f"bytes={self._position}-{self._end - 1}"
        if self._etag:
            parameters["IfMatch"] = self._etag
        return await self._client.ask("get_object", _is_not_there, doing="read", **parameters)

    def _require_size(self, answer: Answer | None, size: int) -> None:
        if answer is None:
            raise Corrupt(f"the bytes at {self._key} are missing, or fewer than {self._size}", location=self._key)
        if size != self._size:
            self.close(answer.get("Body"))
            raise Corrupt(f"{self._key} has {size} bytes instead of {self._size}", location=self._key)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Raises Corrupt when the object has changed meanwhile, Unavailable when it cannot be had to its end."""
        breaks = 0
        while self._position < self._end:
            try:
                piece = await self._read()
            except S3Error as error:
                breaks += 1
                if breaks > _MOST_BREAKS or not is_worth_a_retry(error):
                    raise translate(error, doing="read on", endpoint=self._client.endpoint) from error
                await asyncio.sleep(_PAUSE_SECONDS * breaks)
                await self._reopen()
                continue
            breaks = 0
            self._position += len(piece)
            yield piece

    async def _read(self) -> bytes:
        assert self._body is not None  # while there is something left to read
        piece: bytes = await self._body.read(min(_READ_PIECE, self._end - self._position))
        if not piece:
            raise ConnectionResetError("the body ended too early")
        return piece

    async def _reopen(self) -> None:
        self.close()
        answer = await self._get()
        if answer is None or _total(answer) != self._size:
            raise Corrupt(f"{self._key} has changed while it was read", location=self._key)
        self._body = answer["Body"]

    def close(self, body: Any = None) -> None:
        """Let go of the connection; what is left of the body is not waited for."""
        opened = body or self._body
        self._body = None
        if opened is not None:
            opened.close()


def _is_not_there(error: BaseException) -> bool:
    return is_missing(error) or status_of(error) in {412, 416}


def _total(answer: Answer) -> int:
    content_range = str(answer.get("ContentRange") or "")
    total = content_range.rpartition("/")[2]
    return int(total) if total.isascii() and total.isdigit() else int(answer["ContentLength"])
