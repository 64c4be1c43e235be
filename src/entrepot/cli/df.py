"""``entrepot df``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from entrepot.cli.formats import format_rows
from entrepot.cli.human import created_since, human_size
from entrepot.cli.local import on_store, root_option, short_id
from entrepot.cli.tables import format_table
from entrepot.image_store.listing import newest_first, rows_of
from entrepot.image_store.usage import ImageUsage, Usage, shares

HEADERS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_IMAGE_HEADER = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE"]


@click.command(short_help="Show what the images take on the disk.")
@click.option("-v", "--verbose", is_flag=True, help="Every image and every unfinished download.")
@click.option("--format", "form", metavar="FORMAT", default="", help="json, table, or a Go template.")
@root_option
def df(verbose: bool, form: str, root: Path) -> None:
    """Show what the images take on the disk, and what `entrepot prune` would free.

    Sizes are those of the compressed layers as they are kept. ACTIVE are images with a tag; leftovers are layers that
    no image names, e.g. of a pull that was given up.

    \b
    Example:
      entrepot df
      entrepot df --verbose
    """
    usage = on_store(root, lambda store: store.usage())
    if verbose:
        text = "\n".join(_verbose(usage))
    elif form in ("", "table"):
        text = format_table(list(HEADERS.values()), [list(row.values()) for row in fields(usage)])
    else:
        text = "".join(format_rows(form, fields(usage), HEADERS))
    click.echo(text, nl=False)


def fields(usage: Usage) -> Iterator[Mapping[str, str]]:
    """Each line by the names that templates use."""
    for name, total, active, size, free in shares(usage):
        yield {
            "Type": name,
            "TotalCount": str(total),
            "Active": str(active),
            "Size": human_size(size),
            "Reclaimable": f"{human_size(free)} ({100 * free // size}%)" if size else human_size(free),
        }


def _verbose(usage: Usage) -> Iterator[str]:
    now = datetime.now(UTC)
    by_image = {each.image: each for each in usage.images}
    rows = [row for image in newest_first(by_image) for row in _image_rows(by_image[image], now)]
    yield f"Images space usage:\n\n{format_table(_IMAGE_HEADER, rows)}"
    downloads = [[digest, human_size(size)] for digest, size in usage.downloads]
    yield f"Unfinished downloads space usage:\n\n{format_table(['DIGEST', 'SIZE'], downloads)}"
    yield f"Leftovers space usage: {human_size(sum(usage.leftovers))}\n"


def _image_rows(usage: ImageUsage, now: datetime) -> Iterator[list[str]]:
    for row in rows_of(usage.image, digests=False):
        sizes = [human_size(size) for size in (usage.size, usage.shared, usage.unique)]
        yield [row.repository, row.tag, short_id(row.id), created_since(row.created, now), *sizes]
