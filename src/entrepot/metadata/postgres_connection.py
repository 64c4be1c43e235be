"""One connection to PostgreSQL, and operations run on it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import socket
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it comes without types

from entrepot.metadata.base import Lock, Operation, Row, Statement, Steps
from entrepot.metadata.leases import COMMIT, COMMIT_SECONDS
from entrepot.metadata.postgres_errors import FOREIGN, code_of
from entrepot.metadata.postgres_options import PostgresOptions
from entrepot.metadata.postgres_texts import text_of

_IDLE_IN_TRANSACTION_SECONDS = 15  # a replica that vanished must not hold its locks for long
_LONG_SECONDS = 600  # for what looks at many rows
_NUMBER_OF_THE_FUTURE = "22023"
_PREPARED = 500  # statements; there are about a hundred

_READ_MUCH = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '{_LONG_SECONDS}s'"
_STOP_SESSION = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND application_name = $2"

# The row goes with the transaction, so it tells whether that was committed. The transaction's number alone does not:
# after a crash the server may give a number that it has lost to another transaction.
_NOTE_COMMIT = """
    INSERT INTO leases (name, holder, fence, expires_at)
    SELECT $1::text, $2::text, 1, extract(epoch FROM now())::bigint + $3
    WHERE txid_current_if_assigned() IS NOT NULL
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
    RETURNING txid_current()
"""
_FIND_COMMIT = "SELECT 1 FROM leases WHERE name = $1 AND holder = $2"

T = TypeVar("T")


class Session(NamedTuple):
    """The server's side of a connection, by which another connection can end it."""

    pid: int
    name: str


class Commit(NamedTuple):
    """The end of a transaction: its number, and what will be on record when it is done."""

    transaction: int
    name: str
    holder: str


