"""``entrepot catalog`` against registries that have one, and such as have none."""

from __future__ import annotations

import json
import uuid

import pytest

from entrepot.testing.images import build_image
from entrepot.testing.server import RegistryProcess
from entrepot.testing.token_guard import Rules
from entrepot.testing.token_server import GuardedRegistry
from tests.cli.conftest import Entrepot, Publish
from tests.cli.scripted import Reply, scripted

IMAGE = build_image(1, seed=43)
REFUSAL = b'{"errors":[{"code":"UNSUPPORTED","message":"no catalog here","detail":{}}]}'


@pytest.fixture
def group(publish: Publish) -> str:
    group = f"group-{uuid.uuid4().hex[:8]}"
    for name in ("web", "db", "cache/small"):
        publish(IMAGE, f"{group}/{name}", "v1")
    return group


def test_catalog_prints_every_repository(entrepot: Entrepot, registry: RegistryProcess, group: str) -> None:
    done = entrepot("catalog", registry.host, "--filter", f"{group}/*")
    assert (done.code, done.err) == (0, "")
    assert done.lines == [f"{group}/cache/small", f"{group}/db", f"{group}/web"]


def test_catalog_with_limit_stops_there(entrepot: Entrepot, registry: RegistryProcess, group: str) -> None:
    assert len(entrepot("catalog", f"http://{registry.host}/", "--limit", "2").lines) == 2


def test_catalog_with_full_names_prints_them_as_json(entrepot: Entrepot, registry: RegistryProcess, group: str) -> None:
    done = entrepot("catalog", registry.host, "--filter", f"{group}/w*", "--full-ref", "--json")
    assert json.loads(done.out) == [f"{registry.host}/{group}/web"]


@pytest.mark.parametrize("status", [404, 405, 501])
def test_catalog_that_is_not_offered_is_explained(entrepot: Entrepot, status: int) -> None:
    with scripted(lambda method, path, query: Reply(status, REFUSAL)) as registry:
        done = entrepot("catalog", registry.host, "--retries", "0")
    assert (done.code, done.out) == (1, "")
    assert f"{registry.host} offers no catalog of its repositories" in done.err
    assert f"entrepot search {registry.host}/TERM" in done.err


def test_catalog_without_the_right_to_it_is_explained(entrepot: Entrepot, registry: RegistryProcess) -> None:
    with GuardedRegistry(registry.host, Rules()) as guarded:
        done = entrepot("catalog", guarded.host)
    assert (done.code, done.out) == (1, "")
    assert "does not list its repositories to this user" in done.err
    assert f"entrepot login {guarded.host} changes who you are" in done.err


@pytest.mark.parametrize("text", ["localhost:5000/team", "team app", "nginx", ""])
def test_catalog_of_no_registry_is_refused(entrepot: Entrepot, text: str) -> None:
    done = entrepot("catalog", text)
    assert (done.code, done.out) == (1, "")
    assert "expected a registry" in done.err
