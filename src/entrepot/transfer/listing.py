"""Listings of any length: pages one after the other, from a peer that may never come to an end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from entrepot.digest import Digest
from entrepot.errors import ManifestInvalid, NotFound
from entrepot.reference import Tag
from entrepot.repositories.base import Page, Registry, Repository
from entrepot.transfer.tasks import Crew, Slots

PAGE = 1000  # names asked for at a time
MOST_NAMES = 1_000_000


async def walk_tags(repository: Repository) -> AsyncIterator[Tag]:
    """Every tag, in the order of the repository. Raises RepositoryUnknown, ManifestInvalid, TagInvalid."""
    async for name in _walk(lambda last: repository.list_tags(last=last, limit=PAGE)):
        yield Tag.parse(name)


def walk_repositories(registry: Registry) -> AsyncIterator[str]:
    """The name of every repository, as the registry writes it. Raises what the registry says, ManifestInvalid."""
    return _walk(lambda last: registry.list_repositories(last=last, limit=PAGE))


async def _walk(read: Callable[[str], Awaitable[Page]]) -> AsyncIterator[str]:
    last: str | None = ""
    seen: set[str] = set()
    count = 0
    while last is not None:
        seen.add(last)
        page = await read(last)
        for item in page.items:
            yield item
        count += len(page.items)
        last = page.last
        if last in seen or count > MOST_NAMES:
            raise ManifestInvalid(f"the registry's list has no end: stopped after {count} names", count=count)


async def digests_of(repository: Repository, tags: Sequence[Tag], *, parallel: int) -> dict[Tag, Digest | None]:
    """What each tag points to, None for one that has gone meanwhile."""
    found: dict[Tag, Digest | None] = {}
    slots = Slots(parallel)

    async def ask(tag: Tag) -> None:
        async with slots:
            try:
                found[tag] = (await repository.head_manifest(tag)).digest
            except NotFound:
                found[tag] = None

    async with Crew() as crew:
        for tag in tags:
            crew.start(ask(tag))
    return {tag: found[tag] for tag in tags}
