"""The ``manifest.json`` of docker-archives: what docker save writes since 1.10, and podman, skopeo, kaniko and others.

::

    [{"Config": "<hex>.json", "RepoTags": ["app:v1"], "Layers": ["<id>/layer.tar", ...]}, ...]

The names are paths in the archive; since docker 25 they are ``blobs/sha256/<hex>``. ``RepoTags`` may be null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entrepot.digest import Digest
from entrepot.errors import ArchiveInvalid, LayerInvalid
from entrepot.image import ImageConfig
from entrepot.layers.compression import Compression
from entrepot.manifest import DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_CONFIG, OCI_MANIFEST
from entrepot.repositories.archive_layers import PackedLayer

MANIFEST_FILE = "manifest.json"
MAX_MANIFEST_FILE = 16 * 1024 * 1024
MAX_LAYERS = 1000  # no engine takes more than a few hundred
_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, slots=True)
class DockerEntry:
    """One image of ``manifest.json``; the names are paths in the archive."""

    config: str
    layers: tuple[str, ...]
    names: tuple[str, ...]


def parse_docker_manifest(content: bytes, title: str) -> list[DockerEntry]:
    """Raises ArchiveInvalid."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _invalid(title, "JSON", str(error)[:80]) from error
    if not isinstance(document, list):
        raise _invalid(title, "an array of images", type(document).__name__)
    return [_entry(value, f"{title}: {MANIFEST_FILE}[{place}]") for place, value in enumerate(document)]


def build_manifest(config: bytes, layers: Sequence[PackedLayer]) -> tuple[str, bytes]:
    """A manifest over an archive's config and layers, and its media type.

    Docker's, as the engine would push it; OCI's when there is a layer of a compression that Docker's does not know.
    """
    is_docker = all(layer.compression is Compression.GZIP for layer in layers)
    media_type, config_type = (DOCKER_MANIFEST, DOCKER_CONFIG) if is_docker else (OCI_MANIFEST, OCI_CONFIG)
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": config_type, "digest": Digest.of(config), "size": len(config)},
        "layers": [
            {
                "mediaType": DOCKER_LAYER_GZIP if is_docker else f"{_OCI_LAYER}+{layer.compression.value}",
                "digest": layer.digest,
                "size": layer.size,
            }
            for layer in layers
        ],
    }
    return media_type, json.dumps(document, separators=(",", ":")).encode()


def require_layers(entry: DockerEntry, config: ImageConfig, packed: Mapping[str, PackedLayer], title: str) -> None:
    """Raises LayerInvalid unless the layers are those that the config names."""
    if len(config.diff_ids) != len(entry.layers):
        raise LayerInvalid(
            f"{title}: {entry.config} names {len(config.diff_ids)} layers, {MANIFEST_FILE} {len(entry.layers)}"
        )
    for name, expected in zip(entry.layers, config.diff_ids, strict=True):
        actual = packed[name].unpacked.diff_id
        if actual != expected:
            raise LayerInvalid(f"{title}: the config expects layer {name} to be {expected}, it is {actual}")


def _entry(value: Any, where: str) -> DockerEntry:
    if not isinstance(value, dict):
        raise _invalid(where, "an object", type(value).__name__)
    config = value.get("Config")
    if not isinstance(config, str):
        raise _invalid(where, "Config to be a name", type(config).__name__)
    layers = _strings(value, "Layers", where)
    if len(layers) > MAX_LAYERS:
        raise _invalid(where, f"at most {MAX_LAYERS} layers", str(len(layers)))
    return DockerEntry(config, layers, _strings(value, "RepoTags", where))


def _strings(value: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    found = value.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise _invalid(where, f"{key} to be an array of texts", type(found).__name__)
    return tuple(found)


def _invalid(where: str, expected: str, got: str) -> ArchiveInvalid:
    return ArchiveInvalid(f"{where}: invalid {MANIFEST_FILE}: expected {expected}, got {got}")
