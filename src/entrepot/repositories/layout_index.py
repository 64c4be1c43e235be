"""The ``index.json`` of an OCI image layout: which manifests it holds, under which tags (image-spec, image-layout.md).

A tag is the annotation ``org.opencontainers.image.ref.name`` of an entry. Whatever else the document says is kept
when an entry is added or taken out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from entrepot.digest import Digest
from entrepot.errors import ArchiveInvalid, ManifestInvalid, ManifestUnknown, NotFound, TagInvalid
from entrepot.image import IndexEntry, index_entries
from entrepot.manifest import (
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    StoredManifest,
    parse_manifest,
)
from entrepot.reference import RepositoryName, Tag

LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
BLOBS_FOLDER = "blobs"
LAYOUT_VERSION = "1.0.0"
LAYOUT_MARK = json.dumps({"imageLayoutVersion": LAYOUT_VERSION}).encode()
MAX_INDEX_SIZE = 16 * 1024 * 1024  # some fifty thousand tags
MAX_MANIFEST_SIZE = 4 * 1024 * 1024  # as registries have it
REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"  # the full name, as containerd, docker and nerdctl write it


@dataclass(frozen=True)
class LayoutIndex:
    """An ``index.json``. The methods that change something give a new one."""

    document: Mapping[str, Any]

    @classmethod
    def empty(cls) -> Self:
        return cls({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Raises ManifestInvalid."""
        parse_manifest(content, OCI_INDEX)
        return cls(json.loads(content))

    @cached_property
    def content(self) -> bytes:
        return json.dumps(self.document, separators=(",", ":"), ensure_ascii=False).encode()

    @cached_property
    def entries(self) -> list[IndexEntry]:
        """Every entry, in order."""
        return index_entries(parse_manifest(self.content, OCI_INDEX))

    @property
    def tags(self) -> list[Tag]:
        """The names among the entries' that are tags, in byte order. Some programs put whole references there."""
        names = {entry.annotations[REF_NAME] for entry in self.entries if REF_NAME in entry.annotations}
        return sorted((tag for name in names if (tag := _tag(name)) is not None), key=str.encode)

    def find(self, reference: Tag | Digest) -> Descriptor | None:
        """The entry of a tag or digest; of several the first."""
        for entry in self.entries:
            if reference in (entry.descriptor.digest, entry.annotations.get(REF_NAME)):
                return entry.descriptor
        return None

    def with_manifest(self, descriptor: Descriptor, tags: Sequence[Tag], children: Collection[str]) -> Self:
        """With the tags at this manifest, or just the manifest. Of its children, those without a name leave."""
        moved = set(tags)

        def stays(entry: dict[str, Any]) -> bool:
            if _is_nameless(entry):
                return entry["digest"] not in children and not (tags and entry["digest"] == descriptor.digest)
            return entry["digest"] == descriptor.digest or _ref_name(entry) not in moved

        kept = [entry for entry in self._raw if stays(entry)]
        there = {_ref_name(entry) for entry in kept if entry["digest"] == descriptor.digest}
        if tags:
            added = [_entry(descriptor, tag) for tag in tags if tag not in there]
        else:
            added = [] if there else [_entry(descriptor, None)]
        return self._replaced([*kept, *added])

    def without(self, reference: Tag | Digest) -> Self:
        """Without the tag, or without every entry of the digest."""
        key = _digest_of if isinstance(reference, Digest) else _ref_name
        return self._replaced([entry for entry in self._raw if key(entry) != reference])

    @property
    def _raw(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.document["manifests"]
        return entries

    def _replaced(self, entries: list[dict[str, Any]]) -> Self:
        return type(self)({**self.document, "manifests": entries})


def check_layout_mark(content: bytes) -> None:
    """Read ``oci-layout``. Raises ArchiveInvalid when this is a layout of another version."""
    try:
        version = json.loads(content)["imageLayoutVersion"]
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise ArchiveInvalid(
            f"invalid {LAYOUT_FILE}: expected imageLayoutVersion {LAYOUT_VERSION}, got none"
        ) from error
    if version != LAYOUT_VERSION:
        shown = json.dumps(version)[:40]
        raise ArchiveInvalid(f"invalid {LAYOUT_FILE}: expected imageLayoutVersion {LAYOUT_VERSION}, got {shown}")


def read_stored_manifest(content: bytes, digest: Digest, media_type: str | None) -> StoredManifest | None:
    """A manifest as it lies in a layout, where nothing tells it from a blob; None for what is none.

    ``media_type`` is what names it, if anything does.
    """
    if media_type is not None:
        return StoredManifest(digest, media_type, content)
    try:
        manifest = parse_manifest(content, _own_type(content))
    except ManifestInvalid:
        return None
    return StoredManifest(digest, manifest.media_type, content)


def _own_type(content: bytes) -> str | None:
    """What a manifest without ``mediaType`` must be; None when it names its type."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("mediaType"):
        return None
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST


ReadManifest = Callable[[Digest], StoredManifest | None]


def walk_manifests(waiting: list[Descriptor], read: ReadManifest) -> Iterator[tuple[str, Manifest]]:
    """Every manifest that these lead to, once; those that ``read`` does not find are passed over."""
    seen: set[str] = set()
    while waiting:
        descriptor = waiting.pop()
        if descriptor.digest in seen or descriptor.media_type not in MANIFEST_TYPES:
            continue
        seen.add(descriptor.digest)
        stored = read(Digest.parse(descriptor.digest))
        if stored is not None:
            manifest = parse_manifest(stored.content, stored.media_type)
            waiting += manifest.manifests
            yield descriptor.digest, manifest


def find_referrers(index: LayoutIndex, subject: str, artifact_type: str | None, read: ReadManifest) -> list[Any]:
    """The entries of a referrers list, sorted by digest."""
    found = {
        digest: referrer(digest, manifest)
        for digest, manifest in walk_manifests([entry.descriptor for entry in index.entries], read)
        if manifest.subject is not None and manifest.subject.digest == subject
    }
    entries = [found[digest] for digest in sorted(found)]
    return [entry for entry in entries if artifact_type is None or entry.get("artifactType") == artifact_type]


def referrer(digest: str, manifest: Manifest) -> dict[str, Any]:
    """The entry of a referrers list (distribution-spec, "Listing Referrers")."""
    descriptor: dict[str, Any] = {"mediaType": manifest.media_type, "digest": digest, "size": len(manifest.content)}
    if manifest.referrer_artifact_type:
        descriptor["artifactType"] = manifest.referrer_artifact_type
    if manifest.annotations:
        descriptor["annotations"] = manifest.annotations
    return descriptor


def unknown(name: RepositoryName, reference: Tag | Digest) -> NotFound:
    """What to raise for a manifest or tag that is not there."""
    kind = "manifest" if isinstance(reference, Digest) else "tag"
    return ManifestUnknown(f"no {kind} {reference} in {name}", name=name, reference=reference)


def page_of(names: Iterable[str], last: str, limit: int) -> tuple[list[str], str | None]:
    """The names after ``last`` out of sorted ones, at most ``limit``, and where the next page goes on."""
    rest = [name for name in names if name.encode() > last.encode()]
    shown = rest[:limit]
    return shown, shown[-1] if shown and len(rest) > limit else None


def _entry(descriptor: Descriptor, tag: Tag | None) -> dict[str, Any]:
    entry = {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
    return entry if tag is None else {**entry, "annotations": {REF_NAME: str(tag)}}


def _is_nameless(entry: dict[str, Any]) -> bool:
    return not entry.get("annotations")


def _ref_name(entry: dict[str, Any]) -> str | None:
    name: str | None = (entry.get("annotations") or {}).get(REF_NAME)
    return name


def _digest_of(entry: dict[str, Any]) -> str:
    return str(entry["digest"])


def _tag(name: str) -> Tag | None:
    try:
        return Tag.parse(name)
    except TagInvalid:
        return None
