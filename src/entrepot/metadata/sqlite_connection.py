"""One connection to a SQLite file, and operations run on it; what ``entrepot images`` needs, and not much more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from entrepot.errors import Corrupt, DatabaseBusy, StorageFull, Unavailable
from entrepot.metadata.base import Lock, Operation, Parameters, Row, Statement
from entrepot.metadata.named import Named
from entrepot.metadata.texts import with_values

BUSY_SECONDS = 30.0
_HELD_OFF_SECONDS = 15

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -8192",  # KiB
    "PRAGMA temp_store = MEMORY",
)

T = TypeVar("T")


def connect(path: Path) -> sqlite3.Connection:
    """Open a database that is there. Raises what ``translated`` does."""
    with translated():
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",  # never makes a new, empty file
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,  # we say BEGIN ourselves
            check_same_thread=False,
            cached_statements=256,
        )
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        return connection


def drive(connection: sqlite3.Connection, operation: Operation[T]) -> T:
    """Run an operation."""
    with translated():
        try:
            steps = iter(operation)
            statement = next(steps)
            while True:
                statement = steps.send(_execute(connection, statement))
        except StopIteration as stop:
            result: T = stop.value
            return result


def drive_at_one_moment(connection: sqlite3.Connection, operation: Operation[T]) -> T:
    """Run an operation that changes nothing, and whose statements do not see what others change meanwhile."""
    with translated():
        connection.execute("BEGIN")
        try:
            return drive(connection, operation)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _execute(connection: sqlite3.Connection, statement: Statement) -> list[Row]:
    if isinstance(statement, Lock):  # there is one writer at a time
        return []
    text, values = statement
    if isinstance(values, Mapping):
        return connection.execute(*_prepared(text, values)).fetchall()
    return [row for each in values for row in connection.execute(*_prepared(text, each))]


def _prepared(text: str, values: Parameters) -> tuple[str, Any]:
    return with_values(text, values) if isinstance(text, Named) else (text, values)


@contextmanager
def translated() -> Iterator[None]:
    """Let SQLite's errors out as ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _translate(error) from error


def _translate(error: sqlite3.DatabaseError) -> Exception:
    exact = getattr(error, "sqlite_errorcode", 0)
    code = exact & 0xFF
    if code == sqlite3.SQLITE_FULL or exact == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StorageFull("no space left to record this; free some space and try again", database=str(error))
    if exact == sqlite3.SQLITE_CONSTRAINT_TRIGGER:  # writers are held off, see moves.py; it says why
        return Unavailable(str(error), retry_after_seconds=_HELD_OFF_SECONDS)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return DatabaseBusy(f"the database was busy for {BUSY_SECONDS:.0f} seconds", database=str(error))
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Corrupt(f"the database is damaged: {error}", database=str(error))
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return Unavailable(f"the database cannot be read or written: {error}", database=str(error))
    return error
