"""What commands on the image store share: where it is, and how they get at it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from entrepot.folders import default_root

if TYPE_CHECKING:
    from entrepot.image_store.store import ImageStore

T = TypeVar("T")

_OPENING = "entrepot.image_store.opening"  # with asyncio 100 ms, which `entrepot images` can do without
_SHORT_ID = 12  # hex digits


def root_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --root; the command gets the folder as ``root``."""
    return click.option(
        "--root",
        metavar="DIR",
        envvar="ENTREPOT_ROOT",
        type=click.Path(path_type=Path, file_okay=False),
        callback=_root,
        help="Folder with the images.",
    )(command)


def _root(_: click.Context, __: click.Parameter, value: Path | None) -> Path:
    return value.expanduser() if value is not None else default_root(os.environ)


def on_store(root: Path, work: Callable[[ImageStore], Awaitable[T]]) -> T:
    """Open the store, do the work, close it."""
    import asyncio

    open_image_store = importlib.import_module(_OPENING).open_image_store

    async def run() -> T:
        async with open_image_store(root) as store:
            return await work(store)

    return asyncio.run(run())


def short_id(digest: str) -> str:
    """As docker shortens IDs: 12 hex digits."""
    return digest.partition(":")[2][:_SHORT_ID] or digest[:_SHORT_ID]
