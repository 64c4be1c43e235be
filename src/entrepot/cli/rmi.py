"""``entrepot rmi``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from entrepot.cli.completion import complete_image
from entrepot.cli.failures import report
from entrepot.cli.local import on_store, root_option
from entrepot.errors import ManifestUnknown, NotFound, RegistryError, RegistryErrors
from entrepot.image_store.removal import Removal
from entrepot.image_store.store import ImageStore


@click.command(short_help="Remove images.")
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True, shell_complete=complete_image)
@click.option(
    "-f", "--force", is_flag=True, help="Remove an image by its ID with all its names; pass over missing ones."
)
@root_option
def rmi(names: Sequence[str], force: bool, root: Path) -> None:
    """Remove names of images, and with its last name the image itself.

    IMAGE is a name, NAME@DIGEST or an ID. What other images share stays.

    \b
    Example:
      entrepot rmi nginx:1.23.3
      entrepot rmi -f eb3a91a050ed
    """

    async def remove(store: ImageStore) -> list[RegistryError]:
        errors: list[RegistryError] = []
        for name in names:
            try:
                _print(await store.remove(name, force=force))
            except RegistryError as error:
                errors.append(_as_asked(name, error))
        return errors

    errors = on_store(root, remove)
    if force and errors and all(isinstance(error, NotFound) for error in errors):
        report(RegistryErrors(errors))
    elif errors:
        raise RegistryErrors(errors)


def _print(removal: Removal) -> None:
    for line in removal.lines():
        click.echo(line)


def _as_asked(name: str, error: RegistryError) -> RegistryError:
    """Docker repeats here what was typed, without the tag that it stands for."""
    if isinstance(error, ManifestUnknown) and error.message.startswith("No such image"):
        return ManifestUnknown(f"No such image: {name}", **error.detail)
    return error
