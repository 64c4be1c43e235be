"""Makes the texts of ``texts.py`` and ``postgres_texts.py`` out of SQLAlchemy's statements in ``sql/``.

``python -m entrepot.metadata.compiled sqlite`` (or ``postgresql``) prints them. Reading one row through SQLAlchemy's
engine costs 20 us here, through the driver with text compiled before hand 7 us (``docs/adr/0002-sqlite-driver.md``).
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
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import SQLCompiler

from entrepot.metadata import sql
from entrepot.metadata.texts import Text

_SQLITE: Dialect = SQLiteDialect_pysqlite(paramstyle="qmark")
_POSTGRESQL: Dialect = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]  # it comes without types


def statements() -> Iterator[tuple[str, sa.Executable]]:
    """Every public statement in ``sql/`` with its name, ``MODULE.NAME``."""
    for module in pkgutil.iter_modules(sql.__path__):
        found = vars(importlib.import_module(f"{sql.__name__}.{module.name}"))
        for name, value in sorted(found.items()):
            if isinstance(value, sa.Executable) and name.isupper() and not name.startswith("_"):
                yield f"{module.name}.{name}", value


def text_of(statement: sa.Executable) -> Text:
    """The text of one statement for SQLite."""
    compiler = _compile(statement, _SQLITE)
    return Text(str(compiler), tuple(compiler.positiontup or ()), _constants(compiler))


def postgresql_text_of(statement: sa.Executable) -> str:
    """The text of one statement for PostgreSQL, with ``:name`` parameters.

    Constants stand in it: a parameter's type would be guessed from where it stands.
    """
    compiler = _compile(statement, _POSTGRESQL)
    text = str(compiler)
    for name, value in _constants(compiler).items():
        text = re.sub(rf":{name}\b", _literal(value), text)
    return text


def _compile(statement: sa.Executable, dialect: Dialect) -> SQLCompiler:
    return cast(SQLCompiler, cast(sa.ClauseElement, statement).compile(dialect=dialect))


def _constants(compiler: SQLCompiler) -> dict[str, Any]:
    required = {name for name, bind in compiler.binds.items() if bind.required}
    return {name: value for name, value in compiler.params.items() if name not in required}


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(int(value))
    raise TypeError(f"a statement has the constant {value!r}; only whole numbers and None are written out")


def sqlite_json() -> str:
    """What is kept in the file for SQLite."""
    entries: dict[str, Any] = {}
    for name, statement in statements():
        text = text_of(statement)
        entries[name] = {"text": text.text, "names": list(text.names), "defaults": dict(text.defaults)}
    return _json(entries)


def postgresql_json() -> str:
    """What is kept in the file for PostgreSQL."""
    return _json({name: " ".join(postgresql_text_of(statement).split()) for name, statement in statements()})


def _json(entries: dict[str, Any]) -> str:
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write({"sqlite": sqlite_json, "postgresql": postgresql_json}[sys.argv[1]]())
