"""Before the first request: is the bucket there, and may we do in it what we have to?"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from entrepot.errors import Unavailable
from entrepot.store.s3_bucket import S3Bucket
from entrepot.store.s3_client import Answer
from entrepot.store.s3_errors import code_of, is_denied, is_missing, is_session_gone, status_of
from entrepot.store.s3_keys import Session, new_session_nonce, new_tail_path


async def prepare(bucket: S3Bucket) -> None:
    """Create the bucket if need be and allowed, then try out every right.

    Raises Unavailable: the server cannot be reached, the bucket is not there and may not be made, or rights are
    missing; the message says which, and the policy that gives them.
    """
    if not await _is_there(bucket):
        await _create(bucket)
    missing = await _missing_rights(bucket)
    if missing:
        raise Unavailable(
            f"the credentials lack rights on the bucket {bucket.options.bucket} at the S3 server "
            f"{bucket.client.endpoint}: {', '.join(missing)}. A policy that gives all of them:\n{policy(bucket)}",
            bucket=bucket.options.bucket,
            missing=missing,
        )


def policy(bucket: S3Bucket) -> str:
    """The rights that a registry needs, as an IAM policy (JSON)."""
    arn = f"arn:aws:s3:::{bucket.options.bucket}"
    on_bucket = ["s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation"]
    on_objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    statements = [
        {"Effect": "Allow", "Action": on_bucket, "Resource": arn},
        {"Effect": "Allow", "Action": on_objects, "Resource": f"{arn}/{bucket.keys.prefix}*"},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)


async def _is_there(bucket: S3Bucket) -> bool:
    doing = f"find the bucket {bucket.options.bucket}"
    return await bucket.client.ask("head_bucket", _is_absent_or_hidden, doing=doing) is not None


async def _create(bucket: S3Bucket) -> None:
    parameters: dict[str, Any] = {}
    region = bucket.client.region
    if region != "us-east-1" and ".amazonaws.com" in bucket.client.endpoint:  # others have their own names, or none
        parameters["CreateBucketConfiguration"] = {"LocationConstraint": region}
    doing = f"find or create the bucket {bucket.options.bucket}"
    made = await bucket.client.ask("create_bucket", _is_refused_or_there, doing=doing, **parameters)
    if made is None and not await _is_there(bucket):
        raise Unavailable(
            f"the bucket {bucket.options.bucket} is not there, or not for these credentials, and they may not create "
            f"it at the S3 server {bucket.client.endpoint}. Create it, and give them these rights:\n{policy(bucket)}",
            bucket=bucket.options.bucket,
        )


async def _missing_rights(bucket: S3Bucket) -> list[str]:
    # where uploads put their bytes, so that what is left when the process is killed now is removed with theirs
    probe = str(uuid.uuid4())
    data = bucket.keys.session_data(probe, Session(new_session_nonce(), ""))
    key = bucket.keys.below(new_tail_path(probe))
    session = await _try(bucket, "create_multipart_upload", Key=data, **bucket.writing)
    token = str(session["UploadId"]) if session else uuid.uuid4().hex
    tries: dict[str, Callable[[], Awaitable[Answer | None]]] = {
        "s3:ListBucket": lambda: _try(bucket, "list_objects_v2", Prefix=key, MaxKeys=1),
        "s3:ListBucketMultipartUploads": lambda: _try(bucket, "list_multipart_uploads", Prefix=data, MaxUploads=1),
        "s3:AbortMultipartUpload": lambda: _try(bucket, "abort_multipart_upload", Key=data, UploadId=token),
        "s3:PutObject": lambda: _try(bucket, "put_object", Key=key, Body=b"", **bucket.writing),
        "s3:GetObject": lambda: _try(bucket, "head_object", Key=key),
        "s3:DeleteObject": lambda: _try(bucket, "delete_object", Key=key),
    }
    missing = [right for right, attempt in tries.items() if await attempt() is None]
    if session is None and "s3:PutObject" not in missing:
        missing.append("s3:PutObject (multipart)")
    return missing


async def _try(bucket: S3Bucket, operation: str, **parameters: Any) -> Answer | None:
    """None when it is denied; what is not there need not be."""

    denied = False

    def is_answer(error: BaseException) -> bool:
        nonlocal denied
        denied = is_denied(error)
        return denied or is_missing(error) or is_session_gone(error)

    answer = await bucket.client.ask(operation, is_answer, doing="try out the rights", **parameters)
    return None if denied else answer or {}


def _is_absent_or_hidden(error: BaseException) -> bool:
    # to HEAD a server says no more than a number; what it is about is told by the next request
    return is_missing(error) or is_denied(error) or status_of(error) == 400


def _is_refused_or_there(error: BaseException) -> bool:
    return is_denied(error) or code_of(error) in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists", "TooManyBuckets"}
