"""Bytes in an S3 bucket, which any number of replicas share."""

from __future__ import annotations

import asyncio
import time

from entrepot.config import Settings
from entrepot.metadata.base import Metadata
from entrepot.metadata.claims import LeaseClaims
from entrepot.store.claims import ProcessClaims
from entrepot.store.s3 import S3BlobStore
from entrepot.store.s3_options import S3Options


def prepare_store(settings: Settings) -> None:
    """See that the bucket is there, and that it can be used. Raises ConfigInvalid, Unavailable."""
    asyncio.run(_prepare(options(settings)))


async def _prepare(wanted: S3Options) -> None:
    store = S3BlobStore(wanted, ProcessClaims())
    try:
        await store.prepare()
    finally:
        await store.close()


def open_store(settings: Settings, metadata: Metadata) -> S3BlobStore:
    return S3BlobStore(options(settings), LeaseClaims(metadata, lambda: int(time.time())))


def options(settings: Settings) -> S3Options:
    """The settings in the store's words."""
    bucket, prefix = settings.bucket or ("", "")
    s3 = settings.s3
    return S3Options(
        bucket=bucket,
        prefix=prefix,
        region=s3.region,
        endpoint=s3.endpoint,
        addressing=s3.addressing,
        ca_bundle=str(s3.ca_bundle or ""),
        encryption=s3.encryption,
        kms_key_id=s3.kms_key_id,
        storage_class=s3.storage_class,
        part_bytes=s3.part_bytes,
        parts_at_once=s3.parts_at_once,
        memory_bytes=s3.memory_bytes,
        connections=s3.connections,
        connect_timeout_seconds=s3.connect_timeout_seconds,
        read_timeout_seconds=s3.read_timeout_seconds,
        wait_seconds=s3.wait_seconds,
        redirect=s3.redirect,
        redirect_above_bytes=s3.redirect_above_bytes,
        redirect_seconds=s3.redirect_seconds,
        redirect_endpoint=s3.redirect_endpoint,
    )
