"""The registry with logins that other tests rely on, asked by hand."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess
from entrepot.testing.token_guard import Rules
from entrepot.testing.token_server import GuardedRegistry

BLOB = b"x" * 300_000
BOB = {"Authorization": "Basic " + base64.b64encode(b"bob:hunter2").decode()}
EVE = {"Authorization": "Basic " + base64.b64encode(b"bob:wrong").decode()}


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value


def ask(
    registry: GuardedRegistry, method: str, path: str, headers: Mapping[str, str] | None = None, body: Any = None
) -> Reply:
    connection = http.client.HTTPConnection(registry.host, timeout=60)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, dict(response.headers), response.read())
    finally:
        connection.close()


def bearer(registry: GuardedRegistry, query: str, headers: Mapping[str, str] = BOB) -> dict[str, str]:
    return {"Authorization": "Bearer " + ask(registry, "GET", f"/token?{query}", headers).json["token"]}


@pytest.fixture
def guarded(registry: RegistryProcess, request: pytest.FixtureRequest) -> Iterator[GuardedRegistry]:
    with GuardedRegistry(registry.host, getattr(request, "param", None)) as server:
        yield server


def rules(**options: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("guarded", [Rules(**options)], indirect=True, ids=["rules"])


def test_ask_without_token_is_challenged(guarded: GuardedRegistry) -> None:
    reply = ask(guarded, "POST", "/v2/token/app/blobs/uploads/?mount=sha256:0&from=token/base")
    assert reply.status == 401
    assert reply.json["errors"][0]["code"] == "UNAUTHORIZED"
    scope = re.search(r'scope="([^"]*)"', reply.headers["WWW-Authenticate"])
    assert scope is not None
    assert scope[1] == "repository:token/app:pull,push repository:token/base:pull"


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "with length"])
def test_push_and_pull_blob_with_token(guarded: GuardedRegistry, chunked: bool) -> None:
    token = bearer(guarded, "scope=repository:token/app:push,pull&service=x&account=bob")
    upload = ask(guarded, "POST", "/v2/token/app/blobs/uploads/", token).headers["location"]
    body = iter([BLOB[:100_000], BLOB[100_000:]]) if chunked else BLOB
    upload = ask(guarded, "PATCH", upload, token, body).headers["location"]
    digest = Digest.of(BLOB)
    closed = ask(guarded, "PUT", f"{upload}{'&' if '?' in upload else '?'}digest={digest}", token)
    assert closed.status == 201
    assert ask(guarded, "GET", f"/v2/token/app/blobs/{digest}", token).body == BLOB
    assert ask(guarded, "HEAD", f"/v2/token/app/blobs/{digest}", token).status == 200


@pytest.mark.parametrize(
    ("query", "error"),
    [("scope=repository:token/app:pull", "insufficient_scope"), ("scope=repository:other:*", "insufficient_scope")],
)
def test_push_with_too_small_a_token_is_challenged(guarded: GuardedRegistry, query: str, error: str) -> None:
    reply = ask(guarded, "POST", "/v2/token/app/blobs/uploads/", bearer(guarded, query))
    assert f'error="{error}"' in reply.headers["WWW-Authenticate"]


@rules(uses=1)
def test_use_token_more_often_than_allowed_is_challenged(guarded: GuardedRegistry) -> None:
    token = bearer(guarded, "")
    assert [ask(guarded, "GET", "/v2/", token).status for _ in range(2)] == [200, 401]


@rules(lifetime_seconds=0)
def test_use_token_after_its_time_is_challenged(guarded: GuardedRegistry) -> None:
    reply = ask(guarded, "GET", "/v2/", bearer(guarded, ""))
    assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]


@rules(anonymous=frozenset({"pull"}))
def test_ask_for_token_as_nobody_gives_what_nobody_may(guarded: GuardedRegistry) -> None:
    token = bearer(guarded, "scope=repository:token/app:pull,push", {})
    assert ask(guarded, "GET", "/v2/token/app/tags/list", token).status != 401
    assert ask(guarded, "POST", "/v2/token/app/blobs/uploads/", token).status == 401


def test_ask_for_token_with_a_wrong_password_is_refused(guarded: GuardedRegistry) -> None:
    reply = ask(guarded, "GET", "/token?account=bob", EVE)
    assert (reply.status, reply.json) == (401, {"details": "incorrect username or password"})
    [call] = guarded.token_calls
    assert (call.method, call.fields, call.user, call.status) == ("GET", {"account": ["bob"]}, None, 401)


@rules(refresh_tokens=True)
def test_ask_for_token_with_a_refresh_token(guarded: GuardedRegistry) -> None:
    refresh_token = ask(guarded, "GET", "/token?offline_token=true", BOB).json["refresh_token"]
    form = f"grant_type=refresh_token&refresh_token={refresh_token}"
    assert ask(guarded, "POST", "/token", {}, form).json["access_token"]
    assert ask(guarded, "POST", "/token", {}, form + "x").status == 401


@rules(scheme="basic")
def test_ask_with_basic(guarded: GuardedRegistry) -> None:
    assert ask(guarded, "GET", "/v2/", BOB).status == 200
    for headers in ({}, EVE):
        reply = ask(guarded, "GET", "/v2/", headers)
        assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, f'Basic realm="{guarded.host}"')
