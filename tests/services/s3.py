"""What a test needs to know about an S3 server, and a place of its own in it."""

from __future__ import annotations

import http.client
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import botocore.session
from botocore.config import Config

REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket, the folder in it that belongs to one test (no slash at its end), and how to get there."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    prefix: str
    region: str = REGION

    @property
    def url(self) -> str:
        """For ``--store``."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that Amazon's own tools read."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def behind(self, endpoint: str) -> S3Place:
        """The same place through a proxy."""
        return replace(self, endpoint=endpoint)

    def keys(self) -> dict[str, int]:
        """Every object below the prefix, without it, with its size."""
        pages = client(self).get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.prefix}/")
        skip = len(self.prefix) + 1
        return {entry["Key"][skip:]: entry["Size"] for page in pages for entry in page.get("Contents", [])}

    def open_uploads(self) -> list[str]:
        """The keys below the prefix, without it, of multipart uploads that nobody has ended."""
        answer = client(self).list_multipart_uploads(Bucket=self.bucket)
        skip = len(self.prefix) + 1
        return [
            upload["Key"][skip:] for upload in answer.get("Uploads", []) if upload["Key"].startswith(f"{self.prefix}/")
        ]


class S3Server(Protocol):
    """An S3 server with one user, who may do everything."""

    title: str
    access_key: str
    secret_key: str

    @property
    def endpoint(self) -> str: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class S3Places:
    """Gives out places of one server: each test a prefix, or a bucket of its own if it must be."""

    def __init__(self, server: S3Server) -> None:
        self.server = server
        self._shared = self._place("tests")
        client(self._shared).create_bucket(Bucket=self._shared.bucket)

    def new_prefix(self) -> S3Place:
        """In the bucket that all tests share."""
        return replace(self._shared, prefix=f"test-{uuid.uuid4().hex[:12]}")

    def new_bucket(self) -> S3Place:
        """With a bucket that is still to be made."""
        return self._place(f"bucket-{uuid.uuid4().hex[:12]}")

    def _place(self, bucket: str) -> S3Place:
        server = self.server
        return S3Place(server.endpoint, server.access_key, server.secret_key, bucket, prefix="registry")


def client(place: S3Place, *, attempts: int = 5) -> Any:
    """A plain client, to look at what is stored and to damage it."""
    return botocore.session.Session().create_client(
        "s3",
        region_name=place.region,
        endpoint_url=place.endpoint,
        aws_access_key_id=place.access_key,
        aws_secret_access_key=place.secret_key,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={},
            retries={"total_max_attempts": attempts},
        ),
    )


def answers(port: int, path: str) -> bool:
    """Whether a GET on this port of loopback is answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
