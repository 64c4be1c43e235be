"""What is there: the manifests of each repository of the image store, and which of them are images.

A repository holds indexes, image manifests, and what belongs to them (attestations, referrers). Those that stand for
themselves, because a tag or nothing at all leads to them, are its *tops*. Content was checked when it was stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from entrepot.digest import Digest
from entrepot.image import ATTESTATION
from entrepot.manifest import IMAGE_TYPES, INDEX_TYPES, Descriptor, StoredManifest
from entrepot.metadata import images
from entrepot.metadata.base import Steps, operation
from entrepot.metadata.images import Holding, ManifestRow, TagRow
from entrepot.platforms import Platform, choose
from entrepot.reference import ImageReference, RepositoryName, Tag

UNTAGGED = RepositoryName("untagged")  # where images without a name are kept; a single part is no registry

_REGISTRY = re.compile(r"(localhost|[^/]*(\.|__|ip6-)[^/]*)/.*")
_MOST_LEVELS = 16  # of indexes in indexes; real ones have one


def is_image_repository(name: str) -> bool:
    """Whether a repository belongs to the image store: its name begins with a registry.

    Others in the same root were pushed to ``entrepot serve`` under names of their own.
    """
    return name == UNTAGGED or _REGISTRY.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Entry:
    """What an index says of one manifest."""

    digest: str
    platform: Platform | None
    is_attestation: bool


class KeptManifest:
    """One manifest of one repository, read as far as it is asked for."""

    def __init__(
        self, row: ManifestRow, repository_id: int, repository: RepositoryName, tags: tuple[TagRow, ...]
    ) -> None:
        self.row = row
        self.repository_id = repository_id
        self.repository = repository
        self.tags = tags
        self.is_index = row.media_type in INDEX_TYPES
        self.is_image = row.media_type in IMAGE_TYPES
        self._document: dict[str, Any] | None = None

    @property
    def digest(self) -> Digest:
        return Digest(self.row.digest)

    @property
    def stored(self) -> StoredManifest:
        """Its exact bytes."""
        return StoredManifest(self.digest, self.row.media_type, self.row.content)

    @property
    def is_named(self) -> bool:
        """Whether a tag or a registry names it."""
        return bool(self.tags) or self.row.origin_at is not None

    @property
    def document(self) -> dict[str, Any]:
        if self._document is None:
            document = json.loads(self.row.content)
            self._document = document if isinstance(document, dict) else {}
        return self._document

    @property
    def image_id(self) -> str:
        """What docker calls the ID: the digest of the config; of what has none, its own digest."""
        return str(self.document["config"]["digest"]) if self.is_image else self.row.digest

    @property
    def config(self) -> Descriptor | None:
        return _descriptor(self.document["config"]) if self.is_image else None

    @property
    def layers(self) -> list[Descriptor]:
        return [_descriptor(layer) for layer in self.document["layers"]] if self.is_image else []

    @property
    def blobs(self) -> list[str]:
        """The digests of config and layers."""
        config = [self.image_id] if self.is_image else []
        return [*config, *(layer.digest for layer in self.layers)]

    @property
    def children(self) -> list[str]:
        """The digests of what an index names."""
        return [entry["digest"] for entry in self.document["manifests"]] if self.is_index else []

    @property
    def entries(self) -> list[Entry]:
        return [_entry(entry) for entry in self.document["manifests"]] if self.is_index else []

    def size(self, uncompressed: Mapping[str, int]) -> int:
        """All layers in bytes, by ``uncompressed`` where that knows them, else as they are kept."""
        layers = self.document["layers"] if self.is_image else ()
        return sum([uncompressed.get(layer["digest"]) or layer["size"] for layer in layers])


class Shelf:
    """All manifests of one repository."""

    def __init__(self, held: Holding) -> None:
        by_manifest: dict[int, list[TagRow]] = {}
        for tag in held.tags:
            by_manifest.setdefault(tag.manifest_id, []).append(tag)
        self.repository_id = held.repository_id
        self.name = RepositoryName(held.name)
        self.manifests = {
            row.digest: KeptManifest(row, held.repository_id, self.name, tuple(by_manifest.get(row.id, ())))
            for row in held.manifests
        }

    def tagged(self, name: Tag) -> KeptManifest | None:
        """What a tag points to."""
        found = (kept for kept in self.manifests.values() for tag in kept.tags if tag.name == name)
        return next(found, None)

    @cached_property
    def _parents(self) -> dict[str, list[KeptManifest]]:
        parents: dict[str, list[KeptManifest]] = {}
        for kept in self.manifests.values():
            for digest in kept.children:
                parents.setdefault(digest, []).append(kept)
        return parents

    def parents(self, kept: KeptManifest) -> list[KeptManifest]:
        """The indexes that name it."""
        return self._parents.get(kept.row.digest, [])

    def forget(self, gone: Iterable[KeptManifest]) -> None:
        """They are not here any more."""
        for kept in gone:
            self.manifests.pop(kept.row.digest, None)
        self.__dict__.pop("_parents", None)

    def is_top(self, kept: KeptManifest) -> bool:
        """Whether it stands for itself: it has a name, or is neither part of an index nor about something else."""
        if kept.is_named:
            return True
        return kept.row.subject is None and not self.parents(kept)

    def tops(self) -> list[KeptManifest]:
        return [kept for kept in self.manifests.values() if self.is_top(kept)]

    def below(self, top: KeptManifest) -> list[KeptManifest]:
        """``top`` and every manifest under it that is here."""
        found: dict[str, KeptManifest] = {}
        waiting = [top]
        while waiting:
            kept = waiting.pop()
            if kept.row.digest not in found:
                found[kept.row.digest] = kept
                waiting += [self.manifests[digest] for digest in kept.children if digest in self.manifests]
        return list(found.values())

    def platforms(self, top: KeptManifest) -> list[tuple[Platform | None, KeptManifest]]:
        """The images below an index that are here, in its order; of an image, itself without a platform."""
        return list(self._images(top, None, set(), _MOST_LEVELS))

    def _images(
        self, kept: KeptManifest, platform: Platform | None, seen: set[str], levels: int
    ) -> Iterator[tuple[Platform | None, KeptManifest]]:
        if not kept.is_index:
            yield platform, kept
            return
        for entry in kept.entries:
            child = self.manifests.get(entry.digest)
            if child is not None and not entry.is_attestation and entry.digest not in seen and levels:
                seen.add(entry.digest)
                yield from self._images(child, entry.platform, seen, levels - 1)

    def choose(self, top: KeptManifest, wanted: Platform, *, strict: bool = False) -> KeptManifest | None:
        """The image for a platform. Unless ``strict``, the first one when none fits; None when there is none."""
        if not top.is_index:
            return top
        here = self.platforms(top)
        place = choose([platform for platform, _ in here], wanted)
        if place is not None:
            return here[place][1]
        return here[0][1] if here and not strict else None


@operation
def read_shelf(name: RepositoryName) -> Steps[Shelf | None]:
    """One repository, None when it holds nothing."""
    held = yield from images.list_repository(name)
    return Shelf(held) if held is not None else None


@operation
def read_shelves() -> Steps[list[Shelf]]:
    """Every repository of the image store, by name."""
    everything = yield from images.list_everything(UNTAGGED)
    return [Shelf(held) for held in everything if is_image_repository(held.name)]


def references(tops: Iterable[KeptManifest]) -> list[ImageReference]:
    """Every name that leads to one of these: tags, and digests at registries; in docker's order, that of the texts."""
    return sorted((reference for top in tops for reference in references_of(top)), key=str)


def references_of(top: KeptManifest) -> list[ImageReference]:
    """The tags of a manifest, then its digest if it is at its registry; nothing for one without a name."""
    if top.repository == UNTAGGED:
        return []
    name = ImageReference.from_stored_name(top.repository)
    targets: list[Tag | Digest] = [Tag(tag.name) for tag in top.tags]
    if top.row.origin_at is not None:
        targets.append(top.digest)
    return [name.at(target) for target in targets]


def _entry(value: dict[str, Any]) -> Entry:
    annotations = value.get("annotations") or {}
    return Entry(value["digest"], Platform.from_document(value.get("platform")), ATTESTATION in annotations)


def _descriptor(value: dict[str, Any]) -> Descriptor:
    return Descriptor(value["mediaType"], value["digest"], value["size"])
