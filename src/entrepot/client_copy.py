"""``copy``: an image, or all tags of a repository, from one place to another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from entrepot.client import Client
from entrepot.client_places import Source, open_source
from entrepot.client_targets import Target, open_target
from entrepot.digest import Digest
from entrepot.errors import (
    AccessDenied,
    DigestInvalid,
    ManifestBlobUnknown,
    NotFound,
    ParameterInvalid,
    PlatformUnknown,
    RegistryError,
    RegistryErrors,
    Unauthenticated,
)
from entrepot.image import index_entries
from entrepot.manifest import Descriptor
from entrepot.platforms import Platform, host_platform
from entrepot.reference import DEFAULT_DOMAIN, DEFAULT_TAG, Tag
from entrepot.transfer.graph import Node, OnlyPlatforms, Reader, everything
from entrepot.transfer.listing import walk_tags
from entrepot.transfer.pick import lone_image
from entrepot.transfer.places import ARCHIVES, Kind, Place

TakesTag = Callable[[Tag], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyWishes:
    """How to copy. Without ``platforms`` all of them, but for an engine, which can use one only."""

    platforms: tuple[Platform, ...] = ()
    all_platforms: bool = False
    referrers: bool = False
    no_clobber: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one copy. ``lacking`` are blobs that a dry run has found to be missing at the target."""

    source: Place
    target: Place
    root: Node
    kept: str | None = None  # what is at the target and was left alone
    moved: bool = False
    lacking: tuple[Descriptor, ...] = ()

    @property
    def digest(self) -> Digest:
        return self.root.digest


@dataclass(frozen=True, slots=True)
class Copying:
    """Copies between places, with the settings of one client."""

    client: Client
    wishes: CopyWishes

    async def run(self, source: Place, target: Place, *, dry_run: bool = False) -> Outcome:
        """Copy one image. Raises NotFound, PlatformUnknown, and whatever either side raises."""
        require_one(target)
        async with open_source(self.client, source) as opened:
            return await self.one(opened, target, dry_run=dry_run)

    async def run_all(
        self, source: Place, target: Place, takes: TakesTag, *, dry_run: bool = False
    ) -> AsyncIterator[Outcome]:
        """Copy every tag that ``takes`` likes. Raises ParameterInvalid for places that have no tags."""
        require_repository(source)
        require_repository(target)
        if target.kind in ARCHIVES or target.kind is Kind.ENGINE:
            raise ParameterInvalid(f"{target}: all tags can be copied to a registry, the store or a layout only")
        async with open_source(self.client, source, whole=True) as opened:
            with naming(source):
                tags = [tag async for tag in walk_tags(opened.repository) if takes(tag)]
            for tag in tags:
                at = replace(opened, place=source.at(tag), reference=tag)
                yield await self.one(at, target.at(tag), dry_run=dry_run)

    async def one(self, source: Source, place: Place, *, dry_run: bool = False) -> Outcome:
        """As ``run``, of a source that is open. Raises as it does."""
        root = await self.read(source, place)
        tags = _tags_for(source.place, place, root)
        target = open_target(self.client, place.at(tags[0]) if tags else place, source.place)
        if self.wishes.no_clobber:
            there = await target.find(tags[0] if tags else root.digest)
            if there is not None:
                return Outcome(source.place, target.place, root, kept=there)
        if dry_run:
            return Outcome(source.place, target.place, root, lacking=tuple(await _lacking(target, root)))
        options = replace(self.client.options(), referrers=self.wishes.referrers)
        with _explaining_refusal(place, root):
            copied = await target.write(source, root, tags, options)
        return Outcome(source.place, target.place, root, moved=copied.moved)

    async def read(self, source: Source, target: Place) -> Node:
        """What is to be copied to such a place. Raises NotFound, PlatformUnknown, ManifestInvalid."""
        wanted = self.wishes.platforms
        if not wanted and not self.wishes.all_platforms and target.kind is Kind.ENGINE:
            wanted = (host_platform(),)
        choice = OnlyPlatforms(wanted) if wanted else everything
        assert source.reference is not None  # whole repositories are read tag by tag
        with naming(source.place):
            root = await Reader(source.repository, choice, source.is_partial).read(source.reference)
        if len(wanted) == 1:
            root = lone_image(root)
        if target.kind is Kind.REGISTRY and not wanted:
            _require_whole(source.place, root)
        return root


