"""What an S3 store is told about its server, its bucket and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """A pair of keys, with the session token of temporary ones."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class S3Options:
    """Sizes in bytes, times in seconds.

    Without ``credentials`` botocore looks for them: the usual variables, its files, the role of the machine or pod.
    An empty ``region`` or ``endpoint`` is left to botocore as well. ``prefix`` has no slash at either end.
    """

    bucket: str
    prefix: str = ""
    region: str = ""
    endpoint: str = ""
    addressing: Literal["auto", "path", "virtual"] = "auto"  # auto: path for all servers but Amazon's
    ca_bundle: str = ""
    credentials: S3Credentials | None = None

    encryption: Literal["", "AES256", "aws:kms"] = ""
    kms_key_id: str = ""
    storage_class: str = ""

    part_bytes: int = 0  # 0: parts grow with the upload, see s3_parts.py
    parts_at_once: int = 3  # of one upload
    memory_bytes: int = 16 * MIB  # for parts of all uploads; what comes beyond waits in temporary files
    temporary_folder: str = ""  # where those are; empty: where the system keeps them

    connections: int = 64
    connect_timeout_seconds: float = 5
    read_timeout_seconds: float = 10
    wait_seconds: float = 20  # a server that fails or is away is tried again for so long
    claim_wait_seconds: float = 10  # so long another writer of the same upload is waited for

    redirect: Literal["never", "large", "always"] = "never"
    redirect_above_bytes: int = MIB
    redirect_seconds: int = 1200
    redirect_endpoint: str = ""
