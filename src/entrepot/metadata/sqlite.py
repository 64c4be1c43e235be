"""Metadata in one SQLite file that any number of processes of one machine share.

Reads run on the event loop, on a connection of their own: microseconds each, and never blocked by a writer
(WAL). Writes go through one thread per process, which takes everything that waits into one transaction, so
that many small writes share one sync. Between processes a file lock makes the order fair; SQLite's own way
of waiting is to sleep and try again.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from entrepot.errors import Unavailable
from entrepot.metadata.base import Operation
from entrepot.metadata.sqlite_connection import connect, drive, drive_at_one_moment, translated

MOST_IN_ONE_TRANSACTION = 64

T = TypeVar("T")
Commit = Callable[[sqlite3.Connection], None]


def commit(connection: sqlite3.Connection) -> None:
    """End the transaction; when this returns it is on the disk. Fault injectors take this one's place."""
    connection.execute("COMMIT")


@dataclass(frozen=True, slots=True)
class _Job:
    operation: Operation[Any]
    durable: bool
    done: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Outcome:
    job: _Job
    result: Any = None
    error: BaseException | None = None


class SqliteMetadata:
    """Metadata in the SQLite file at ``path``, whose tables must be there (see ``migrate``)."""

    def __init__(self, path: Path, *, commit: Commit = commit) -> None:
        self._path = path
        self._commit = commit
        self._reader = self._connect()
        self._file = os.stat(path)
        self._much = ThreadPoolExecutor(1, thread_name_prefix="sqlite-read")
        self._much_reader: sqlite3.Connection | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        self._writer: threading.Thread | None = None  # begun by the first write: many a command only reads

    def _begin_writing(self) -> threading.Thread:
        writer = threading.Thread(target=self._write_all, args=(self._connect(),), name="sqlite-write", daemon=True)
        writer.start()
        return writer

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path)

    @property
    def is_out_of_reach(self) -> bool:
        return False  # it is a file here

    async def read(self, operation: Operation[T]) -> T:
        return self._drive(self._reader, operation)

    async def read_much(self, operation: Operation[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._much, self._read_there, operation)

    def _read_there(self, operation: Operation[T]) -> T:
        if self._much_reader is None:
            self._much_reader = self._connect()
        return drive_at_one_moment(self._much_reader, operation)

    async def write(self, operation: Operation[T], *, durable: bool = True) -> T:
        if self._writer is None:
            self._require_same_file()
            self._writer = self._begin_writing()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(operation, durable, done))
        return await done

    async def check(self) -> None:
        self._require_same_file()
        with translated():
            self._reader.execute("SELECT 1 FROM repositories LIMIT 1").fetchall()

    def _require_same_file(self) -> None:
        # the connections would go on with a file that nobody will find again
        try:
            is_same = os.path.samestat(os.stat(self._path), self._file)
        except OSError as error:
            raise Unavailable(f"the database cannot be found: {error.strerror}", path=str(self._path)) from error
        if not is_same:
            raise Unavailable("the database was replaced by another file; restart the server", path=str(self._path))

    async def close(self) -> None:
        if self._writer is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._writer.join)
        os.close(self._lock)
        self._much.shutdown()
        self._reader.close()
        if self._much_reader is not None:
            self._much_reader.close()

    def _drive(self, connection: sqlite3.Connection, operation: Operation[T]) -> T:
        return drive(connection, operation)

    def _write_all(self, connection: sqlite3.Connection) -> None:
        with closing(connection):
            while (job := self._jobs.get()) is not None:
                batch, is_last = self._with_waiting(job)
                with _locked(self._lock):
                    outcomes = self._run(connection, batch)
                _tell(outcomes)
                if is_last:
                    break

    def _with_waiting(self, first: _Job) -> tuple[list[_Job], bool]:
        batch = [first]
        with suppress(queue.Empty):
            while len(batch) < MOST_IN_ONE_TRANSACTION:
                job = self._jobs.get_nowait()
                if job is None:
                    return batch, True
                batch.append(job)
        return batch, False

    def _run(self, connection: sqlite3.Connection, batch: list[_Job]) -> list[_Outcome]:
        outcomes: list[_Outcome] = []
        try:
            with translated():
                durable = any(job.durable for job in batch)
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                connection.execute("BEGIN IMMEDIATE")
                for job in batch:
                    outcomes.append(self._run_one(connection, job))
                self._commit(connection)
                return outcomes
        except Exception as error:
            _roll_back(connection)
            return _all_failed(batch, outcomes, error)

    def _run_one(self, connection: sqlite3.Connection, job: _Job) -> _Outcome:
        connection.execute("SAVEPOINT one")
        try:
            result = self._drive(connection, job.operation)
        except Exception as error:
            if not connection.in_transaction:  # the database gave up the whole of it, as it does when it is full
                raise
            connection.execute("ROLLBACK TO one")
            connection.execute("RELEASE one")
            return _Outcome(job, error=error)
        connection.execute("RELEASE one")
        return _Outcome(job, result)


def _all_failed(batch: list[_Job], outcomes: list[_Outcome], error: Exception) -> list[_Outcome]:
    """The batch failed as a whole with ``error``; operations that had failed before that keep their own."""
    own = {id(outcome.job): outcome.error for outcome in outcomes}
    return [_Outcome(job, error=own.get(id(job)) or error) for job in batch]


def _tell(outcomes: list[_Outcome]) -> None:
    with suppress(RuntimeError):  # the event loop was closed meanwhile: nobody is waiting
        outcomes[0].job.done.get_loop().call_soon_threadsafe(_settle, outcomes)


def _settle(outcomes: list[_Outcome]) -> None:
    for outcome in outcomes:
        if outcome.job.done.done():  # its waiter was cancelled
            continue
        if outcome.error is not None:
            outcome.job.done.set_exception(outcome.error)
        else:
            outcome.job.done.set_result(outcome.result)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


@contextmanager
def _locked(fd: int) -> Iterator[None]:
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)
