"""What refers to a manifest: signatures, SBOMs and whatever else names it as its subject, and what refers to those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entrepot.digest import Digest, require_digest
from entrepot.errors import ManifestInvalid, NotFound
from entrepot.reference import Tag
from entrepot.repositories.base import Repository
from entrepot.transfer.graph import Node, Reader

MOST_REFERRERS = 10_000
MOST_LEVELS = 16
_SIGNATURES = (".sig", ".att", ".sbom")


@dataclass(frozen=True, slots=True)
class Referrer:
    """One entry of a referrers list. ``children`` refer to it, where they were asked for."""

    digest: str
    media_type: str
    artifact_type: str  # may be empty
    size: int
    annotations: Mapping[str, str]
    children: tuple[Referrer, ...] = ()


async def list_referrers(repository: Repository, subject: str, artifact_type: str | None = None) -> list[Referrer]:
    """What refers to ``subject`` directly, on all pages. Raises ManifestInvalid."""
    found: dict[str, Referrer] = {}
    last: str | None = ""
    seen: set[str] = set()
    while last is not None:
        seen.add(last)
        page = await repository.list_referrers(subject, artifact_type, last=last)
        found |= {referrer.digest: referrer for referrer in map(_parse, page.items)}
        last = page.last
        if last in seen or len(found) > MOST_REFERRERS:
            raise ManifestInvalid(f"the list of what refers to {subject} has no end", subject=subject)
    return list(found.values())


async def read_tree(
    repository: Repository, subject: str, artifact_type: str | None = None, *, above: tuple[str, ...] = ()
) -> list[Referrer]:
    """As ``list_referrers``, each with its own referrers of any type. Raises ManifestInvalid for a list in a circle."""
    above = (*above, subject)
    found = []
    for one in await list_referrers(repository, subject, artifact_type):
        if one.digest in above or len(above) > MOST_LEVELS:
            raise ManifestInvalid(f"the referrers of {above[0]} go in circles or too deep", subject=above[0])
        below = await read_tree(repository, one.digest, above=above)
        found.append(Referrer(one.digest, one.media_type, one.artifact_type, one.size, one.annotations, tuple(below)))
    return found


async def read_referrers(source: Repository, root: Node) -> list[Node]:
    """The graphs of all that refers to a manifest of ``root``, and of what refers to those."""
    waiting: list[str] = [node.digest for node in root.walk()]
    seen = set(waiting)
    found: list[Node] = []
    while waiting:
        for one in await list_referrers(source, waiting.pop()):
            if one.digest not in seen:
                found.append(await Reader(source, skip_absent=True).read(Digest.parse(one.digest)))
                new = [node.digest for node in found[-1].walk() if node.digest not in seen]
                waiting += new
                seen.update(new)
    return found


async def read_signatures(source: Repository, root: Node) -> list[tuple[Tag, Node]]:
    """What lies beside ``root`` under the tags that cosign makes of a digest."""
    found = []
    for tag in signature_tags(root):
        try:
            found.append((tag, await Reader(source).read(tag)))
        except NotFound:
            continue
    return found


def signature_tags(root: Node) -> Iterator[Tag]:
    """``sha256-<hex>.sig`` and the like, of each manifest of ``root``."""
    for node in root.walk():
        yield from (Tag(f"{node.digest.algorithm}-{node.digest.encoded}{suffix}") for suffix in _SIGNATURES)


def _parse(item: Any) -> Referrer:
    size = item.get("size")
    return Referrer(
        require_digest(str(item.get("digest"))),
        _text(item.get("mediaType")),
        _text(item.get("artifactType")),
        size if isinstance(size, int) else 0,
        _texts(item.get("annotations")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> Mapping[str, str]:
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}


def count_all(referrers: Sequence[Referrer]) -> int:
    """How many there are on all levels."""
    return sum(1 + count_all(one.children) for one in referrers)
