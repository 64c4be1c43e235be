"""The connections of one process, and what happens when they break.

One connection that breaks makes all that lie idle suspect: they are dropped, and a task looks for the server until it
answers. Meanwhile whoever wants a connection waits, until his deadline.

A server that is frozen, or behind a network that lost its way, breaks nothing; it only says nothing. So while somebody
waits for an answer, the pulse is felt on a connection for that: without one, all are given up. A single connection that
somebody on the way has forgotten is given up when the server would have ended its statement long ago.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import suppress

from entrepot.errors import DatabaseBusy, Unavailable
from entrepot.metadata.postgres_connection import PostgresConnection, Session
from entrepot.metadata.postgres_errors import FOREIGN, is_crowded, is_lost, reason_of, translated, unreachable
from entrepot.metadata.postgres_options import PostgresOptions

_LOOK_SECONDS = 1.0  # between two looks at who waits; also how long somebody waits before the pulse is felt
_SHORTEST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_MOST_GHOSTS = 1000
_BEAT = "SELECT 1 FROM repositories LIMIT 1"


class PostgresPool:
    """Must be used in one event loop; nothing is connected before the first ``acquire``."""

    def __init__(self, options: PostgresOptions) -> None:
        self._options = options
        self._slots = asyncio.Semaphore(options.pool_size)
        self._idle: list[PostgresConnection] = []
        self._busy: dict[PostgresConnection, float] = {}  # since when
        self._generation = 0  # grows with every break
        self._ghosts: deque[Session] = deque(maxlen=_MOST_GHOSTS)  # of connections that broke, with their locks
        self._is_reachable = asyncio.Event()
        self._is_reachable.set()
        self._is_closed = False
        self._reason: BaseException | None = None
        self._pulse: PostgresConnection | None = None
        self._feeling = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    @property
    def is_out_of_reach(self) -> bool:
        return not self._is_reachable.is_set()

    @property
    def reason(self) -> str:
        """Why it is out of reach."""
        return reason_of(self._reason) if self._reason is not None else ""

    async def acquire(self, deadline: float) -> PostgresConnection:
        """A connection for the caller alone, until ``release`` or ``lose``. Raises Unavailable, DatabaseBusy."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        await self._take_slot(deadline)
        try:
            connection = await self._connection(deadline)
        except BaseException:
            self._slots.release()
            raise
        self._busy[connection] = _now()
        return connection

    def release(self, connection: PostgresConnection) -> None:
        """Give back a connection that works."""
        self._busy.pop(connection, None)
        if connection.generation == self._generation and not connection.is_closed and not self._is_closed:
            self._idle.append(connection)
        else:
            connection.terminate()
        self._slots.release()

    def lose(self, connection: PostgresConnection, error: BaseException) -> None:
        """Give back a connection that broke."""
        self._busy.pop(connection, None)
        self._slots.release()
        self._drop(connection)
        if connection.generation == self._generation:  # else the break is known, and mended perhaps
            self._break(error)

    async def close(self) -> None:
        """Drop all connections; those that are in use too."""
        self._is_closed = True
        self._is_reachable.set()  # who waits for it shall see that it is closed
        tasks = [task for task in (self._watching, self._looking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in self._busy:
            connection.terminate()
        idle = [*self._idle, *([self._pulse] if self._pulse else [])]
        self._idle, self._pulse = [], None
        await asyncio.gather(*(connection.close() for connection in idle), return_exceptions=True)

    async def _take_slot(self, deadline: float) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # without waiting
            return
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError:
            if self.is_out_of_reach:
                raise unreachable(self._reason) from None
            raise DatabaseBusy(
                f"all {self._options.pool_size} connections to the database were in use for "
                f"{self._options.wait_seconds:.0f} seconds",
                pool_size=self._options.pool_size,
            ) from None

    async def _connection(self, deadline: float) -> PostgresConnection:
        while True:
            await self._until_reachable(deadline)
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed:
                    return connection
            try:
                return await self._open()
            except FOREIGN as error:
                await self._survive(error, deadline)

    async def _survive(self, error: Exception, deadline: float) -> None:
        """After a failed attempt to connect: return when another is worth while."""
        if is_lost(error) and not is_crowded(error) and not self.is_out_of_reach:
            self._break(error)
        if _now() >= deadline or not (is_lost(error) or is_crowded(error)):
            raise translated(error) from error
        if is_crowded(error):  # others work, so one of theirs may become free
            await asyncio.sleep(random.uniform(0.05, 0.15))  # noqa: S311

    async def _until_reachable(self, deadline: float) -> None:
        if not self._is_reachable.is_set():
            try:
                async with asyncio.timeout_at(deadline):
                    await self._is_reachable.wait()
            except TimeoutError:
                raise unreachable(self._reason) from None
        if self._is_closed:
            raise Unavailable("the registry is being stopped")

    async def _open(self) -> PostgresConnection:
        return await PostgresConnection.open(self._options, self._generation)

    def _drop(self, connection: PostgresConnection) -> None:
        connection.terminate()
        self._ghosts.append(connection.session)

    def _break(self, error: BaseException) -> None:
        self._generation += 1
        self._reason = error
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()
        if not self._is_closed and self._looking is None:
            self._is_reachable.clear()
            self._looking = asyncio.create_task(self._look_for_it())

    async def _look_for_it(self) -> None:
        """Until the server answers, and no connection has broken meanwhile."""
        pause = _SHORTEST_PAUSE
        while True:
            try:
                connection = await self._open()
                await self._stop_ghosts(connection)
                if connection.generation == self._generation:
                    self._idle.append(connection)
                    break
                connection.terminate()
            except FOREIGN as error:
                self._reason = error
                if is_crowded(error):  # it is there, then
                    break
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._looking = None
        self._is_reachable.set()

    async def _stop_ghosts(self, connection: PostgresConnection) -> None:
        """End the sessions of broken connections, which the server may believe alive, with their locks."""
        with suppress(*FOREIGN):
            while self._ghosts:
                await connection.stop(self._ghosts.popleft())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for connection in self._busy:
                if connection.is_overdue(self._options.silence_seconds):
                    connection.terminate()  # whoever uses it is told by that, and loses it
            if not self.is_out_of_reach and min(self._busy.values(), default=_now()) < _now() - _LOOK_SECONDS:
                await self.feel_pulse()

    async def feel_pulse(self) -> BaseException | None:
        """Whether the server answers, on a connection for that: None, or what is wrong."""
        async with self._feeling:
            generation, is_connected = self._generation, self._pulse is not None
            beat = asyncio.create_task(self._beat())
            await asyncio.wait({beat}, timeout=self._options.silence_seconds)
            if not beat.done():
                self._give_up_all(TimeoutError())
                if not is_connected:  # else its connection is dropped, and that ends it
                    beat.cancel()
            [error] = await asyncio.gather(beat, return_exceptions=True)
            if isinstance(error, BaseException) and is_lost(error) and generation == self._generation:
                self._give_up_all(error)
            return error if isinstance(error, BaseException) and not is_crowded(error) else None

    async def _beat(self) -> None:
        generation = self._generation
        if self._pulse is not None:
            try:
                await self._pulse.execute(_BEAT)
                return
            except FOREIGN as error:
                if generation != self._generation or not is_lost(error):
                    raise
            self._pulse.terminate()  # it may have been this connection only
            self._pulse = None
        self._pulse = await self._open()
        # a table that somebody has locked is no silence
        await self._pulse.execute(f"SET lock_timeout = {int(self._options.silence_seconds * 500)}")
        await self._pulse.execute(_BEAT)

    def _give_up_all(self, error: BaseException) -> None:
        if self._pulse is not None:
            self._pulse.terminate()
            self._pulse = None
        for connection in self._busy:
            self._drop(connection)  # their users are told by it, and lose them
        self._break(error)


def _now() -> float:
    return asyncio.get_running_loop().time()
