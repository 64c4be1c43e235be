"""What a client reads out of images, beyond what a registry has to check: platforms, layers, the config.

Content comes from strangers: whatever does not have the expected shape is a ManifestInvalid.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entrepot.digest import Digest
from entrepot.errors import ManifestInvalid
from entrepot.manifest import DOCKER_CONFIG, INDEX_TYPES, OCI_CONFIG, Descriptor, Manifest
from entrepot.platforms import Platform

IMAGE_CONFIG_TYPES = frozenset({OCI_CONFIG, DOCKER_CONFIG})
ATTESTATION = "vnd.docker.reference.type"  # annotation of index entries that are about another entry


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One manifest of an index."""

    descriptor: Descriptor
    platform: Platform | None
    annotations: Mapping[str, str]

    @property
    def is_attestation(self) -> bool:
        """What buildx adds about an image: nothing that runs, though its platform field is there."""
        return ATTESTATION in self.annotations


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image manifest; ``urls`` are where a non-distributable one is fetched from."""

    descriptor: Descriptor
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """An image's config: the whole document, and what is used of it most."""

    document: dict[str, Any]
    platform: Platform | None
    created: str | None  # RFC 3339
    diff_ids: tuple[str, ...]  # digests of the uncompressed layers, lowest first
    history: tuple[Mapping[str, Any], ...]  # oldest first


def index_entries(manifest: Manifest) -> list[IndexEntry]:
    """The entries of an index that ``parse_manifest`` has checked, in order."""
    if manifest.media_type not in INDEX_TYPES:
        return []
    return [_entry(value) for value in json.loads(manifest.content)["manifests"]]


def image_config(manifest: Manifest) -> Descriptor:
    """The descriptor of an image manifest's config."""
    return _descriptor(json.loads(manifest.content)["config"])


def image_layers(manifest: Manifest) -> list[Layer]:
    """The layers of an image manifest, lowest first, non-distributable ones included."""
    layers = json.loads(manifest.content)["layers"]
    return [Layer(_descriptor(layer), tuple(layer.get("urls") or ())) for layer in layers]


def parse_config(content: bytes) -> ImageConfig:
    """Read an image's config. Raises ManifestInvalid."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _invalid("JSON", f"{error}") from error
    if not isinstance(document, dict):
        raise _invalid("a JSON object", type(document).__name__)
    created = document.get("created")
    return ImageConfig(
        document,
        Platform.from_document(document),
        created if isinstance(created, str) and created else None,
        _diff_ids(document),
        _history(document),
    )


def _diff_ids(document: dict[str, Any]) -> tuple[str, ...]:
    rootfs = document.get("rootfs") or {}
    diff_ids = rootfs.get("diff_ids") or [] if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list):
        raise _invalid("rootfs.diff_ids to be an array of digests", "something else")
    return tuple(Digest.parse(diff_id) if isinstance(diff_id, str) else _no_digest() for diff_id in diff_ids)


def _no_digest() -> str:
    raise _invalid("rootfs.diff_ids to be an array of digests", "something else")


def _history(document: dict[str, Any]) -> tuple[Mapping[str, Any], ...]:
    history = document.get("history") or []
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise _invalid("history to be an array of objects", "something else")
    return tuple(history)


def _entry(value: dict[str, Any]) -> IndexEntry:
    return IndexEntry(
        _descriptor(value), Platform.from_document(value.get("platform")), dict(value.get("annotations") or {})
    )


def _descriptor(value: dict[str, Any]) -> Descriptor:
    return Descriptor(value["mediaType"], value["digest"], value["size"])


def _invalid(expected: str, got: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"invalid image config: expected {expected}, got {got}", field="config", expected=expected, got=got
    )
