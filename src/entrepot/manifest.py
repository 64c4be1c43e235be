"""Manifests and indexes: what a registry reads out of them (OCI image-spec; Docker schema 2).

Content is checked and read, never changed: ``Manifest.content`` is what came. Unknown properties and
unknown media types of config, layers and children pass, as image-spec, "Considerations", asks; optional
properties may be ``null``, as many JSON writers have it. Everything wrong is a ``ManifestInvalid`` whose
detail names the ``field``, e.g. ``layers[2].digest``.
"""

from __future__ import annotations

import base64
import codecs
import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, NoReturn

from entrepot.digest import HEX_LENGTHS, Digest, is_digest
from entrepot.errors import ManifestInvalid

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

IMAGE_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFEST_TYPES = IMAGE_TYPES | INDEX_TYPES
SCHEMA1_TYPES = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
# Layers that clients fetch from elsewhere and never push (image-spec, layer.md; Docker's "foreign" layers).
NON_DISTRIBUTABLE_TYPES = frozenset(
    {
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    }
)
MAX_DEPTH = 64  # levels of objects and arrays; real manifests have five

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_A_MEDIA_TYPE = "a media type such as application/vnd.oci.image.config.v1+json"
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of other content: its type, its digest (any algorithm), its size in bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checked manifest. ``blobs`` and ``manifests`` are in the order of the document, repeats included."""

    media_type: str  # stored and served as Content-Type, without parameters
    content: bytes  # exactly what was pushed
    config_media_type: str | None  # of image manifests
    artifact_type: str | None  # the manifest's own field
    subject: Descriptor | None  # OCI types only; need not exist
    blobs: tuple[Descriptor, ...]  # config and layers that must be in the repository
    manifests: tuple[Descriptor, ...]  # children of an index
    annotations: dict[str, str]  # OCI types only

    @property
    def referrer_artifact_type(self) -> str | None:
        """``artifactType`` of this manifest in a referrers list (distribution-spec, "Listing Referrers")."""
        return self.artifact_type or self.config_media_type


@dataclass(frozen=True, slots=True)
class ManifestHead:
    """What HEAD tells of a manifest; ``size`` in bytes."""

    digest: Digest
    media_type: str
    size: int


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed: its exact bytes and the media type they came under."""

    digest: Digest
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class TagCondition:
    """What must hold of a tag before it is moved: that it is absent, or there, or points to one of ``digests``."""

    must_be_absent: bool = False
    must_exist: bool = False
    digests: frozenset[str] | None = None


def parse_manifest(
    content: bytes,
    content_type: str | None,
    *,
    allow_unknown_types: bool = False,
    require_artifact_type: bool = False,
) -> Manifest:
    """Check a pushed manifest and read it. Raises ManifestInvalid.

    ``content_type`` is the header, its parameters are ignored; without one the document's ``mediaType``
    counts. ``allow_unknown_types`` takes JSON objects of any other media type without looking for children
    or a subject. ``require_artifact_type`` holds image manifests with the empty config to the image-spec's
    rule that they name an ``artifactType``.
    """
    document = _load(content)
    media_type = _agree_on_type(document, content_type)
    if media_type in IMAGE_TYPES:
        return _read_image(document, media_type, content, require_artifact_type)
    if media_type in INDEX_TYPES:
        return _read_index(document, media_type, content)
    if not allow_unknown_types:
        _refuse("mediaType", f"one of {', '.join(sorted(MANIFEST_TYPES))}", media_type)
    if not _MEDIA_TYPE.fullmatch(media_type):
        _refuse("mediaType", _A_MEDIA_TYPE, media_type)
    return Manifest(media_type, content, None, None, None, (), (), {})


