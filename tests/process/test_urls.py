"""Addresses that the server gives out, alone and behind a proxy."""

from __future__ import annotations

import pytest

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import Reply, ask
from tests.hostile.waiting import eventually

from .conftest import Starter
from .pushing import INDEX, put_manifest

FORWARDED = {"Host": "inner.test:5000", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "registry.test"}
BLOB = f"/v2/urls/blobs/{Digest.of(b'x')}"


@pytest.fixture(scope="module")
def alone(start_for_all: Starter) -> RegistryProcess:
    return start_for_all(server__absolute_urls=True)


@pytest.fixture(scope="module")
def proxied(start_for_all: Starter) -> RegistryProcess:
    return start_for_all("--behind-proxy", server__absolute_urls=True)


@pytest.fixture(scope="module")
def relative(start_for_all: Starter) -> RegistryProcess:
    return start_for_all("--behind-proxy")


def push(process: RegistryProcess, fields: dict[str, str]) -> Reply:
    return ask(process.port, "POST", f"/v2/urls/blobs/uploads/?digest={Digest.of(b'x')}", fields, b"x")


def test_location_is_relative_by_default(relative: RegistryProcess) -> None:
    assert push(relative, FORWARDED).headers["location"] == BLOB


def test_absolute_location_names_the_host_that_was_asked(alone: RegistryProcess) -> None:
    assert push(alone, {"Host": "localhost:1234"}).headers["location"] == f"http://localhost:1234{BLOB}"


def test_what_strangers_forward_is_not_believed(alone: RegistryProcess) -> None:
    reply = push(alone, {**FORWARDED, "X-Forwarded-For": "192.0.2.7", "User-Agent": "stranger"})
    assert reply.headers["location"] == f"http://inner.test:5000{BLOB}"
    eventually(lambda: "agent=stranger\n" in alone.log_text())
    [line] = [line for line in alone.log_text().splitlines() if line.endswith("agent=stranger")]
    assert "client=127.0.0.1 " in line


def test_what_the_proxy_forwards_is_believed(proxied: RegistryProcess) -> None:
    fields = {**FORWARDED, "X-Forwarded-For": "192.0.2.7, 10.0.0.1"}
    assert push(proxied, fields).headers["location"] == f"https://registry.test{BLOB}"
    eventually(lambda: "client=192.0.2.7 " in proxied.log_text())


def test_what_several_proxies_forward_begins_with_the_first(proxied: RegistryProcess) -> None:
    fields = {**FORWARDED, "X-Forwarded-Proto": "https, http", "X-Forwarded-Host": "outer.test, middle.test"}
    assert push(proxied, fields).headers["location"] == f"https://outer.test{BLOB}"


def test_proxy_that_forwards_nothing_changes_nothing(proxied: RegistryProcess) -> None:
    assert push(proxied, {"Host": "inner.test"}).headers["location"] == f"http://inner.test{BLOB}"


def test_uploads_and_manifests_have_absolute_locations_that_work(proxied: RegistryProcess) -> None:
    begun = ask(proxied.port, "POST", "/v2/urls/blobs/uploads/", FORWARDED).headers["location"]
    prefix = "https://registry.test"
    assert begun.startswith(f"{prefix}/v2/urls/blobs/uploads/")
    path = begun.removeprefix(prefix)
    for method, status in (("GET", 204), ("PATCH", 202)):
        reply = ask(proxied.port, method, path, FORWARDED, b"y" if method == "PATCH" else b"")
        assert (reply.status, reply.headers["location"]) == (status, begun)
    pushed = put_manifest(proxied.port, "urls", "v1", INDEX).headers["location"]
    assert pushed == f"http://registry.test/v2/urls/manifests/{Digest.of(INDEX)}"


@pytest.mark.parametrize("host", ["", "a b", "evil.test/x", "evil.test\\", '"', "\xff"])
def test_strange_host_breaks_nothing(alone: RegistryProcess, host: str) -> None:
    reply = push(alone, {"Host": host})
    assert reply.status in (201, 400)
    assert reply.status == 400 or reply.headers["location"].endswith(BLOB)
