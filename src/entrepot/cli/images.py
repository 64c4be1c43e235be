"""``entrepot images``: the table that docker's users know."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from entrepot.cli.completion import complete_image
from entrepot.cli.formats import format_rows
from entrepot.cli.human import NOT_KNOWN, created_at, created_since, human_size
from entrepot.cli.local import on_store, root_option, short_id
from entrepot.cli.tables import format_table
from entrepot.image_store.filters import LIST_FILTERS, Filters
from entrepot.image_store.listing import ImageRow
from entrepot.image_store.selection import list_at_once
from entrepot.platforms import host_platform

HEADERS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}


@click.command()
@click.argument("name", metavar="[NAME[:TAG]]", required=False, shell_complete=complete_image)
@click.option("-a", "--all", "all_images", is_flag=True, help="Show all images; nothing is hidden here anyway.")
@click.option("-q", "--quiet", is_flag=True, help="Print the IDs only.")
@click.option("--digests", is_flag=True, help="Show digests.")
@click.option("--no-trunc", is_flag=True, help="Show IDs in full.")
@click.option(
    "-f",
    "--filter",
    "conditions",
    metavar="NAME=VALUE",
    multiple=True,
    help="Show only some: dangling, label, before, since, until, reference.",
)
@click.option("--format", "form", metavar="FORMAT", default="", help="json, table, or a Go template.")
@root_option
def images(
    name: str | None,
    all_images: bool,  # noqa: ARG001
    quiet: bool,
    digests: bool,
    no_trunc: bool,
    conditions: Sequence[str],
    form: str,
    root: Path,
) -> None:
    """List the images on this computer.

    SIZE is what the layers take when they are unpacked, ID the digest of the image's config.

    \b
    Example:
      entrepot images
      entrepot images --filter label=team=web --digests 'team/*'
      entrepot images --format '{{.Repository}}:{{.Tag}} {{.Size}}'
    """
    filters = Filters.parse(conditions, LIST_FILTERS)
    if name is not None:
        filters = filters.with_reference(name)
    with_digests = digests or "Digest" in form or form == "json"
    with without_collection():
        rows = _rows(root, filters, digests=with_digests)
        text = View(trunc=not no_trunc, now=datetime.now(UTC)).text(rows, quiet=quiet, digests=digests, form=form)
    click.echo(text, nl=False)


def _rows(root: Path, filters: Filters, *, digests: bool) -> list[ImageRow]:
    rows = list_at_once(root, filters, host_platform(), time.time(), digests=digests)
    return on_store(root, lambda store: store.list_images(filters, digests=digests)) if rows is None else rows


@contextmanager
def without_collection() -> Iterator[None]:
    """Many small objects are made and no cycles: looking for some would take a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@dataclass(frozen=True, slots=True)
class View:
    """How rows are shown."""

    trunc: bool
    now: datetime

    def text(self, rows: Sequence[ImageRow], *, quiet: bool, digests: bool, form: str) -> str:
        """All that is printed."""
        if quiet:
            return "".join(f"{self.id(row)}\n" for row in rows)
        if form in ("", "table"):
            return self.table(rows, digests=digests)
        return "".join(format_rows(form, map(self.fields, rows), HEADERS))

    def id(self, row: ImageRow) -> str:
        return short_id(row.id) if self.trunc else row.id

    def table(self, rows: Sequence[ImageRow], *, digests: bool) -> str:
        names = ["Repository", "Tag", *(["Digest"] if digests else []), "ID", "CreatedSince", "Size"]
        return format_table([HEADERS[name] for name in names], (self.cells(row, digests=digests) for row in rows))

    def cells(self, row: ImageRow, *, digests: bool) -> list[str]:
        since = created_since(row.created, self.now)
        return [row.repository, row.tag, *([row.digest] if digests else []), self.id(row), since, human_size(row.size)]

    def fields(self, row: ImageRow) -> Mapping[str, str]:
        """A row by the names that templates use."""
        return {
            "Containers": NOT_KNOWN,
            "CreatedAt": created_at(row.created),
            "CreatedSince": created_since(row.created, self.now),
            "Digest": row.digest,
            "ID": self.id(row),
            "Repository": row.repository,
            "SharedSize": NOT_KNOWN,
            "Size": human_size(row.size),
            "Tag": row.tag,
            "UniqueSize": NOT_KNOWN,
        }
