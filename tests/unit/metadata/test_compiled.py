from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import bindparam

from entrepot.metadata.compiled import as_json, statements, text_of
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


@pytest.mark.parametrize("members", [[], ["a"], ["a", "b", "c"]], ids=len)
def test_list_becomes_as_many_parameters_as_it_has_members(members: list[str]) -> None:
    statement = sa.select(blobs.c.id).where(
        blobs.c.size > bindparam("size"), blobs.c.digest.in_(bindparam("digests", expanding=True))
    )
    text, values = compiled(statement, {"digests": members, "size": 5})
    assert text.count("?") == 1 + len(members)
    assert list(values) == [5, *members]


@pytest.mark.parametrize("constant", [None, 0, "", "gone"])
def test_constant_in_the_statement_is_kept_whatever_it_is(constant: object) -> None:
    statement = sa.update(blobs).where(blobs.c.digest == bindparam("lost")).values(location=constant)
    assert list(compiled(statement, {"lost": "d"})[1]) == [constant, "d"]


def test_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError, match="digest"):
        compiled(BY_DIGEST, {"size": 5})


def test_texts_are_those_of_the_statements() -> None:
    assert (SOURCE / "metadata" / FILE).read_text("utf-8") == as_json(), "make docs writes the file"
    assert set(texts()) == {name for name, _ in statements()}


def test_operations_take_no_sqlalchemy() -> None:
    users = {
        file.relative_to(SOURCE / "metadata").parts[0]
        for file in (SOURCE / "metadata").rglob("*.py")
        for _, name in imports(file)
        if name.partition(".")[0] == "sqlalchemy"
    }
    assert users == {"compiled.py", "migrate.py", "migrations", "schema.py", "sql"}
