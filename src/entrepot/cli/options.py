"""Flags that several commands share, and what they set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_WHERE: tuple[_Decorator, ...] = (
    click.option("--root", metavar="DIR", help="Folder with everything the registry stores."),
    click.option(
        "--database", metavar="URL", help="Where names are kept: sqlite:///FILE or postgresql://USER@HOST/NAME."
    ),
    click.option("--store", metavar="URL", help="Where content is kept: file:///FOLDER or s3://BUCKET/PREFIX."),
    click.option("--config", "config_file", metavar="FILE", type=click.Path(path_type=Path), help="Settings file."),
)


def where_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --root, --database, --store and --config."""
    for option in reversed(_WHERE):
        command = option(command)
    return command
