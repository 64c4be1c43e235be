"""``entrepot tag``."""

from __future__ import annotations

from pathlib import Path

import click

from entrepot.cli.completion import complete_image
from entrepot.cli.local import on_store, root_option


@click.command()
@click.argument("source", shell_complete=complete_image)
@click.argument("target")
@root_option
def tag(source: str, target: str, root: Path) -> None:
    """Give an image another name, e.g. that of the registry it goes to.

    SOURCE is a name, NAME@DIGEST or an ID. If TARGET is taken, it moves to this image.

    \b
    Example:
      entrepot tag nginx:1.23.3 localhost:5000/nginx:1.23.3
      entrepot push localhost:5000/nginx:1.23.3
    """
    on_store(root, lambda store: store.tag(source, target))
