"""SQLAlchemy statements as SQL text for a driver with ``?`` parameters, compiled once and kept.

Reading one row through SQLAlchemy's engine costs 20 us here, through the driver with text compiled before
hand 7 us: on the way of every pull that is the difference (``docs/adr/0002-sqlite-driver.md``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import SQLCompiler

_DIALECT: Dialect = SQLiteDialect_pysqlite(paramstyle="qmark")


@dataclass(frozen=True, slots=True)
class _Form:
    """The text of a statement whose lists have certain lengths, and what stands for their items in it."""

    text: str
    names: Sequence[str]
    items: Mapping[str, Sequence[str]]


class Compiled:
    """One statement: its text, and its parameters in the order of the text."""

    def __init__(self, statement: sa.Executable) -> None:
        compiler = cast(SQLCompiler, cast(sa.ClauseElement, statement).compile(dialect=_DIALECT))
        self._compiler = compiler
        self._text = str(compiler)
        self._names = tuple(compiler.positiontup or ())
        required = {name for name, bind in compiler.binds.items() if bind.required}
        self._defaults = {name: value for name, value in compiler.params.items() if name not in required}
        self._lists = [bind.key for bind in compiler.binds.values() if bind.expanding]
        self._forms: dict[tuple[int, ...], _Form] = {}

    def with_values(self, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        """The text and its parameters; lists are spread over as many question marks as they need."""
        if self._lists:
            return self._spread(values)
        if self._defaults:
            values = {**self._defaults, **values}
        return self._text, [values[name] for name in self._names]

    def _spread(self, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        lengths = tuple(len(values[name]) for name in self._lists)
        form = self._forms.get(lengths) or self._form(lengths, values)
        flat = {**self._defaults, **values}
        for name, items in form.items.items():
            flat.update(zip(items, values[name], strict=True))
        return form.text, [flat[name] for name in form.names]

    def _form(self, lengths: tuple[int, ...], values: Mapping[str, Any]) -> _Form:
        expanded = self._compiler.construct_expanded_state(dict(values))
        items = {name: tuple(expanded.parameter_expansion[name]) for name in self._lists}
        form = self._forms[lengths] = _Form(expanded.statement, tuple(expanded.positiontup or ()), items)
        return form


class Compiler:
    """Remembers what it has compiled; statements are module constants, so there are only so many."""

    def __init__(self) -> None:
        self._compiled: dict[sa.Executable, Compiled] = {}

    def __call__(self, statement: sa.Executable, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        compiled = self._compiled.get(statement)
        if compiled is None:
            compiled = self._compiled[statement] = Compiled(statement)
        return compiled.with_values(values)
