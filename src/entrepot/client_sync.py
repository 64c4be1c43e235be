"""``sync``: copies what a list asks for, and says of each image what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum

from entrepot.client import Client
from entrepot.client_copy import Copying, CopyWishes, naming
from entrepot.client_places import Source, open_source
from entrepot.client_targets import open_target
from entrepot.digest import Digest
from entrepot.errors import ManifestUnknown, RegistryError, RegistryErrors, RepositoryUnknown
from entrepot.reference import Tag
from entrepot.transfer.listing import walk_tags
from entrepot.transfer.places import Place
from entrepot.transfer.sync import SyncRule


class State(Enum):
    """What became of an image."""

    COPIED = "copied"
    CURRENT = "up to date"
    LEFT = "left alone"  # something is there, and only what is missing was wanted
    WOULD_COPY = "would be copied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Synced:
    """One image of the list, or a repository that could not be read."""

    state: State
    source: Place
    target: Place
    digest: Digest | None = None
    error: RegistryError | RegistryErrors | None = None


@dataclass(frozen=True, slots=True)
class Syncing:
    """Works through rules, one image after the other."""

    client: Client
    only_missing: bool = False
    dry_run: bool = False

    async def run(self, rule: SyncRule) -> AsyncIterator[Synced]:
        """Errors of the registries are in what comes out, everything else is raised."""
        try:
            references = await self._references(rule)
        except (RegistryError, RegistryErrors) as error:
            yield Synced(State.FAILED, rule.source, rule.target, error=error)
            return
        for reference in references:
            source, target = rule.source.at(reference), rule.target.at(reference)
            try:
                yield await self._one(rule, source, target)
            except (RegistryError, RegistryErrors) as error:
                yield Synced(State.FAILED, source, target, error=error)

    async def _references(self, rule: SyncRule) -> list[Tag | Digest]:
        if rule.only_digests:
            return list(rule.digests)
        tags = rule.tags.fixed
        if tags is None:
            async with open_source(self.client, rule.source, whole=True) as source:
                with naming(rule.source):
                    tags = rule.tags.choose([tag async for tag in walk_tags(source.repository)])
        if not tags and not rule.digests:
            raise ManifestUnknown(f"{rule.source} has no tag that the list asks for", list=rule.where)
        return [*tags, *rule.digests]

    async def _one(self, rule: SyncRule, place: Place, to_place: Place) -> Synced:
        async with open_source(self.client, place) as source:
            there = await self._found(to_place, place)
            if there is not None and self.only_missing:
                return Synced(State.LEFT, place, to_place)
            digest = await self._digest(rule, source)
            if there is not None and there == digest and not (rule.referrers and not self.dry_run):
                return Synced(State.CURRENT, place, to_place, digest)
            if self.dry_run:
                return Synced(State.WOULD_COPY, place, to_place, digest)
            wishes = CopyWishes(platforms=rule.platforms, referrers=rule.referrers)
            outcome = await Copying(self.client, wishes).one(source, to_place)
            return Synced(State.COPIED if outcome.moved else State.CURRENT, place, to_place, outcome.digest)

    async def _found(self, place: Place, source: Place) -> str | None:
        assert place.target is not None  # each image has its own tag or digest
        try:
            return await open_target(self.client, place, source).find(place.target)
        except RepositoryUnknown:
            return None

    async def _digest(self, rule: SyncRule, source: Source) -> Digest:
        """What the copy would have for a digest; a HEAD tells, and is not counted by registries that count pulls."""
        assert source.reference is not None  # as above
        with naming(source.place):
            if not rule.platforms:
                return (await source.repository.head_manifest(source.reference)).digest
        wishes = CopyWishes(platforms=rule.platforms)
        return (await Copying(self.client, wishes).read(source, rule.target)).digest
