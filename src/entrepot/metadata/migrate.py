"""Brings a SQLite file to the tables this version needs."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from entrepot.errors import Corrupt
from entrepot.metadata.sqlite_connection import BUSY_SECONDS, translated
from entrepot.metadata.versions import HEAD, Version

NEW_DATABASE = "sqlite_new.sql"  # see new_database.py
SCRIPTS = Path(__file__).parent / "migrations"


def upgrade_sqlite(path: Path) -> None:
    """Create the file, or run the migrations it lacks. Safe when several processes do it at once.

    Raises Unavailable when the file was written by a later version, Corrupt when it is no database.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path), _naming(path), translated():
        version = _version(path)
        version.require_known(str(path))
        if version.revision is None and _is_new(path):
            _create(path)
        elif not version.is_usable:
            run_migrations(path)
        _keep_a_log(path)


def is_current(path: Path) -> bool:
    """Whether the file is there with the tables this version needs. Raises Corrupt when it is no database."""
    with _naming(path), translated():
        return _version(path).is_usable


def _keep_a_log(path: Path) -> None:
    # Here, where nobody else is: of two workers that do it at once, one is told that the database is locked, at
    # once, whatever its timeout.
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _version(path: Path) -> Version:
    if not path.exists():
        return Version()
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        return Version(
            _one(connection, "SELECT version_num FROM alembic_version"),
            _one(connection, "SELECT least FROM compatibility"),
        )


def _one(connection: sqlite3.Connection, select: str) -> str | None:
    try:
        rows = connection.execute(select).fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        return None  # there is no such table
    return rows[0][0] if rows else None


def _is_new(path: Path) -> bool:
    if not path.exists():
        return True
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        return not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()


def _create(path: Path) -> None:
    script = files("entrepot.metadata").joinpath(NEW_DATABASE).read_text("utf-8")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(script)  # one transaction: all tables, or none


def run_migrations(path: Path, *, to: str = HEAD) -> None:
    """Bring the database to a version step by step; without a file, from nothing."""
    # Alembic takes half a second to import, and is needed on the first start of a version only.
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, event

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _leave_transactions_to_us)
    event.listen(engine, "begin", _begin)
    try:
        with _unwrapped(), engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, to)
    finally:
        engine.dispose()


def _leave_transactions_to_us(connection: Any, _: Any) -> None:
    # Python's driver begins no transaction before CREATE TABLE, and a process killed between two tables would
    # leave a database that no version can open
    connection.isolation_level = None


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _unwrapped() -> Iterator[None]:
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        raise (error.orig or error) from error


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except Corrupt as error:
        raise Corrupt(f"cannot use {path}: {error.message}", path=str(path)) from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with open(f"{path}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