def _read_image(document: dict[str, Any], media_type: str, content: bytes, strict: bool) -> Manifest:
    _require_shape(document, absent=("manifests",))
    config = _descriptor(document.get("config"), "config")
    layers = _descriptors(document, "layers")
    blobs = (config, *(layer for layer in layers if layer.media_type not in NON_DISTRIBUTABLE_TYPES))
    if media_type == DOCKER_MANIFEST:
        return Manifest(media_type, content, config.media_type, None, None, blobs, (), {})
    artifact_type = _optional_media_type(document, "artifactType")
    if strict and config.media_type == OCI_EMPTY and artifact_type is None:
        _refuse("artifactType", f"a media type, because config is {OCI_EMPTY}", None)
    annotations = _annotations(document, "annotations")
    return Manifest(media_type, content, config.media_type, artifact_type, _subject(document), blobs, (), annotations)


def _read_index(document: dict[str, Any], media_type: str, content: bytes) -> Manifest:
    _require_shape(document, absent=("config", "layers"))
    children = _descriptors(document, "manifests")
    for position, entry in enumerate(document["manifests"]):
        _check_platform(entry, f"manifests[{position}].platform")
    if media_type == DOCKER_LIST:
        return Manifest(media_type, content, None, None, None, (), children, {})
    artifact_type = _optional_media_type(document, "artifactType")
    annotations = _annotations(document, "annotations")
    return Manifest(media_type, content, None, artifact_type, _subject(document), (), children, annotations)


def _agree_on_type(document: dict[str, Any], content_type: str | None) -> str:
    declared = _optional_media_type(document, "mediaType")
    sent = _normalise(content_type or "")
    for media_type in (sent, declared):
        if media_type in SCHEMA1_TYPES:
            _refuse("mediaType", "schema 2 or OCI: this registry does not take schema 1", media_type)
    if not sent:
        return declared or _refuse("mediaType", "set, in Content-Type or in the document", None)
    if declared is not None and declared != sent:
        _refuse("mediaType", f"the same as Content-Type, {sent}", declared)
    return sent


def _normalise(content_type: str) -> str:
    media_type = content_type.partition(";")[0].strip()
    lowered = media_type.lower()
    return lowered if lowered in MANIFEST_TYPES or lowered in SCHEMA1_TYPES else media_type


def _require_shape(document: dict[str, Any], *, absent: tuple[str, ...]) -> None:
    version = document.get("schemaVersion")
    if type(version) is not int or version != 2:
        _refuse("schemaVersion", "2", version)
    for name in absent:  # an image that is also an index is read differently by different clients
        if document.get(name) is not None:
            _refuse(name, "absent from this media type", document[name])


def _subject(document: dict[str, Any]) -> Descriptor | None:
    subject = document.get("subject")
    return None if subject is None else _descriptor(subject, "subject")


def _descriptors(document: dict[str, Any], name: str) -> tuple[Descriptor, ...]:
    values = document.get(name)
    if type(values) is not list:
        _refuse(name, "an array of descriptors", values)
    return tuple([_descriptor(value, f"{name}[{position}]") for position, value in enumerate(values)])


def _descriptor(value: Any, field: str) -> Descriptor:
    if type(value) is not dict:
        _refuse(field, "a descriptor", value)
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if type(media_type) is not str or not _MEDIA_TYPE.fullmatch(media_type):
        _refuse(f"{field}.mediaType", _A_MEDIA_TYPE, media_type)
    if type(digest) is not str or not is_digest(digest):
        _refuse(f"{field}.digest", "algorithm:encoded, e.g. sha256: and 64 lower-case hex digits", digest)
    if type(size) is not int or size < 0:
        _refuse(f"{field}.size", "a whole number of bytes", size)
    if len(value) > 3:
        _check_options(value, field)
    return Descriptor(media_type, digest, size)


def _check_options(descriptor: dict[str, Any], field: str) -> None:
    _optional_media_type(descriptor, "artifactType", within=f"{field}.")
    _annotations(descriptor, f"{field}.annotations")
    _check_urls(descriptor.get("urls"), f"{field}.urls")
    _check_data(descriptor, f"{field}.data")


def _check_urls(urls: Any, field: str) -> None:
    if urls is None:
        return
    if type(urls) is not list or any(type(url) is not str for url in urls):
        _refuse(field, "an array of strings", urls)


