from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy import bindparam

from entrepot.metadata.compiled import Compiler
from entrepot.metadata.schema import blobs

BY_DIGEST = sa.select(blobs.c.id).where(blobs.c.size > bindparam("size"), blobs.c.digest == bindparam("digest"))


@pytest.fixture
def compiler() -> Compiler:
    return Compiler()


def test_statement_takes_its_values_in_the_order_of_its_text(compiler: Compiler) -> None:
    text, values = compiler(BY_DIGEST, {"digest": "d", "size": 5, "more": "is ignored"})
    assert text.count("?") == 2
    assert list(values) == [5, "d"]


def test_statement_is_compiled_once(compiler: Compiler) -> None:
    assert compiler(BY_DIGEST, {"digest": "d", "size": 5})[0] is compiler(BY_DIGEST, {"digest": "e", "size": 6})[0]


def test_list_becomes_as_many_parameters_as_it_has_members(compiler: Compiler) -> None:
    statement = sa.select(blobs.c.id).where(blobs.c.digest.in_(bindparam("digests", expanding=True)))
    for members in (["a"], ["a", "b", "c"]):
        text, values = compiler(statement, {"digests": members})
        assert text.count("?") == len(members)
        assert list(values) == members


@pytest.mark.parametrize("constant", [None, 0, "", "gone"])
def test_constant_in_the_statement_is_kept_whatever_it_is(compiler: Compiler, constant: object) -> None:
    statement = sa.update(blobs).where(blobs.c.digest == bindparam("lost")).values(location=constant)
    assert list(compiler(statement, {"lost": "d"})[1]) == [constant, "d"]


def test_value_that_is_missing_is_an_error(compiler: Compiler) -> None:
    with pytest.raises(KeyError, match="digest"):
        compiler(BY_DIGEST, {"size": 5})
