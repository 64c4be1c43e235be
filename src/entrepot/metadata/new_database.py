"""The tables as plain SQL, so that nobody has to import Alembic, which takes most of a second.

For SQLite one script that makes a new database, for PostgreSQL a script for each migration. They are kept in files,
which ``make docs`` writes and a test holds against the migrations.

``python -m entrepot.metadata.new_database sqlite`` (or ``postgresql``) prints them.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from io import StringIO
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from entrepot.metadata.migrate import SCRIPTS, run_migrations


def script() -> str:
    """The statements of one transaction, made from a database that was migrated."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.db"
        run_migrations(path)
        with closing(sqlite3.connect(path)) as connection:
            lines = [line for line in connection.iterdump() if not line.startswith(("BEGIN", "COMMIT"))]
    return "BEGIN IMMEDIATE;\n" + "\n".join(lines) + "\nCOMMIT;\n"


def postgresql_scripts() -> str:
    """What each migration does, below a line ``-- revision 0001``; see ``migrate_postgresql.py``."""
    revisions = [each.revision for each in ScriptDirectory(str(SCRIPTS)).walk_revisions()][::-1]
    pairs = zip(["base", *revisions], revisions, strict=False)
    return "\n".join(f"-- revision {last}\n{_postgresql_script(first, last)}" for first, last in pairs)


def _postgresql_script(first: str, last: str) -> str:
    output = StringIO()
    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(SCRIPTS))
    command.upgrade(config, f"{first}:{last}", sql=True)
    lines = output.getvalue().splitlines()
    kept = [line.rstrip() for line in lines if line and not line.startswith(("--", "BEGIN", "COMMIT"))]
    return "\n".join(kept) + "\n"


if __name__ == "__main__":
    sys.stdout.write({"sqlite": script, "postgresql": postgresql_scripts}[sys.argv[1]]())
