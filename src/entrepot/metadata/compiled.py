"""Makes the texts of ``texts.py`` out of SQLAlchemy's statements in ``sql/``.

``python -m entrepot.metadata.compiled`` prints them. Reading one row through SQLAlchemy's engine costs 20 us here,
through the driver with text compiled before hand 7 us (``docs/adr/0002-sqlite-driver.md``).
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import sys
from collections.abc import Iterator
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import SQLCompiler

from entrepot.metadata import sql
from entrepot.metadata.texts import Text

_DIALECT: Dialect = SQLiteDialect_pysqlite(paramstyle="qmark")
_EXPANDING = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")


def statements() -> Iterator[tuple[str, sa.Executable]]:
    """Every public statement in ``sql/`` with its name, ``MODULE.NAME``."""
    for module in pkgutil.iter_modules(sql.__path__):
        found = vars(importlib.import_module(f"{sql.__name__}.{module.name}"))
        for name, value in sorted(found.items()):
            if isinstance(value, sa.Executable) and name.isupper() and not name.startswith("_"):
                yield f"{module.name}.{name}", value


def text_of(statement: sa.Executable) -> Text:
    """The text of one statement for SQLite."""
    compiler = cast(SQLCompiler, cast(sa.ClauseElement, statement).compile(dialect=_DIALECT))
    required = {name for name, bind in compiler.binds.items() if bind.required}
    defaults = {name: value for name, value in compiler.params.items() if name not in required}
    return Text(_EXPANDING.sub(r"([\1])", str(compiler)), tuple(compiler.positiontup or ()), defaults)


def as_json() -> str:
    """What is kept in the file."""
    entries: dict[str, Any] = {}
    for name, statement in statements():
        text = text_of(statement)
        entries[name] = {"text": text.text, "names": list(text.names), "defaults": dict(text.defaults)}
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_json())
