"""Moves a registry to another database and, if asked, its bytes to another store, while it is being read.

First bytes are copied, while pushes go on; what was pushed meanwhile is copied in further rounds. Then writers are
held off, as short as possible: the last bytes, and all rows, go over and are compared, and the old database is marked,
so that it takes no more writes. It keeps everything else, as a backup.

A move that was broken off goes on where it was when it is started again: bytes are not copied twice, rows are.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, TypeVar

from entrepot.errors import ConfigInvalid, Unavailable
from entrepot.jobs.move_blobs import BlobMove
from entrepot.jobs.move_report import Listener, Moved, Place, Progress, Step, ignore
from entrepot.jobs.move_rows import RowMove
from entrepot.metadata import moves, tables
from entrepot.metadata.base import Metadata
from entrepot.metadata.moves import Destination, Origin
from entrepot.metadata.statistics import count_everything

_HOLD_SECONDS = 20
_SECONDS_BETWEEN_RENEWALS = 4.0
_MOST_ROUNDS = 10
_SHRINKS = 0.7  # what a round may have left to do of the one before, to be worth another
_FEW_BLOBS, _FEW_BYTES = 50, 64 * 1024 * 1024  # so much may be left for the time when writers are held off

T = TypeVar("T")


@dataclass(slots=True)
class Move:
    """One move. With ``keeps_store`` the bytes stay where they are, and only rows go over."""

    source: Place
    target: Place
    keeps_store: bool
    listener: Listener = ignore
    now: Callable[[], float] = time.time
    _holder: str = field(default_factory=lambda: str(uuid.uuid4()))

    async def run(self) -> Moved:
        """Raises ConfigInvalid when the target is not empty, Corrupt when what arrives is not what was sent.

        Nobody else must be moving the same source.
        """
        if await self._is_done():
            return await self._summary(Moved(was_done=True))
        await self._begin()
        moved, blobs = Moved(), BlobMove(self.source, self.target, self.listener, keeps_store=self.keeps_store)
        await self._copy_bytes(blobs)
        await self._mark_target(is_complete=False)  # the rows to come are of this run
        rows = RowMove(self.source.metadata, self.target.metadata, self.listener)
        await rows.clear()
        await self._hold_writers()
        try:
            await _while_kept(self._finish(moved, blobs, rows), self._keep_holding)
        finally:
            with suppress(Unavailable):
                await self.source.metadata.write(moves.let_writers_in(self._holder))
        return await self._summary(moved)

    async def _copy_bytes(self, blobs: BlobMove) -> None:
        before = inf
        for number in range(_MOST_ROUNDS):
            count, size = await blobs.run_round(look_at_bytes=number == 0)
            left = max(count / _FEW_BLOBS, size / _FEW_BYTES)
            if left <= 1 or left > _SHRINKS * before:  # little is left, or as much comes as goes
                return
            before = left

    async def _hold_writers(self) -> None:
        self.listener(Progress(Step.HOLDING, 0, 0))
        hold = moves.hold_writers(self._holder, now=self._seconds(), seconds=_HOLD_SECONDS)
        await self.source.metadata.write(hold)

    async def _finish(self, moved: Moved, blobs: BlobMove, rows: RowMove) -> None:
        """What is done while writers are held off."""
        started = time.monotonic()
        moved.damaged += await blobs.run_last_round()
        moved.damaged += await rows.copy()
        await blobs.compare()
        await rows.compare()
        finish = moves.finish_source(Destination(self.target.name, self._holder), now=self._seconds())
        await self.source.metadata.write(finish)  # from here on the old place takes no writes
        await self._mark_target(is_complete=True)
        moved.seconds_held = time.monotonic() - started

    async def _summary(self, moved: Moved) -> Moved:
        moved.blob_bytes = (await self.target.metadata.read_much(count_everything())).blob_bytes
        for name in ("blobs", *(table.name for table in tables.TABLES)):
            moved.rows[name] = await self.target.metadata.read_much(tables.count_rows(name))
        moved.uploads = await self.source.metadata.read_much(tables.count_rows("uploads"))
        return moved

    async def _is_done(self) -> bool:
        """Whether an earlier run has come to its end, or to its last step. Raises ConfigInvalid."""
        to = await self.source.metadata.read(moves.moved_to())
        if to is None:
            return False
        mark = await self.target.metadata.read(moves.origin())
        if mark is None or mark.run != to.run:
            raise ConfigInvalid(
                f"this registry was moved to {to.place} before; entrepot admin migrate --undo lets it be used again, "
                "without what was pushed there since",
                place=to.place,
            )
        if not mark.is_complete:
            await self.target.metadata.write(moves.put_origin(replace(mark, is_complete=True)))
        return True

    async def _begin(self) -> None:
        """Make sure that the target may be written to, and mark it as ours."""
        source_id = await self._source_id()
        if await self.target.metadata.read(moves.find_database_id()) == source_id:
            raise ConfigInvalid(f"{self.target.name} is where everything is already", place=self.target.name)
        if self.target.is_shared:
            await self._require_unused()
        mark = await self.target.metadata.read(moves.origin())
        if mark is None:
            await self._require_empty()
            await self._mark_target(is_complete=False)
        else:
            self._require_ours(mark, source_id)

    def _require_ours(self, mark: Origin, source_id: str) -> None:
        name = self.target.name
        if mark.id != source_id:
            raise ConfigInvalid(f"{name} holds another registry, or part of it: name an empty database", place=name)
        if mark.is_complete:
            raise ConfigInvalid(
                f"{name} holds what this registry was moved to before, and maybe what was pushed there since: "
                "name an empty database",
                place=name,
            )
        if mark.store != self.target.store_name:
            raise ConfigInvalid(
                f"{name} holds part of a move whose bytes went to {mark.store}: name that once more, "
                "or an empty database",
                expected=mark.store,
                actual=self.target.store_name,
            )

    async def _require_unused(self) -> None:
        """What a server there took meanwhile would be lost; one that is started later refuses to."""
        users = await self.target.metadata.read(moves.other_users())
        if users:
            processes = ", ".join(users)
            raise ConfigInvalid(
                f"{self.target.name} is in use by other processes of entrepot (host and process id): {processes}; "
                "stop those until everything is moved",
                users=processes,
            )

    async def _require_empty(self) -> None:
        names = ("repositories", "manifests", "blobs")
        counts = [await self.target.metadata.read_much(tables.count_rows(name)) for name in names]
        if any(counts):
            held = ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True))
            raise ConfigInvalid(f"{self.target.name} is not empty ({held}): name an empty database", held=held)
        if self.keeps_store:
            return
        async for blob in self.target.store.walk():
            name = self.target.store_name
            raise ConfigInvalid(f"{name} holds blobs already, e.g. {blob.digest}: name an empty place", place=name)

    async def _mark_target(self, *, is_complete: bool) -> None:
        mark = Origin(await self._source_id(), self.target.store_name, self._holder, is_complete)
        await self.target.metadata.write(moves.put_origin(mark))

    async def _source_id(self) -> str:
        return await self.source.metadata.write(moves.database_id(str(uuid.uuid4())))

    async def _keep_holding(self) -> None:
        hold = moves.go_on_holding(self._holder, now=self._seconds(), seconds=_HOLD_SECONDS)
        await self.source.metadata.write(hold, durable=False)

    def _seconds(self) -> int:
        return int(self.now())


async def require_complete(metadata: Metadata) -> None:
    """Raises ConfigInvalid for the target of a move that has not come to its end: it would be overwritten."""
    mark = await metadata.read(moves.origin())
    if mark is not None and not mark.is_complete:
        raise ConfigInvalid(
            "a registry is being moved to this database, and is not all there: let entrepot admin migrate come to its "
            "end, or run it once more",
            store=mark.store,
        )


async def _while_kept(work: Coroutine[Any, Any, T], keep: Callable[[], Awaitable[None]]) -> T:
    """The result of ``work``, beside which ``keep`` is called again and again; when that fails the work is ended."""
    working = asyncio.ensure_future(work)
    keeping = asyncio.create_task(_keep_for_ever(keep))
    try:
        await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            keeping.result()
        return await working
    finally:
        working.cancel()
        keeping.cancel()
        await asyncio.gather(working, keeping, return_exceptions=True)


async def _keep_for_ever(keep: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(_SECONDS_BETWEEN_RENEWALS)
        await keep()
