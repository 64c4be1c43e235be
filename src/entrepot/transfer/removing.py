"""Deleting in a registry: what a deletion takes along is found out before anything is touched.

distribution-spec, "Content Management": by tag only the tag goes, by digest the manifest with all its tags. Many
registries know only the second.
"""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.digest import Digest
from entrepot.errors import Denied, DigestInvalid, Invalid, ManifestUnknown, RegistryError, TagInvalid, Unsupported
from entrepot.reference import Tag
from entrepot.repositories.base import Repository
from entrepot.transfer.listing import digests_of, walk_tags


@dataclass(frozen=True, slots=True)
class Removal:
    """What deleting the manifest ``digest`` would take along: itself and all of ``tags``."""

    digest: Digest
    tags: tuple[Tag, ...]


class TagsStay(Unsupported):
    """The registry does not delete tags alone."""


async def look_up(repository: Repository, digest: Digest, *, parallel: int) -> Removal:
    """All tags of a manifest; one request for each tag of the repository. Raises ManifestUnknown."""
    await repository.head_manifest(digest)
    tags = [tag async for tag in walk_tags(repository)]
    digests = await digests_of(repository, tags, parallel=parallel)
    return Removal(digest, tuple(tag for tag in tags if digests[tag] == digest))


async def remove_tag(repository: Repository, tag: Tag) -> None:
    """Delete the tag and nothing else. Raises ManifestUnknown, and TagsStay where only manifests can be deleted."""
    try:
        await repository.delete_manifest(tag)
    except (Unsupported, DigestInvalid, TagInvalid) as error:
        raise _tags_stay(error) from error
    except (Invalid, Denied) as error:
        if error.detail.get("status") not in (400, 405):
            raise
        raise _tags_stay(error) from error
    except ManifestUnknown:
        await repository.head_manifest(tag)  # some look for a digest of that name, and say there is none
        raise TagsStay("the registry does not delete tags alone") from None


async def remove_manifest(repository: Repository, digest: Digest) -> None:
    """Delete a manifest with all its tags. Raises what the registry says."""
    await repository.delete_manifest(digest)


def _tags_stay(error: RegistryError) -> TagsStay:
    return TagsStay(f"the registry does not delete tags alone: {error.message}", **error.detail)
