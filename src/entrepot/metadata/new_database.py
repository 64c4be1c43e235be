"""The tables of a new database as one script: what all migrations together make.

It is kept in ``sqlite_new.sql``, which ``make docs`` writes and a test holds against the migrations. Running these
takes most of a second, because Alembic has to be imported; many a command is done before that.

``python -m entrepot.metadata.new_database`` prints the script.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from entrepot.metadata.migrate import run_migrations


def script() -> str:
    """The statements of one transaction, made from a database that was migrated."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.db"
        run_migrations(path)
        with closing(sqlite3.connect(path)) as connection:
            lines = [line for line in connection.iterdump() if not line.startswith(("BEGIN", "COMMIT"))]
    return "BEGIN IMMEDIATE;\n" + "\n".join(lines) + "\nCOMMIT;\n"


if __name__ == "__main__":
    sys.stdout.write(script())
