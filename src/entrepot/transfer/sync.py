"""What a list of repositories asks for: which tags of each, and where they go. Nothing here reads or copies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from entrepot.digest import Digest
from entrepot.errors import ParameterInvalid
from entrepot.platforms import Platform
from entrepot.reference import ImageReference, Tag
from entrepot.transfer.places import Kind, Place
from entrepot.transfer.semver import Version, VersionRange, newest_last

_DIGEST_TAG = re.compile(r"sha(?:256|512)-[0-9a-f]{64,128}(?:\..*)?", re.ASCII)
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRule:
    """Which tags of a repository are taken.

    Those that one of ``globs`` or ``patterns`` fits, all when there are neither; of these the versions in ``versions``,
    of these the ``newest`` so many; never what ``without`` or ``without_patterns`` fit. Patterns may fit anywhere in
    a tag. Tags that clients make of digests (``sha256-<hex>.sig``) only by their very name, or with ``digest_tags``.
    """

    globs: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()
    without: tuple[str, ...] = ()
    without_patterns: tuple[re.Pattern[str], ...] = ()
    versions: VersionRange | None = None
    newest: int | None = None
    digest_tags: bool = False

    @property
    def fixed(self) -> list[Tag] | None:
        """The tags, when they can be told without asking for all there are. Raises TagInvalid."""
        if not self.globs or self.patterns or self.versions is not None or self.newest is not None:
            return None
        if any(_WILD.search(glob) for glob in self.globs):
            return None
        return [tag for tag in map(Tag.parse, dict.fromkeys(self.globs)) if not self._is_without(tag)]

    def choose(self, tags: Sequence[Tag]) -> list[Tag]:
        """Those of ``tags`` that are taken, in their order."""
        taken = [tag for tag in tags if self._is_named(tag) and not self._is_without(tag)]
        if self.versions is not None:
            taken = [tag for tag in taken if _is_in(tag, self.versions)]
        if self.newest is None:
            return taken
        latest = set(newest_last(list(taken))[-self.newest :])
        return [tag for tag in taken if tag in latest]

    def _is_named(self, tag: Tag) -> bool:
        if tag in self.globs:
            return True
        if _DIGEST_TAG.fullmatch(tag) and not self.digest_tags:
            return False
        if not self.globs and not self.patterns:
            return True
        return any(fnmatchcase(tag, glob) for glob in self.globs) or any(each.search(tag) for each in self.patterns)

    def _is_without(self, tag: Tag) -> bool:
        return any(fnmatchcase(tag, glob) for glob in self.without) or any(
            pattern.search(tag) for pattern in self.without_patterns
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRule:
    """One repository to be copied: ``source`` and ``target`` without tags. ``where`` is its place in the list."""

    source: Place
    target: Place
    tags: TagRule = TagRule()
    digests: tuple[Digest, ...] = ()  # besides; without any tag rule these alone
    only_digests: bool = False
    platforms: tuple[Platform, ...] = ()
    referrers: bool = False
    where: str = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where everything goes that is not told otherwise: a registry's host and maybe path, ``store:``, ``oci:DIR``."""

    text: str
    scoped: bool = False  # the source's registry comes into the name
    last_part_only: bool = False  # of the source's name, as skopeo has it

    def place_for(self, source: Place) -> Place:
        """The repository for a source. Raises NameInvalid, and ParameterInvalid where there is no place for several."""
        name = self._name(source)
        text = self.text.rstrip("/")
        if text == f"{Kind.STORE.value}:":
            full = source.reference.name if source.reference is not None else name
            return Place.parse(f"{text}{full}")
        place = Place.parse(f"{text}/{name}")
        if place.kind in (Kind.REGISTRY, Kind.STORE, Kind.LAYOUT) and place.target is None:
            return place
        raise ParameterInvalid(
            f"expected a registry, store: or oci:DIR to copy repositories to, got {self.text[:200]!r}",
            destination=self.text[:200],
        )

    def _name(self, source: Place) -> str:
        reference = source.reference
        if reference is None:
            return source.path.name if source.path is not None else "image"
        if self.scoped:
            return str(reference.stored_name)
        return reference.path.rpartition("/")[2] if self.last_part_only else str(reference.path)


def parse_source(text: str) -> tuple[Place, TagRule | None, Digest | None]:
    """A repository, with the tag or digest that is named in it. Raises Invalid."""
    place = Place.parse(text)
    if place.kind not in (Kind.REGISTRY, Kind.STORE, Kind.LAYOUT):
        raise ParameterInvalid(f"expected an image of a registry, store: or oci:DIR, got {text[:200]!r}", source=text)
    if isinstance(place.target, Digest):
        return repository_of(place), None, place.target
    return repository_of(place), TagRule(globs=(place.target,)) if place.target else None, None


def repository_of(place: Place) -> Place:
    """The place without tag and digest."""
    reference = place.reference
    bare = ImageReference(reference.domain, reference.path) if reference is not None else None
    return replace(place, reference=bare, target=None)


def compile_pattern(text: str) -> re.Pattern[str]:
    """A regular expression. Raises ParameterInvalid."""
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ParameterInvalid(f"invalid regular expression {text[:200]!r}: {error}", pattern=text[:200]) from error


def _is_in(tag: Any, versions: VersionRange) -> bool:
    version = Version.parse(tag)
    return version is not None and version in versions
