"""``entrepot search``: docker's table, from registries with a search and without."""

from __future__ import annotations

import json
import uuid

import pytest

from entrepot.cli.search import split_term
from entrepot.testing.images import build_image
from entrepot.testing.server import RegistryProcess
from tests.cli.conftest import Entrepot, Publish
from tests.cli.scripted import Reply, Scripted, scripted

LONG = "a very long description that goes on and on, and then some more of it"
FOUND = [
    {"name": "nginx", "description": "The\nofficial one", "star_count": 20000, "is_official": True},
    {"name": "bitnami/nginx", "description": LONG, "star_count": 180, "is_official": False, "is_automated": True},
    {"name": "me/nginx", "description": None, "star_count": "many"},
]


@pytest.fixture
def found() -> Reply:
    return Reply(200, json.dumps({"num_results": 3, "query": "nginx", "results": FOUND}).encode())


def test_search_prints_docker_s_table(entrepot: Entrepot, found: Reply) -> None:
    with scripted(lambda method, path, query: found) as registry:
        done = entrepot("search", f"{registry.host}/nginx")
    width = len(f"{registry.host}/bitnami/nginx") + 3
    assert (done.code, done.err) == (0, "")
    assert done.lines == [
        f"{'NAME':{width}}{'DESCRIPTION':48}{'STARS':10}OFFICIAL",
        f"{registry.host + '/nginx':{width}}{'The official one':48}{'20000':10}[OK]",
        f"{registry.host + '/bitnami/nginx':{width}}{LONG[:44]}…   {'180':10}",
        f"{registry.host + '/me/nginx':{width}}{'':48}{'0':10}",
    ]


def test_search_without_truncation_prints_whole_descriptions(entrepot: Entrepot, found: Reply) -> None:
    with scripted(lambda method, path, query: found) as registry:
        assert LONG in entrepot("search", "--no-trunc", f"{registry.host}/nginx").out


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        (("is-official=true",), ["nginx"]),
        (("is-official=false",), ["bitnami/nginx", "me/nginx"]),
        (("stars=100",), ["nginx", "bitnami/nginx"]),
        (("stars=100", "is-automated=true"), ["bitnami/nginx"]),
    ],
    ids=["official", "others", "stars", "both"],
)
def test_search_with_filters_prints_those(
    entrepot: Entrepot, found: Reply, conditions: tuple[str, ...], names: list[str]
) -> None:
    flags = [flag for condition in conditions for flag in ("--filter", condition)]
    with scripted(lambda method, path, query: found) as registry:
        done = entrepot("search", "--format", "{{.Name}}", *flags, f"{registry.host}/nginx")
    assert done.lines == [f"{registry.host}/{name}" for name in names]


def test_search_as_json_has_docker_s_fields(entrepot: Entrepot, found: Reply) -> None:
    with scripted(lambda method, path, query: found) as registry:
        first = json.loads(entrepot("search", "--format", "json", f"{registry.host}/nginx").lines[0])
    assert first == {
        "Name": f"{registry.host}/nginx",
        "Description": "The official one",
        "StarCount": "20000",
        "IsOfficial": "[OK]",
        "IsAutomated": "",
    }


def test_search_asks_for_as_many_as_wanted(entrepot: Entrepot, found: Reply) -> None:
    with scripted(lambda method, path, query: found) as registry:
        assert len(entrepot("search", "--limit", "2", f"{registry.host}/a b").lines) == 3
    assert registry.requests == ["GET /v1/search?q=a+b&n=2"]


def test_search_in_our_registry_finds_names(entrepot: Entrepot, publish: Publish, registry: RegistryProcess) -> None:
    word = uuid.uuid4().hex[:10]
    publish(build_image(1, seed=91), f"team/a{word}", "v1")
    done = entrepot("search", f"{registry.host}/{word}")
    assert [line.split()[0] for line in done.lines] == ["NAME", f"{registry.host}/team/a{word}"]


def catalog_only(method: str, path: str, query: str) -> Reply:
    if path == "/v2/_catalog":
        return Reply(200, b'{"repositories":["other","team/nginx","team/nginx-2"]}')
    return Reply(404)


def test_search_where_there_is_none_looks_through_the_catalog(entrepot: Entrepot) -> None:
    with scripted(catalog_only) as registry:
        done = entrepot("search", "--format", "{{.Name}}", f"{registry.host}/nginx")
    assert done.lines == [f"{registry.host}/team/nginx", f"{registry.host}/team/nginx-2"]
    assert f"{registry.host} has no search; these are the names in its catalog" in done.err


def test_search_where_there_is_neither_is_explained(entrepot: Entrepot) -> None:
    with scripted(lambda method, path, query: Reply(404)) as registry:
        done = entrepot("search", f"{registry.host}/nginx")
    assert (done.code, done.out) == (1, "")
    assert f"{registry.host} has neither a search (" in done.err


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"results":{"name":"x"}}'], ids=["html", "array", "object"])
def test_search_that_answers_something_else_is_refused(entrepot: Entrepot, body: bytes) -> None:
    with scripted(lambda method, path, query: Reply(200, body)) as registry:
        done = entrepot("search", f"{registry.host}/nginx")
    assert done.code == 1 or done.lines[1:] == []
    assert "should not happen" not in done.err


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (("--filter", "color=red"), 1, "invalid filter 'color=red'"),
        (("--filter", "stars=many"), 1, "invalid filter 'stars=many'"),
        (("--limit", "101"), 125, "--limit"),
        (("--limit", "0"), 125, "--limit"),
    ],
    ids=["filter", "stars", "many", "none"],
)
def test_search_with_wrong_flags_is_refused(entrepot: Entrepot, flags: tuple[str, ...], code: int, text: str) -> None:
    done = entrepot("search", *flags, "nginx")
    assert text in done.err
    assert (done.code, done.out) == (code, "")


@pytest.mark.parametrize(
    ("term", "parts"),
    [
        ("nginx", ("docker.io", "nginx")),
        ("bitnami/nginx", ("docker.io", "bitnami/nginx")),
        ("localhost:5000/app", ("localhost:5000", "app")),
        ("localhost/app", ("localhost", "app")),
        ("quay.io/team/app", ("quay.io", "team/app")),
        ("docker.io/nginx", ("docker.io", "nginx")),
    ],
)
def test_split_term_finds_the_host(term: str, parts: tuple[str, str]) -> None:
    assert split_term(term) == parts


def test_search_says_no_more_than_a_registry_may_print(entrepot: Entrepot) -> None:
    body = json.dumps({"results": [{"name": "a\x1b[31m", "description": "b\tc\x07"}]}).encode()

    def run(registry: Scripted) -> str:
        return entrepot("search", f"{registry.host}/nginx").out

    with scripted(lambda method, path, query: Reply(200, body)) as registry:
        out = run(registry)
    assert "\x1b" not in out
    assert "\x07" not in out
