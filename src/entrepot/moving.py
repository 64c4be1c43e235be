"""The composition root of ``entrepot admin migrate``: opens the place that is left and the one that is moved to."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from entrepot.backends import Backends, database_name, is_shared, open_backends, prepare, store_name
from entrepot.config import Settings
from entrepot.errors import ConfigInvalid, Unavailable
from entrepot.jobs.move import Move
from entrepot.jobs.move_report import Listener, Moved, Place
from entrepot.metadata import moves


def move_registry(source: Settings, target: Settings, listener: Listener) -> Moved:
    """Move everything; when both name the same store, only names. Raises ConfigInvalid, Unavailable, Corrupt."""
    _require_embedded(source)
    if database_name(source) == database_name(target):
        raise ConfigInvalid(f"{database_name(target)} is where names are kept already", place=database_name(target))
    with _alone(source):
        prepare(source)
        prepare(target, may_adopt=store_name(source) == store_name(target))
        return asyncio.run(_move(source, target, listener))


async def _move(source: Settings, target: Settings, listener: Listener) -> Moved:
    async with _opened(source) as old, _opened(target) as new:
        keeps_store = store_name(source) == store_name(target)
        return await Move(
            Place(old.metadata, old.store, database_name(source), store_name(source)),
            Place(
                new.metadata,
                old.store if keeps_store else new.store,
                database_name(target),
                store_name(target),
                is_shared(target),
            ),
            keeps_store,
            listener,
        ).run()


def undo_move(settings: Settings) -> str | None:
    """Let the place that was moved away from take writes again: where to it was moved, None when it was not."""
    _require_embedded(settings)

    async def undo() -> str | None:
        async with _opened(settings) as opened:
            undone = await opened.metadata.write(moves.undo())
            return undone.place if undone is not None else None

    with _alone(settings):
        prepare(settings)
        return asyncio.run(undo())


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One process at a time moves a registry; the lock ends with it."""
    with open(f"{settings.database_path}.move", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"another process is moving {database_name(settings)}; let it end, or end it") from None
        yield


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Backends]:
    opened = open_backends(settings)
    try:
        yield opened
    finally:
        await opened.close()


def _require_embedded(settings: Settings) -> None:
    if settings.postgresql_url is not None:
        raise ConfigInvalid(
            "names are in PostgreSQL already, from where pg_dump and pg_restore take them elsewhere; this command "
            "moves a SQLite database",
            hint="--database sqlite:///FILE names one that the settings do not name any more",
        )
    if not settings.database_path.is_file():
        raise ConfigInvalid(f"there is no registry here: {settings.database_path} does not exist")
