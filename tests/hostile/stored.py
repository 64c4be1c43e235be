"""What a registry holds, read from its folder while it runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

_TABLES = ("repositories", "blobs", "links", "manifests", "edges", "tags", "uploads")


@dataclass(frozen=True)
class Stored:
    """Names of all files below the folder but the database's, and the number of rows of each table."""

    files: frozenset[str]
    rows: tuple[tuple[str, int], ...]

    def count(self, table: str) -> int:
        return dict(self.rows)[table]


def look(root: Path) -> Stored:
    paths = (path for folder in ("blobs", "uploads", "quarantine") for path in (root / folder).rglob("*"))
    files = frozenset(str(path.relative_to(root)) for path in paths if path.is_file())
    with closing(sqlite3.connect(f"file:{root / 'entrepot.db'}?mode=ro", uri=True)) as database:
        rows = tuple((table, database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in _TABLES)
    return Stored(files, rows)
