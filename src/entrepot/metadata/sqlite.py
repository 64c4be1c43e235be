"""Metadata in a SQLite file, with everything it takes to run every operation."""

from __future__ import annotations

from pathlib import Path

from entrepot.metadata.compiled import Compiler
from entrepot.metadata.plain_sqlite import MOST_IN_ONE_TRANSACTION, Commit, PlainSqliteMetadata, commit
from entrepot.metadata.sqlite_connection import BUSY_SECONDS, translated

__all__ = ["BUSY_SECONDS", "MOST_IN_ONE_TRANSACTION", "Commit", "SqliteMetadata", "commit", "translated"]


class SqliteMetadata(PlainSqliteMetadata):
    """Metadata in the SQLite file at ``path``, whose tables must be there (see ``migrate``)."""

    def __init__(self, path: Path, *, commit: Commit = commit) -> None:
        super().__init__(path, commit=commit, compile=Compiler())
