"""The multipart uploads that are open, listed as well as the servers let us."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from entrepot.store.base import UploadState
from entrepot.store.s3_bucket import S3Bucket
from entrepot.store.s3_client import Answer
from entrepot.store.s3_keys import Session

_MOST_ON_A_PAGE = 1000
_DIGITS = "0123456789abcdef"
_LONGEST = 8  # of the digits of an upload id, before the first hyphen


async def walk_sessions(
    bucket: S3Bucket, upload_id: str = "", *, most_on_a_page: int = _MOST_ON_A_PAGE
) -> AsyncIterator[UploadState]:
    """One state for each, or for each of one upload, without its parts; some may come twice.

    SeaweedFS ends a page without saying where the next one begins: then those are listed that begin with a 0, with
    a 1, and so on.
    """
    prefixes = [bucket.keys.upload_data(upload_id) if upload_id else bucket.keys.data]
    for prefix in prefixes:  # it grows
        is_complete = True
        async for page in _pages(bucket, prefix, most_on_a_page):
            for state in _states(bucket, page):
                yield state
            is_complete = not page.get("IsTruncated")
        if not is_complete:
            prefixes += _longer(prefix, bucket.keys.data)


async def _pages(bucket: S3Bucket, prefix: str, most: int) -> AsyncIterator[Answer]:
    markers: dict[str, Any] = {}
    while True:
        page = await bucket.client.call(
            "list_multipart_uploads", doing="list uploads", Prefix=prefix, MaxUploads=most, **markers
        )
        yield page
        following = {"KeyMarker": page.get("NextKeyMarker"), "UploadIdMarker": page.get("NextUploadIdMarker")}
        wanted = {name: str(value) for name, value in following.items() if value}
        if not page.get("IsTruncated") or not wanted or wanted == markers:
            return
        markers = wanted


def _states(bucket: S3Bucket, page: Answer) -> Iterator[UploadState]:
    for upload in page.get("Uploads", ()):
        found = bucket.keys.parse_data(str(upload["Key"]))
        if found is not None:
            upload_id, nonce = found
            yield UploadState(upload_id, session=str(Session(nonce, str(upload["UploadId"]))))


def _longer(prefix: str, data: str) -> Iterator[str]:
    known = prefix.removeprefix(data).rpartition("/")[2]
    if len(known) < _LONGEST:
        for digits in (known + digit for digit in _DIGITS):
            yield f"{data}{digits}" if len(digits) == 1 else f"{data}{digits[:2]}/{digits}"
