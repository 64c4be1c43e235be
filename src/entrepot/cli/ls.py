"""``entrepot ls``: the tags of a repository in a registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import click

from entrepot.cli.formats import format_rows
from entrepot.cli.network import Reach, network_options, parallel_option
from entrepot.cli.not_there import bare_registry
from entrepot.cli.output import print_json
from entrepot.cli.tables import format_table, plain_cell
from entrepot.client import Client
from entrepot.digest import Digest
from entrepot.errors import ParameterInvalid
from entrepot.reference import ImageReference, Tag
from entrepot.transfer.listing import digests_of, walk_tags
from entrepot.transfer.semver import Version, VersionRange, newest_last

HEADERS = {"Tag": "TAG", "Digest": "DIGEST", "Name": "NAME"}
_NONE = "<none>"


@click.command()
@click.argument("repository", metavar="[HOST/]REPOSITORY")
@click.option("--filter", "globs", metavar="GLOB", multiple=True, help="Only tags like this, e.g. '1.*'; repeatable.")
@click.option("--semver", "versions", metavar="RANGE", help="Only versions in this range, in their order: '^1.2'.")
@click.option("--limit", metavar="N", type=click.IntRange(1), help="At most so many.")
@click.option("--digests", is_flag=True, help="Show what each tag points to.")
@click.option("--full-ref", is_flag=True, help="Print names that can be pulled: HOST/REPOSITORY:TAG.")
@click.option("--json", "as_json", is_flag=True, help="Print an array of objects.")
@click.option("--format", "form", metavar="FORMAT", default="", help="json, table, or a Go template.")
@parallel_option
@network_options
def ls(
    reach: Reach,
    repository: str,
    globs: Sequence[str],
    versions: str | None,
    limit: int | None,
    digests: bool,
    full_ref: bool,
    as_json: bool,
    form: str,
) -> None:
    """List the tags of a repository.

    \b
    Example:
      entrepot ls nginx
      entrepot ls localhost:5000/team/app --filter '1.*' --digests
      entrepot ls nginx --semver '>=1.22 <2' --limit 20
    """
    reference = ImageReference.parse(repository)
    if reference.tag or reference.digest:
        registry = bare_registry(reference)
        raise ParameterInvalid(
            f"expected a repository, got {repository!r}, which names an image of it",
            hint=f"entrepot catalog {registry}" if registry else f"entrepot ls {reference.familiar_name}",
        )
    wanted = Wanted(tuple(globs), VersionRange.parse(versions) if versions is not None else None, limit)
    with_digests = digests or "Digest" in form
    rows = reach.run(lambda client: _list(client, reference, wanted, digests=with_digests))
    if as_json:
        print_json([row.document() for row in rows])
    elif form:
        click.echo("".join(format_rows(form, (row.fields() for row in rows), HEADERS)), nl=False)
    else:
        click.echo(_text(rows, digests=digests, full=full_ref), nl=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tags are shown: like one of the globs, if any; a version in the range, if any."""

    globs: tuple[str, ...] = ()
    versions: VersionRange | None = None
    limit: int | None = None

    def takes(self, tag: Tag) -> bool:
        if self.globs and not any(fnmatchcase(tag, glob) for glob in self.globs):
            return False
        if self.versions is None:
            return True
        version = Version.parse(tag)
        return version is not None and version in self.versions


@dataclass(frozen=True, slots=True)
class Row:
    """A tag of a repository; ``digest`` is empty when nobody asked for it, or the tag has gone meanwhile."""

    name: str
    tag: Tag
    digest: Digest | None = None

    def fields(self) -> Mapping[str, str]:
        """By the names that templates use."""
        return {"Tag": self.tag, "Digest": self.digest or "", "Name": self.full}

    def document(self) -> dict[str, Any]:
        return {"tag": self.tag, "name": self.full} | ({"digest": self.digest} if self.digest else {})

    @property
    def full(self) -> str:
        return f"{self.name}:{self.tag}"


async def _list(client: Client, reference: ImageReference, wanted: Wanted, *, digests: bool) -> list[Row]:
    repository = client.registry(reference.domain, remember=False).repository(reference.path)
    tags: list[Tag] = []
    early = wanted.limit if wanted.versions is None else None  # versions are put in order first
    async for tag in walk_tags(repository):
        if wanted.takes(tag):
            tags.append(tag)
        if early is not None and len(tags) >= early:
            break
    if wanted.versions is not None:
        tags = [Tag(tag) for tag in newest_last(list(tags))][-(wanted.limit or 0) :]
    known = await digests_of(repository, tags, parallel=client.access.parallel) if digests else {}
    return [Row(reference.familiar_name, tag, known.get(tag)) for tag in tags]


def _text(rows: Sequence[Row], *, digests: bool, full: bool) -> str:
    names = [row.full if full else str(row.tag) for row in rows]
    if not digests:
        return "".join(f"{name}\n" for name in _harmless(names))
    return format_table(
        ["NAME" if full else "TAG", "DIGEST"],
        [[name, row.digest or _NONE] for name, row in zip(names, rows, strict=True)],
    )


def _harmless(names: Sequence[str]) -> Iterator[str]:
    return (plain_cell(name) for name in names)
