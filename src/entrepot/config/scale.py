"""The settings of what several replicas share: a PostgreSQL database and an S3 bucket."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from entrepot.byte_size import MIB
from entrepot.config.section import Section
from entrepot.config.values import Bytes, OptionalFile, Seconds, WebAddress, Whole


class PostgresqlSettings(Section):
    """How the server treats a PostgreSQL database, when `database` names one.

    A password that is not in the URL comes from `PGPASSWORD` or the file that `PGPASSFILE` names.
    """

    pool_size: Whole = Field(default=10, ge=1, le=1000, description="Connections of each worker process, at most.")
    connect_timeout_seconds: Seconds = Field(default=5, gt=0, le=300, description="Time to get a connection.")
    statement_timeout_seconds: Seconds = Field(
        default=30, gt=0, le=3600, description="Time one statement may take; the database ends it then."
    )
    lock_timeout_seconds: Seconds = Field(
        default=10, gt=0, le=3600, description="Time one statement may wait for others to let go of what it needs."
    )
    wait_seconds: Seconds = Field(
        default=20,
        ge=0,
        le=600,
        description="Time that a request waits for a database that restarts or cannot be reached, before it is "
        "answered with 503.",
    )
    remember_seconds: Whole = Field(
        default=300,
        ge=0,
        le=86400,
        description="While the database cannot be reached, manifests and blobs asked for by digest are still served "
        "if a worker has served them that recently. 0 turns this off.",
    )


class S3Settings(Section):
    """How the server treats an S3 bucket, when `store` names one; see `docs/s3.md`.

    Keys are not set here: they come from `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, from
    AWS's own files, or from the role of the machine or pod.
    """

    region: str = Field(default="", description="Empty means `AWS_REGION`, or else `us-east-1`.")
    endpoint: WebAddress = Field(
        default="", description="Address of the S3 server; empty means `AWS_ENDPOINT_URL`, or else Amazon's."
    )
    addressing: Literal["auto", "path", "virtual"] = Field(
        default="auto",
        description="Whether the bucket's name is in the path or in the host; `auto` is path for other servers than "
        "Amazon's.",
    )
    ca_bundle: OptionalFile = Field(default=None, description="PEM file with the authorities that sign the server.")
    encryption: Literal["", "AES256", "aws:kms"] = Field(
        default="", description="Encryption that the S3 server is asked for; empty leaves it to the bucket."
    )
    kms_key_id: str = Field(default="", description="The key for `aws:kms`; empty means the bucket's.")
    storage_class: str = Field(default="", description="Storage class of what is written, e.g. `STANDARD_IA`.")
    redirect: Literal["never", "large", "always"] = Field(
        default="never",
        description="Whether clients are sent to the S3 server for a blob, by an address that is good for a while. "
        "They have to be able to reach it.",
    )
    redirect_above_bytes: Bytes = Field(
        default=MIB, ge=0, description="Size from which a blob counts as large for `redirect`."
    )
    redirect_seconds: Whole = Field(
        default=1200, ge=60, le=604_800, description="How long such an address is good, from its making."
    )
    redirect_endpoint: WebAddress = Field(
        default="", description="Address of the S3 server for clients, if it is another one for them."
    )
    part_bytes: Bytes = Field(
        default=0,
        ge=0,
        le=5 * 1024 * MIB,
        description="Size of every part of a large blob; 0 lets parts grow from 8 to 64 MiB and beyond with the blob. "
        "Cloudflare R2 needs a fixed size.",
    )
    parts_at_once: Whole = Field(default=3, ge=1, le=64, description="Parts of one upload that are sent at once.")
    memory_bytes: Bytes = Field(
        default=16 * MIB,
        ge=0,
        description="Memory of each worker process for parts on their way; what comes beyond waits in temporary files.",
    )
    connections: Whole = Field(default=64, ge=1, le=10_000, description="Connections of each worker process, at most.")
    connect_timeout_seconds: Seconds = Field(default=5, gt=0, le=300, description="Time to get a connection.")
    read_timeout_seconds: Seconds = Field(
        default=10, gt=0, le=3600, description="Time the S3 server may say nothing in the middle of a request."
    )
    wait_seconds: Seconds = Field(
        default=20,
        ge=0,
        le=600,
        description="Time that a request is tried again while the S3 server fails or cannot be reached, before it is "
        "answered with 503.",
    )

    @field_validator("part_bytes")
    @classmethod
    def _parts_have_a_least_size(cls, size: int) -> int:
        if 0 < size < 5 * MIB:
            raise ValueError("expected 0, or at least 5 MiB, the least that S3 takes")
        return size
