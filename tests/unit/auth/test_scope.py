from __future__ import annotations

import pytest

from entrepot.auth.scope import MAX_SCOPES, Scope, merge, parse_scopes
from entrepot.errors import ParameterInvalid


@pytest.mark.parametrize(
    ("text", "kind", "name", "actions"),
    [
        ("repository:a/b:pull,push", "repository", "a/b", {"pull", "push"}),
        ("registry:catalog:*", "registry", "catalog", {"*"}),
        ("repository:host:5000/a:pull", "repository", "host:5000/a", {"pull"}),
        ("repository:a:", "repository", "a", set()),
    ],
    ids=["repository", "catalog", "name with a port", "no action"],
)
def test_parse_scope_splits_at_first_and_last_colon(text: str, kind: str, name: str, actions: set[str]) -> None:
    assert Scope.parse(text) == Scope(kind, name, frozenset(actions))


@pytest.mark.parametrize("text", ["", "repository", "repository:a", ":a:pull", "repository::pull", "a:b :c", "a:\n:c"])
def test_parse_scope_without_three_parts_is_refused(text: str) -> None:
    with pytest.raises(ParameterInvalid, match="expected KIND:NAME:ACTIONS"):
        Scope.parse(text)


def test_format_scope_sorts_actions() -> None:
    assert str(Scope.parse("repository:a:push,pull")) == str(Scope.push("a")) == "repository:a:pull,push"
    assert str(Scope.pull("a")) == "repository:a:pull"


@pytest.mark.parametrize(
    ("own", "other", "covered"),
    [
        ("repository:a:pull,push", "repository:a:pull", True),
        ("repository:a:pull", "repository:a:pull", True),
        ("repository:a:*", "repository:a:delete", True),
        ("repository:a:pull", "repository:a:pull,push", False),
        ("repository:a:pull", "repository:b:pull", False),
        ("repository:a:pull", "registry:a:pull", False),
    ],
)
def test_cover_scope_by_another(own: str, other: str, covered: bool) -> None:
    assert Scope.parse(own).covers(Scope.parse(other)) is covered


def test_parse_scopes_passes_over_what_is_none() -> None:
    assert parse_scopes("repository:a:pull garbage  registry:catalog:*") == {
        Scope.pull("a"),
        Scope.parse("registry:catalog:*"),
    }


def test_parse_scopes_is_bounded() -> None:
    assert len(parse_scopes(" ".join(f"repository:a{number}:pull" for number in range(1000)))) == MAX_SCOPES


def test_merge_scopes_joins_actions_of_one_repository() -> None:
    scopes = [Scope.pull("a"), Scope.parse("repository:a:push"), Scope.pull("b")]
    assert merge(scopes) == {Scope.push("a"), Scope.pull("b")}
