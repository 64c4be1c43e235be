"""The multipart uploads that are open, listed as well as the servers let us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from entrepot.store.base import UploadState
from entrepot.store.s3_bucket import S3Bucket
from entrepot.store.s3_keys import Session


async def walk_sessions(bucket: S3Bucket, upload_id: str = "") -> AsyncIterator[UploadState]:
    """One state for each, or for each of one upload, without its parts.

    SeaweedFS ends a page without saying where the next one begins: what is behind the first thousand comes up when
    those before are gone.
    """
    prefix = bucket.keys.upload_data(upload_id) if upload_id else bucket.keys.data
    markers: dict[str, Any] = {}
    while True:
        page = await bucket.client.call("list_multipart_uploads", doing="list uploads", Prefix=prefix, **markers)
        for upload in page.get("Uploads", ()):
            found = bucket.keys.parse_data(str(upload["Key"]))
            if found is not None:
                of_upload, nonce = found
                yield UploadState(of_upload, session=str(Session(nonce, str(upload["UploadId"]))))
        following = {"KeyMarker": page.get("NextKeyMarker"), "UploadIdMarker": page.get("NextUploadIdMarker")}
        wanted = {name: str(value) for name, value in following.items() if value}
        if not page.get("IsTruncated") or not wanted or wanted == markers:
            return
        markers = wanted
