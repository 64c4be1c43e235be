"""Addresses from which clients fetch blobs themselves. Signing one takes a millisecond, so they are used again."""

from __future__ import annotations

import time
from collections import OrderedDict

from entrepot.store.base import StoredBlob
from entrepot.store.s3_client import S3Client
from entrepot.store.s3_keys import S3Keys
from entrepot.store.s3_options import S3Options

CONTENT_TYPE = "application/octet-stream"
_MOST = 20_000
_USED_FOR = 0.4  # of its time: whoever gets it last still has the larger half


class Redirects:
    """Presigned addresses by location."""

    def __init__(self, client: S3Client, keys: S3Keys, options: S3Options) -> None:
        self._client = client
        self._keys = keys
        self._options = options
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()

    async def url(self, blob: StoredBlob) -> str | None:
        """None when the blob is to be streamed from here."""
        if not self._is_wanted(blob):
            return None
        url, good_until = self._known.get(blob.location, ("", 0.0))
        if good_until <= time.monotonic():
            url = await self._sign(blob.location)
        return url

    def _is_wanted(self, blob: StoredBlob) -> bool:
        mode = self._options.redirect
        return mode == "always" or (mode == "large" and blob.size > self._options.redirect_above_bytes)

    async def _sign(self, location: str) -> str:
        seconds = self._options.redirect_seconds
        good_until = time.monotonic() + seconds * _USED_FOR
        url = await self._client.presign(self._keys.content(location), content_type=CONTENT_TYPE, seconds=seconds)
        self._known[location] = url, good_until
        self._known.move_to_end(location)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return url

    def forget(self, location: str) -> None:
        """The bytes are gone."""
        self._known.pop(location, None)