class PostgresConnection:
    """A connection that was opened by ``open``. Every method raises what asyncpg does."""

    _numbers = itertools.count(1)

    def __init__(self, connection: Any, name: str, generation: int, longest_seconds: float) -> None:
        self._connection = connection
        self.session = Session(connection.get_server_pid(), name)
        self.generation = generation
        self._longest_seconds = longest_seconds
        self._asked_at: float | None = None
        self._name = f"{COMMIT}{uuid.uuid4()}"
        self._commits = itertools.count(1)

    @classmethod
    async def open(cls, options: PostgresOptions, generation: int = 0) -> PostgresConnection:
        """Connect, in the time there is for that."""
        name = f"entrepot {socket.gethostname()[-30:]} {os.getpid()}/{next(cls._numbers)}"  # 63 bytes at most
        async with asyncio.timeout(options.connect_timeout_seconds):
            connection = await asyncpg.connect(
                options.url,
                timeout=options.connect_timeout_seconds,
                statement_cache_size=_PREPARED,
                max_cached_statement_lifetime=0,
                server_settings={"application_name": name},
            )
            try:
                await connection.execute(_settings(options))
            except BaseException:
                connection.terminate()
                raise
        return cls(connection, name, generation, options.statement_timeout_seconds)

    @property
    def is_closed(self) -> bool:
        return bool(self._connection.is_closed())

    def is_overdue(self, seconds: float) -> bool:
        """Whether an answer is so much later than the server would ever let a statement run."""
        return self._asked_at is not None and _now() > self._asked_at + self._longest_seconds + seconds

    @property
    def server_version(self) -> tuple[int, int]:
        version = self._connection.get_server_version()
        return version.major, version.minor

    def terminate(self) -> None:
        """Drop the connection at once; who waits for an answer gets an error."""
        self._connection.terminate()

    async def close(self) -> None:
        await self._connection.close(timeout=2)

    async def execute(self, script: str) -> None:
        """Run statements without parameters."""
        await self._answer(self._connection.execute(script))

    async def fetch(self, text: str, *arguments: object) -> list[Row]:
        """Run one statement with ``$1`` parameters."""
        return await self._answer(self._connection.fetch(text, *arguments))

    async def _answer(self, work: Coroutine[Any, Any, T]) -> T:
        self._asked_at = _now()
        try:
            return await work
        finally:
            self._asked_at = None

    async def stop(self, session: Session) -> None:
        """End another session, if it is there still."""
        await self.fetch(_STOP_SESSION, *session)

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation outside of a transaction, each statement for itself."""
        return await self._drive(iter(operation))

    async def change_at_once(self, operation: Operation[T], *, durable: bool) -> T:
        """Run an operation that is a single statement, in one round trip."""
        return await self._drive(iter(operation), durable=durable)

    async def read_much(self, operation: Operation[T]) -> T:
        """Run an operation whose statements all see one moment."""
        usual, self._longest_seconds = self._longest_seconds, _LONG_SECONDS
        try:
            await self.execute(_READ_MUCH)
            return await self._drive(iter(operation))
        finally:
            self._longest_seconds = usual
            if not self.is_closed:
                await self.execute("COMMIT")

    async def change(self, operation: Operation[T], *, durable: bool) -> T:
        """Run an operation in a transaction, which is left open for ``commit``, or rolled back when this raises."""
        steps = iter(operation)
        locks, first, result = _leading_locks(steps)
        try:
            await self.execute(_begin(locks, durable=durable))  # a lock that is not got leaves it open, too
            return result if first is None else await self._drive(steps, first, held=locks)
        except BaseException:
            if not self.is_closed:
                await self.execute("ROLLBACK")
            raise

    async def note_commit(self) -> Commit | None:
        """To be called right before ``commit``; None when the transaction has changed nothing."""
        holder = str(next(self._commits))
        rows = await self.fetch(_NOTE_COMMIT, self._name, holder, COMMIT_SECONDS)
        return Commit(rows[0][0], self._name, holder) if rows else None

    async def was_committed(self, commit: Commit) -> bool | None:
        """What became of a commit on another connection; None while it is still under way."""
        try:
            [[status]] = await self.fetch("SELECT txid_status($1)", commit.transaction)
        except FOREIGN as error:
            if code_of(error) != _NUMBER_OF_THE_FUTURE:  # the server has lost the transaction in a crash
                raise
            return False
        if status == "in progress":
            return None
        return bool(await self.fetch(_FIND_COMMIT, commit.name, commit.holder))

    async def commit(self) -> None:
        await self.execute("COMMIT")

    async def _drive(
        self, steps: Steps[T], statement: Statement | None = None, *, held: Sequence[Lock] = (), durable: bool = True
    ) -> T:
        try:
            if statement is None:
                statement = next(steps)
            while True:
                statement = steps.send(await self._run(statement, held, durable=durable))
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _run(self, statement: Statement, held: Sequence[Lock], *, durable: bool) -> list[Row]:
        if isinstance(statement, Lock):
            if statement not in held:
                await self.execute(_lock(statement))
            return []
        named, values = statement
        text = text_of(named)
        if isinstance(values, Mapping):
            return await self.fetch(text.text if durable else text.without_sync, *text.arguments(values))
        # sent all at once
        return await self._answer(self._connection.fetchmany(text.text, [text.arguments(each) for each in values]))


def _leading_locks(steps: Steps[T]) -> tuple[list[Lock], Statement | None, Any]:
    """The locks that come first, which go to the server with BEGIN; then the first statement, or else the result."""
    locks: list[Lock] = []
    try:
        statement = next(steps)
        while isinstance(statement, Lock):
            locks.append(statement)
            statement = steps.send([])
    except StopIteration as stop:
        return locks, None, stop.value
    return locks, statement, None


def _begin(locks: Sequence[Lock], *, durable: bool) -> str:
    lines = ["BEGIN ISOLATION LEVEL READ COMMITTED"]
    if not durable:
        lines.append("SET LOCAL synchronous_commit = off")
    return "; ".join([*lines, *map(_lock, locks)])


@lru_cache(10_000)
def _lock(lock: Lock) -> str:
    """Held to the end of the transaction. Two names with one number only wait for each other without need."""
    number = int.from_bytes(hashlib.blake2b(lock.name.encode(), digest_size=8).digest(), signed=True)
    return f"SELECT pg_advisory_xact_lock{'' if lock.exclusive else '_shared'}({number})"


def _settings(options: PostgresOptions) -> str:
    """Sent once it is open: not every pooler in between takes them when it opens."""
    return f"""
        SET statement_timeout = {int(options.statement_timeout_seconds * 1000)};
        SET lock_timeout = {int(options.lock_timeout_seconds * 1000)};
        SET idle_in_transaction_session_timeout = {_IDLE_IN_TRANSACTION_SECONDS * 1000};
        SET jit = off;
        SET tcp_keepalives_idle = 60;
        SET tcp_keepalives_interval = 10;
        SET tcp_keepalives_count = 3;
        SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
    """


def _now() -> float:
    return asyncio.get_running_loop().time()
