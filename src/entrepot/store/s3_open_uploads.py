"""The multipart uploads that are open, listed as well as the servers let us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from entrepot.store.base import UploadState
from entrepot.store.s3_bucket import S3Bucket
from entrepot.store.s3_keys import Session


async def walk_sessions(bucket: S3Bucket) -> AsyncIterator[UploadState]:
    """One state for each, without its parts.

    SeaweedFS ends a page without saying where the next one begins: what is behind the first thousand comes up when
    those before are gone.
    """
    markers: dict[str, Any] = {}
    while True:
        page = await bucket.client.call(
            "list_multipart_uploads", doing="list uploads", Prefix=bucket.keys.data, **markers
        )
        for upload in page.get("Uploads", ()):
            found = bucket.keys.parse_data(str(upload["Key"]))
            if found is not None:
                upload_id, nonce = found
                yield UploadState(upload_id, session=str(Session(nonce, str(upload["UploadId"]))))
        following = {"KeyMarker": page.get("NextKeyMarker"), "UploadIdMarker": page.get("NextUploadIdMarker")}
        wanted = {name: str(value) for name, value in following.items() if value}
        if not page.get("IsTruncated") or not wanted or wanted == markers:
            return
        markers = wanted
