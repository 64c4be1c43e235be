"""What ``images`` shows: every image with its names, when it was made, and its size when it is not compressed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from entrepot.image_store.catalogue import KeptManifest, Shelf, read_shelves, references
from entrepot.metadata import layers
from entrepot.metadata.base import Steps, operation
from entrepot.metadata.layers import ConfigFacts
from entrepot.platforms import Platform
from entrepot.reference import ImageReference

NONE = "<none>"


@dataclass(eq=False)
class Image:
    """An image with all its names; one ID, however many repositories hold it."""

    id: str
    manifest: KeptManifest  # the image manifest that the facts below come from
    tops: list[KeptManifest]  # what its names point to, and copies of that without a name
    references: list[ImageReference]
    size: int  # of the layers, uncompressed as far as that is known
    created: str | None = None  # RFC 3339, as the config has it
    labels_text: str = "{}"

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = json.loads(self.labels_text)
        return labels

    def learn(self, facts: ConfigFacts) -> None:
        """What its config says."""
        self.created, self.labels_text = facts.created, facts.labels

    @property
    def is_dangling(self) -> bool:
        """Whether no tag leads to it."""
        return not any(reference.tag for reference in self.references)

    @property
    def created_at(self) -> float:
        """Seconds since 1970; less than any real time when it is not known."""
        return seconds_of(self.created)


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One line of the list; ``<none>`` where there is no such name."""

    repository: str
    tag: str
    digest: str
    id: str
    created: str | None
    size: int


@dataclass(frozen=True, slots=True)
class Library:
    """Every image of the store, and the shelves they stand on."""

    shelves: list[Shelf]
    images: list[Image]
    missing_configs: list[KeptManifest]  # of which it is not recorded yet what they say

    def by_id(self) -> dict[str, Image]:
        return {image.id: image for image in self.images}

    def shelf_of(self, kept: KeptManifest) -> Shelf:
        """Where it stands."""
        return next(shelf for shelf in self.shelves if shelf.repository_id == kept.repository_id)


@operation
def read_library(wanted: Platform) -> Steps[Library]:
    """Everything at once; ``wanted`` is the platform by which an index shows itself."""
    shelves = yield from read_shelves()
    sizes = yield from layers.layer_sizes()
    configs = yield from layers.config_facts()
    groups: dict[str, list[tuple[KeptManifest, KeptManifest]]] = {}
    for shelf in shelves:
        for top in shelf.tops():
            image = shelf.choose(top, wanted) or top
            groups.setdefault(image.image_id, []).append((top, image))
    images = [_image(image_id, pairs, sizes, configs) for image_id, pairs in groups.items()]
    missing = [image.manifest for image in images if image.id not in configs and image.manifest.config is not None]
    return Library(shelves, images, missing)


def _image(
    image_id: str,
    pairs: Sequence[tuple[KeptManifest, KeptManifest]],
    sizes: Mapping[str, int],
    configs: Mapping[str, ConfigFacts],
) -> Image:
    manifest = pairs[0][1]
    tops = [top for top, _ in pairs]
    image = Image(image_id, manifest, tops, references(tops), manifest.size(sizes))
    facts = configs.get(image_id)
    if facts is not None:
        image.learn(facts)
    return image


def rows_of(image: Image, *, digests: bool) -> list[ImageRow]:
    """The lines of one image, as docker lays them out: one for each tag, and for a repository that only knows the
    digest; with ``digests`` one for each tag and digest."""
    by_repository: dict[str, tuple[list[str], list[str]]] = {}
    for reference in image.references:
        tags, known = by_repository.setdefault(reference.familiar_name, ([], []))
        (known if reference.digest else tags).append(str(reference.target))
    if not by_repository:
        return [_row(image, NONE, NONE, NONE)]
    rows = []
    for repository, (tags, known) in sorted(by_repository.items()):
        shown = (known if digests else []) or [NONE]
        rows += [_row(image, repository, tag, digest) for tag in tags or [NONE] for digest in shown]
    return rows


def _row(image: Image, repository: str, tag: str, digest: str) -> ImageRow:
    return ImageRow(repository, tag, digest, image.id, image.created, image.size)


def newest_first(images: Iterable[Image]) -> list[Image]:
    """As docker sorts them; those made at the same time by name."""
    return sorted(images, key=lambda image: (-image.created_at, [str(each) for each in image.references], image.id))


def seconds_of(created: str | None) -> float:
    """A time of RFC 3339 in seconds since 1970; minus infinity for none, and for what is no time."""
    try:
        moment = datetime.fromisoformat(created) if created else None
    except ValueError:
        moment = None
    if moment is None:
        return float("-inf")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
