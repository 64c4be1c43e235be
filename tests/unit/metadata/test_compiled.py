from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import bindparam

from entrepot.metadata import postgres_texts
from entrepot.metadata.compiled import postgresql_json, postgresql_text_of, sqlite_json, statements, text_of
from entrepot.metadata.schema import blobs
from entrepot.metadata.texts import FILE, texts
from tests.test_architecture import SOURCE, imports

BY_DIGEST = sa.select(blobs.c.id).where(blobs.c.size > bindparam("size"), blobs.c.digest == bindparam("digest"))


def compiled(statement: sa.Executable, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
    return text_of(statement).with_values(values)


def test_statement_takes_its_values_in_the_order_of_its_text() -> None:
    text, values = compiled(BY_DIGEST, {"digest": "d", "size": 5, "more": "is ignored"})
    assert text.count("?") == 2
    assert list(values) == [5, "d"]


@pytest.mark.parametrize("constant", [None, 0, "", "gone"])
def test_constant_in_the_statement_is_kept_whatever_it_is(constant: object) -> None:
    statement = sa.update(blobs).where(blobs.c.digest == bindparam("lost")).values(location=constant)
    assert list(compiled(statement, {"lost": "d"})[1]) == [constant, "d"]


def test_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError, match="digest"):
        compiled(BY_DIGEST, {"size": 5})


def test_texts_are_those_of_the_statements() -> None:
    assert (SOURCE / "metadata" / FILE).read_text("utf-8") == sqlite_json(), "make docs writes the file"
    assert set(texts()) == {name for name, _ in statements()}


def test_texts_for_postgresql_are_those_of_the_statements() -> None:
    kept = (SOURCE / "metadata" / postgres_texts.FILE).read_text("utf-8")
    assert kept == postgresql_json(), "make docs writes the file"
    assert set(postgres_texts.texts()) == {name for name, _ in statements()}


@pytest.mark.parametrize(("constant", "text"), [(None, "NULL"), (0, "0"), (True, "1")], ids=str)
def test_constant_is_written_out_for_postgresql(constant: object, text: str) -> None:
    statement = sa.update(blobs).values(size=constant)
    assert postgresql_text_of(statement) == f"UPDATE blobs SET size={text}"


def test_constant_of_another_kind_is_refused_for_postgresql() -> None:
    with pytest.raises(TypeError, match="'gone'"):
        postgresql_text_of(sa.update(blobs).values(location="gone"))


def test_named_parameters_are_numbered_once_each() -> None:
    text = postgres_texts.text_of("SELECT CAST(:a AS BIGINT), ':', x::text FROM t WHERE b = :b AND a = :a")
    assert text.text == "SELECT CAST($1 AS BIGINT), ':', x::text FROM t WHERE b = $2 AND a = $1"
    assert text.arguments({"b": 2, "a": 1, "c": 3}) == [1, 2]


def test_operations_take_no_sqlalchemy() -> None:
    users = {
        file.relative_to(SOURCE / "metadata").parts[0]
        for file in (SOURCE / "metadata").rglob("*.py")
        for _, name in imports(file)
        if name.partition(".")[0] == "sqlalchemy"
    }
    assert users == {"compiled.py", "migrate.py", "migrations", "schema.py", "sql"}