def _check_data(descriptor: dict[str, Any], field: str) -> None:
    data, digest, size = descriptor.get("data"), descriptor["digest"], descriptor["size"]
    if data is None:
        return
    try:
        embedded = base64.b64decode(data, validate=True) if type(data) is str else None
    except ValueError:
        embedded = None
    if embedded is None or len(embedded) != size:
        _refuse(field, f"base64 of {size} bytes", data if embedded is None else len(embedded))
    algorithm = digest.partition(":")[0]
    if algorithm in HEX_LENGTHS and Digest.of(embedded, algorithm) != digest:
        _refuse(field, f"content of {digest}", Digest.of(embedded, algorithm))


def _check_platform(entry: dict[str, Any], field: str) -> None:
    platform = entry.get("platform")
    if platform is None:
        return
    if type(platform) is not dict:
        _refuse(field, "an object", platform)
    for name in ("architecture", "os"):
        if type(platform.get(name)) is not str:  # "" is in use: what Go tools write for no platform
            _refuse(f"{field}.{name}", "a string", platform.get(name))


def _annotations(owner: dict[str, Any], field: str) -> dict[str, str]:
    annotations = owner.get("annotations")
    if annotations is None:
        return {}
    if type(annotations) is not dict:
        _refuse(field, "an object of strings", annotations)
    for name, value in annotations.items():
        if type(value) is not str:
            _refuse(f"{field}[{_show(name)}]", "a string", value)
    return annotations


def _optional_media_type(owner: dict[str, Any], name: str, *, within: str = "") -> str | None:
    value = owner.get(name)
    if value is None or value == "":
        return None
    if type(value) is not str or not _MEDIA_TYPE.fullmatch(value):
        _refuse(within + name, _A_MEDIA_TYPE, value)
    return value


def _load(content: bytes) -> dict[str, Any]:
    if content.startswith(codecs.BOM_UTF8):
        _invalid("document", "JSON without a byte order mark", "one")
    try:
        text = content.decode()
        document = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        _invalid("document", "UTF-8", f"byte {content[error.start]:#04x} at offset {error.start}")
    except json.JSONDecodeError as error:
        _invalid("document", "JSON", f"{error.msg} at line {error.lineno}, column {error.colno}")
    except RecursionError:
        _refuse_depth()
    if type(document) is not dict:
        _refuse("document", "a JSON object", document)
    _check_depth(document, text)
    _check_surrogates(document, text)
    return document


def _check_depth(document: dict[str, Any], text: str) -> None:
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        inner = [value for node in level for value in (node.values() if type(node) is dict else node)]
        level = [value for value in inner if type(value) in (dict, list)]
        if not level:
            return
    _refuse_depth()


def _check_surrogates(document: dict[str, Any], text: str) -> None:
    if not _SURROGATE_ESCAPE.search(text):
        return
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        _invalid("document", "Unicode text", "half of a surrogate pair")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of a name that comes twice, one parser sees the first value and the next one the last.
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        _invalid("document", "free of repeated names", f"{_show(twice)} more than once")
    return members


def _parse_int64(digits: str) -> int:
    if len(digits) > 20 or int(digits) not in _INT64:
        _invalid("document", "free of integers beyond 64 bits", _show(digits))
    return int(digits)


def _parse_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        _invalid("document", "free of numbers beyond a double", _show(digits))
    return value


def _parse_constant(name: str) -> NoReturn:
    _invalid("document", "JSON", name)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_names,
    parse_int=_parse_int64,
    parse_float=_parse_float,
    parse_constant=_parse_constant,
)


def _refuse_depth() -> NoReturn:
    _invalid("document", f"at most {MAX_DEPTH} levels deep", "more")


def _refuse(field: str, expected: str, got: Any) -> NoReturn:
    _invalid(field, expected, _show(got))


def _invalid(field: str, expected: str, got: str) -> NoReturn:
    raise ManifestInvalid(
        f"invalid manifest: expected {field} to be {expected}, got {got}",
        field=field,
        expected=expected,
        got=got,
    )


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    return json.dumps(value[:80] if isinstance(value, str) else value)
