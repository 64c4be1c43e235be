"""Metadata in a PostgreSQL database that any number of replicas share.

A read of few rows is one statement by itself; a write is a transaction, READ COMMITTED, with the locks that its
operation names. What the database breaks off is run again, as long as it has not been committed: when the answer to a
COMMIT is lost, the server is asked what became of the transaction, which has left a mark of itself. So a restart of the
server, a failover or a cut in the network costs time and no request, unless it lasts for longer than ``wait_seconds``.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from entrepot.errors import Unavailable
from entrepot.metadata.base import Operation
from entrepot.metadata.postgres_connection import Commit, PostgresConnection, Session
from entrepot.metadata.postgres_errors import FOREIGN, is_conflict, is_lost, translated, unreachable
from entrepot.metadata.postgres_options import PostgresOptions
from entrepot.metadata.postgres_pool import PostgresPool

_MOST_CONFLICTS = 20
_LONGEST_PAUSE = 0.2
_SETTLE_SECONDS = 0.05
_MUCH_AT_ONCE = 2  # reads of many rows, so that there are connections for the others

T = TypeVar("T")
Run = Callable[[PostgresConnection], Awaitable[T]]


class _AnswerLost(Exception):
    """A COMMIT was sent, and nobody knows whether it was done."""

    def __init__(self, commit: Commit, session: Session, result: Any) -> None:
        super().__init__(commit)
        self.commit = commit
        self.session = session
        self.result = result


class PostgresMetadata:
    """Metadata in the database that ``options`` name, whose tables must be there (see ``migrate_postgresql``)."""

    def __init__(self, options: PostgresOptions) -> None:
        self._options = options
        self._pool = PostgresPool(options)
        self._much = asyncio.Semaphore(_MUCH_AT_ONCE)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def is_out_of_reach(self) -> bool:
        return self._pool.is_out_of_reach

    async def read(self, operation: Operation[T]) -> T:
        return await self._to_its_end(self._run(lambda connection: connection.read(operation)))

    async def read_much(self, operation: Operation[T]) -> T:
        return await self._to_its_end(self._in_turn(operation))

    async def write(self, operation: Operation[T], *, durable: bool = True) -> T:
        return await self._to_its_end(self._run(lambda connection: _transact(connection, operation, durable=durable)))

    async def check(self) -> None:
        wrong = None if self.is_out_of_reach else await self._to_its_end(self._pool.feel_pulse())
        if self.is_out_of_reach:
            raise Unavailable(f"the database cannot be reached: {self._pool.reason}", database=self._pool.reason)
        if wrong is not None:
            raise Unavailable(f"the database cannot be read: {wrong}", database=str(wrong)) from wrong

    async def close(self) -> None:
        if self._tasks and not self.is_out_of_reach:
            await asyncio.wait(self._tasks, timeout=self._options.wait_seconds)
        await self._pool.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Whoever stops waiting does not break off what the database does, and the connection stays of use."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    async def _in_turn(self, operation: Operation[T]) -> T:
        async with self._much:  # to the end of the work, though nobody may be waiting for it any more
            return await self._run(lambda connection: connection.read_much(operation))

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be waiting for it any more

    async def _run(self, run: Run[T], *, wait_seconds: float | None = None) -> T:
        """Run something on a connection, again and again while it is only broken off."""
        deadline = _now() + (self._options.wait_seconds if wait_seconds is None else wait_seconds)
        for attempt in itertools.count():
            connection = await self._pool.acquire(deadline)
            try:
                result = await run(connection)
            except _AnswerLost as lost:
                self._pool.lose(connection, lost.__cause__ or lost)
                if await self._was_committed(lost, deadline):
                    return lost.result  # type: ignore[no-any-return]  # what ``run`` would have returned
            except FOREIGN as error:
                await self._survive(connection, error, attempt, deadline)
            except BaseException:  # the operation's own
                self._pool.release(connection)
                raise
            else:
                self._pool.release(connection)
                return result
        raise AssertionError("there is always another attempt")

    async def _survive(self, connection: PostgresConnection, error: Exception, attempt: int, deadline: float) -> None:
        """Give the connection back, and return when another attempt is worth while."""
        if _is_broken(connection, error):
            self._pool.lose(connection, error)
            if _now() >= deadline:
                raise unreachable(error) from error
            return
        self._pool.release(connection)
        if not is_conflict(error) or attempt >= _MOST_CONFLICTS or _now() >= deadline:
            raise translated(error) from error
        await asyncio.sleep(random.uniform(0, min(0.01 * 2**attempt, _LONGEST_PAUSE)))  # noqa: S311

    async def _was_committed(self, lost: _AnswerLost, deadline: float) -> bool:
        """What became of a transaction. Raises Unavailable when that cannot be found out in time."""
        try:
            while _now() < deadline:
                done = await self._run(lambda connection: _is_done(connection, lost), wait_seconds=deadline - _now())
                if done is not None:
                    return done
                await asyncio.sleep(_SETTLE_SECONDS)
            reason = "its transaction does not end"
        except Unavailable as error:
            reason = error.message
        raise Unavailable(f"it is not known whether this was recorded: {reason}", database=reason)


async def _transact(connection: PostgresConnection, operation: Operation[T], *, durable: bool) -> T:
    if operation.is_single:
        return await connection.change_at_once(operation, durable=durable)
    result = await connection.change(operation, durable=durable)
    commit = await connection.note_commit()
    try:
        await connection.commit()
    except FOREIGN as error:
        if commit is None or not _is_broken(connection, error):
            raise
        raise _AnswerLost(commit, connection.session, result) from error
    return result


async def _is_done(connection: PostgresConnection, lost: _AnswerLost) -> bool | None:
    done = await connection.was_committed(lost.commit)
    if done is None:
        await connection.stop(lost.session)
    return done


def _is_broken(connection: PostgresConnection, error: BaseException) -> bool:
    return connection.is_closed or (is_lost(error) and not isinstance(error, OSError))


def _now() -> float:
    return asyncio.get_running_loop().time()