@contextmanager
def naming(place: Place) -> Iterator[None]:
    """Errors about what is not there name it: the words of registries seldom do."""
    try:
        yield
    except NotFound as error:
        if "hint" in error.detail:
            raise
        lister = {Kind.REGISTRY: "entrepot ls", Kind.STORE: "entrepot images"}.get(place.kind)
        name = place.reference.familiar_name if place.reference else ""
        hint = {"hint": f"{lister} {name} lists what there is"} if lister else {}
        raise type(error)(f"{place} not found: {error.message}", **{**error.detail, **hint}) from error
    except (AccessDenied, Unauthenticated) as error:
        raise _refused(place, "read", error) from error


def _refused(place: Place, what: str, error: RegistryError) -> RegistryError:
    """A refusal that says of which of the two places, and what to do."""
    domain = place.reference.domain if place.reference is not None else ""
    where = "" if domain == DEFAULT_DOMAIN else f" {domain}"
    hint = f"may {place} be {what} by this user? entrepot login{where} changes who you are"
    return type(error)(f"{place}: {error.message}", **{"hint": hint, **error.detail})


@contextmanager
def _explaining_refusal(target: Place, root: Node) -> Iterator[None]:
    """Some registries take an index of which not all images are there, most do not, and say so in many ways."""
    try:
        yield
    except (AccessDenied, Unauthenticated) as error:
        raise _refused(target, "written", error) from error
    except (ManifestBlobUnknown, RegistryErrors) as error:
        if target.kind is not Kind.REGISTRY or not root.left_out:
            raise
        raise ManifestBlobUnknown(
            f"{target}: the registry takes the index only with all its images: {error}",
            hint="copy one platform alone, each to a tag of its own, or all of them",
        ) from error


def _tags_for(source: Place, target: Place, root: Node) -> list[Tag]:
    """The tag that the target names, else the one that the source does, else latest; none for a digest."""
    if isinstance(target.target, Digest):
        if target.target != root.digest:
            raise DigestInvalid(
                f"{target} cannot be made of {source}, whose digest is {root.digest}",
                expected=target.target,
                actual=root.digest,
            )
        return []
    if target.tag is not None:
        return [target.tag]
    if isinstance(source.target, Digest):
        return [Tag(DEFAULT_TAG)] if target.kind in (Kind.ENGINE, Kind.DOCKER_ARCHIVE) else []
    return [source.tag or Tag(DEFAULT_TAG)]


def _require_whole(source: Place, root: Node) -> None:
    """Registries refuse an index without its images."""
    left_out = {entry.descriptor.digest for entry in root.left_out}
    if not left_out:
        return
    entries = [entry for entry in index_entries(root.manifest) if entry.platform and not entry.is_attestation]
    here = [str(entry.platform) for entry in entries if entry.descriptor.digest not in left_out]
    missing = [str(entry.platform) for entry in entries if entry.descriptor.digest in left_out]
    raise PlatformUnknown(
        f"{source} is an image for several platforms, and only part of it is there: {', '.join(here) or 'none'}; "
        f"missing: {', '.join(missing) or 'attestations'}",
        missing=missing,
        hint=f"copy one platform alone with --platform {here[0] if here else 'linux/amd64'}",
    )


async def _lacking(target: Target, root: Node) -> list[Descriptor]:
    """The blobs that would have to be sent."""
    lacking = []
    for blob in root.blobs():
        if not await target.has(Digest.parse(blob.digest)):
            lacking.append(blob)
    return lacking


def require_one(place: Place) -> None:
    """Raises ParameterInvalid for a digest in an archive or engine, which cannot be written to by digest."""
    if isinstance(place.target, Digest) and (place.kind in ARCHIVES or place.kind is Kind.ENGINE):
        raise ParameterInvalid(f"{place}: expected a tag to write to, got a digest", place=str(place))


def require_repository(place: Place) -> None:
    """Raises ParameterInvalid when one image of it is named."""
    if not place.is_repository:
        raise ParameterInvalid(f"{place}: expected a repository without tag or digest", place=str(place))
