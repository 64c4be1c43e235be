"""``entrepot prune``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from entrepot.cli.human import human_size
from entrepot.cli.local import on_store, root_option
from entrepot.image_store.filters import PRUNE_FILTERS, Filters
from entrepot.image_store.pruning import Pruned

_QUESTION = "Are you sure you want to continue? [y/N] "


@click.command(short_help="Remove what is of no use any more.")
@click.option("-a", "--all", "everything", is_flag=True, help="Remove all images, not only those without a tag.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option(
    "--filter",
    "conditions",
    metavar="NAME=VALUE",
    multiple=True,
    help="Remove only such images: until=24h, label=KEY[=VALUE], label!=KEY[=VALUE].",
)
@root_option
def prune(everything: bool, force: bool, conditions: Sequence[str], root: Path) -> None:
    """Remove images without a tag, unfinished downloads, and what was left behind by commands that were cut off.

    With a filter only images are removed.

    \b
    Example:
      entrepot prune
      entrepot prune --all --force --filter until=720h
    """
    filters = Filters.parse(conditions, PRUNE_FILTERS)
    everything = everything or filters.dangling is False
    chosen = filters.without("dangling")
    what = "all images" if everything else "all dangling images"
    if not force and not _is_sure(what if chosen.values else f"{what} and unfinished downloads"):
        return
    pruned = on_store(root, lambda store: store.prune(chosen, everything=everything))
    click.echo("\n".join(_lines(pruned)))


def _is_sure(what: str) -> bool:
    click.echo(f"WARNING! This will remove {what}.\n{_QUESTION}", nl=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _lines(pruned: Pruned) -> Iterator[str]:
    images = list(pruned.removal.lines("untagged", "deleted"))
    if images:
        yield from ("Deleted Images:", *images, "")
    if pruned.downloads:
        yield from ("Deleted Downloads:", *pruned.downloads, "")
    yield f"Total reclaimed space: {human_size(pruned.reclaimed)}"
