"""The multipart uploads that are open, listed as well as the servers let us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from entrepot.store.base import UploadState
from entrepot.store.s3_bucket import S3Bucket
from entrepot.store.s3_keys import Session

_MOST_ON_A_PAGE = 1000


async def walk_sessions(
    bucket: S3Bucket, upload_id: str = "", *, most_on_a_page: int = _MOST_ON_A_PAGE
) -> AsyncIterator[UploadState]:
    """One state for each, or for each of one upload, without its parts."""
    prefix = bucket.keys.upload_data(upload_id) if upload_id else bucket.keys.data
    markers: dict[str, Any] = {}
    while True:
        page = await bucket.client.call(
            "list_multipart_uploads", doing="list uploads", Prefix=prefix, MaxUploads=most_on_a_page, **markers
        )
        for upload in page.get("Uploads", ()):
            found = bucket.keys.parse_data(str(upload["Key"]))
            if found is not None:
                of_upload, nonce = found
                yield UploadState(of_upload, session=str(Session(nonce, str(upload["UploadId"]))))
        # SeaweedFS tells only the second of them, and understands it
        following = {"KeyMarker": page.get("NextKeyMarker"), "UploadIdMarker": page.get("NextUploadIdMarker")}
        wanted = {name: str(value) for name, value in following.items() if value}
        if not page.get("IsTruncated") or not wanted or wanted == markers:
            return
        markers = wanted
