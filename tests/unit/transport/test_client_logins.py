"""Logins as the client makes them: when a token is asked for, and where it goes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from entrepot.auth.scope import Scope
from entrepot.errors import AccessDenied, RegistryError, Unauthenticated, Unavailable
from entrepot.testing.scripted import Broken, Reply, ScriptedExchange, Seen
from entrepot.transport.base import Body
from tests.unit.transport.scripts import BASE, REALM, USER, Client, challenge, manifest, refusal, token

GET = "GET /v2/app/manifests/v1"
TOKEN = "GET /token"
SECRETS = ("pass-word", "bWU6cGFzcy13b3Jk", "token-1", "token-2")


def sent(exchange: ScriptedExchange) -> list[str | None]:
    """The logins that went to the registry."""
    return [seen.headers.get("authorization") for seen in exchange.requests if seen.url.startswith(BASE)]


async def test_open_after_challenge_asks_for_a_token_and_comes_back_with_it() -> None:
    exchange = ScriptedExchange((GET, challenge()), (TOKEN, token("token-1")), (GET, Reply()))
    await Client(exchange).do(manifest())
    exchange.require_done()
    assert sent(exchange) == [None, "Bearer token-1"]
    assert exchange.requests[1].query == {"service": ["registry"], "scope": ["repository:app:pull"]}


async def test_open_with_token_in_hand_asks_for_none() -> None:
    exchange = ScriptedExchange((GET, challenge()), (TOKEN, token("token-1")), (GET, Reply()), (GET, Reply()))
    client = Client(exchange)
    await client.do(manifest())
    await client.do(manifest())
    assert sent(exchange) == [None, "Bearer token-1", "Bearer token-1"]


async def test_open_after_a_token_has_run_out_gets_a_new_one() -> None:
    exchange = ScriptedExchange(
        (GET, challenge()),
        (TOKEN, token("token-1", seconds=60)),
        (GET, Reply()),
        (GET, challenge()),
        (TOKEN, token("token-2")),
        (GET, Reply()),
    )
    client = Client(exchange)
    await client.do(manifest())
    client.now += 61
    await client.do(manifest())
    exchange.require_done()
    assert sent(exchange)[-2:] == [None, "Bearer token-2"]


async def test_open_with_token_that_is_refused_in_the_middle_of_a_push_gets_a_new_one() -> None:
    """The registry may forget tokens sooner than it said; the body is sent again, whole."""
    patch = "PATCH /v2/app/manifests/v1"
    call = manifest("PATCH", body=Body.of(b"content"), accept=frozenset({202}), retry=False)
    exchange = ScriptedExchange(
        (GET, challenge()),
        (TOKEN, token("token-1")),
        (GET, Reply()),
        (patch, replace(challenge(error="invalid_token"), reads=2)),
        (TOKEN, token("token-2")),
        (patch, Reply(202)),
    )
    client = Client(exchange)
    await client.do(manifest())
    assert await client.do(call) == 202
    exchange.require_done()
    assert exchange.requests[-1].body == b"content"
    assert sent(exchange)[-1] == "Bearer token-2"


async def test_open_with_body_that_can_be_sent_once_and_is_challenged_says_so() -> None:
    call = manifest("PUT", body=replace(Body.of(b"content"), is_repeatable=False), accept=frozenset({201}))
    exchange = ScriptedExchange(("PUT /v2/app/manifests/v1", challenge()), (TOKEN, token("token-1")))
    with pytest.raises(Unavailable, match="only once"):
        await Client(exchange).do(call)
    exchange.require_done()


async def test_open_for_more_than_a_token_allows_asks_for_all_of_it() -> None:
    push = "PUT /v2/app/manifests/v1"
    exchange = ScriptedExchange(
        (GET, challenge()),
        (TOKEN, token("token-1")),
        (GET, Reply()),
        (push, challenge(scope="repository:app:pull,push")),
        (TOKEN, token("token-2")),
        (push, Reply(201)),
    )
    client = Client(exchange, credentials=USER)
    await client.do(manifest())
    call = manifest("PUT", body=Body.of(b""), accept=frozenset({201}), scopes=frozenset({Scope.push("app")}))
    await client.do(call)
    exchange.require_done()
    assert exchange.requests[4].query["scope"] == ["repository:app:pull,push"]


async def test_open_that_is_challenged_again_and_again_ends() -> None:
    def answer(seen: Seen) -> Reply:
        return token("token-1") if seen.url.startswith(REALM) else challenge()

    exchange = ScriptedExchange(answer=answer)
    with pytest.raises((Unauthenticated, AccessDenied)):
        await Client(exchange, credentials=USER).do(manifest())
    assert len(exchange.requests) <= 6
    assert exchange.open_responses == 0


async def test_open_by_many_at_once_asks_for_one_token() -> None:
    def answer(seen: Seen) -> Reply:
        if seen.url.startswith(REALM):
            return token("token-1")
        return Reply() if "authorization" in seen.headers else challenge()

    exchange = ScriptedExchange(answer=answer)
    client = Client(exchange)
    await asyncio.gather(*(client.do(manifest()) for _ in range(8)))
    assert sum(seen.url.startswith(REALM) for seen in exchange.requests) == 1


async def test_basic_challenge_gets_the_password() -> None:
    exchange = ScriptedExchange((GET, challenge(scheme="Basic")), (GET, Reply()))
    await Client(exchange, credentials=USER).do(manifest())
    assert sent(exchange) == [None, "Basic bWU6cGFzcy13b3Jk"]


async def test_password_does_not_go_to_plain_http() -> None:
    exchange = ScriptedExchange((GET, challenge(scheme="Basic")))
    with pytest.raises(AccessDenied, match="plain HTTP"):
        await Client(exchange, base="http://registry.test", credentials=USER).do(manifest())
    exchange.require_done()


@pytest.mark.parametrize(
    "realm",
    [
        "http://login.test/token",
        "file:///etc/passwd",
        "https://127.0.0.1/token",
        "https://169.254.169.254/latest",
        "https://me:you@login.test/token",
        "//login.test/token",
    ],
)
async def test_realm_where_a_registry_has_no_business_gets_no_password(realm: str) -> None:
    exchange = ScriptedExchange((GET, challenge(realm)))
    with pytest.raises(AccessDenied) as caught:
        await Client(exchange, credentials=USER).do(manifest())
    exchange.require_done()
    assert not any(secret in str(caught.value) for secret in SECRETS)


@pytest.mark.parametrize(
    "location",
    ["https://cdn.test/x", "https://registry.test:8443/x", "https://sub.registry.test/x"],
    ids=["host", "port", "subdomain"],
)
@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
async def test_login_does_not_follow_a_redirect_to_another_place(location: str, scheme: str) -> None:
    def answer(seen: Seen) -> Reply:
        if seen.url.startswith(REALM):
            return token("token-1")
        if seen.url == location:
            return Reply(200, b"content")
        if "authorization" in seen.headers:
            return Reply(307, headers={"location": location})
        return challenge(scheme=scheme)

    exchange = ScriptedExchange(answer=answer)
    assert await Client(exchange, credentials=USER).read(manifest()) == b"content"
    [followed] = [seen for seen in exchange.requests if seen.url == location]
    assert "authorization" not in followed.headers
    assert not any(secret in str(followed) for secret in SECRETS)


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
async def test_challenge_of_the_place_a_redirect_leads_to_is_not_answered(scheme: str) -> None:
    """Whoever keeps the bytes must not get the registry's password by asking for it."""
    exchange = ScriptedExchange(
        (GET, Reply(307, headers={"location": "https://cdn.test/x"})),
        ("GET https://cdn.test/x", challenge("https://evil.test/token", scheme=scheme)),
    )
    with pytest.raises(Unauthenticated):
        await Client(exchange, credentials=USER).do(manifest())
    exchange.require_done()


async def test_challenge_of_an_upload_kept_elsewhere_is_not_answered() -> None:
    exchange = ScriptedExchange(("PUT https://store.test/u", challenge("https://store.test/token")))
    call = manifest("PUT", url="https://store.test/u", body=Body.of(b""))
    with pytest.raises(Unauthenticated):
        await Client(exchange, credentials=USER).do(call)
    exchange.require_done()


async def test_token_service_that_redirects_is_not_followed() -> None:
    moved = Reply(307, headers={"location": "https://evil.test/token"})
    exchange = ScriptedExchange((GET, challenge()), (TOKEN, moved))
    with pytest.raises((Unauthenticated, AccessDenied, Unavailable)):
        await Client(exchange, credentials=USER).do(manifest())
    exchange.require_done()


@pytest.mark.parametrize("trouble", [Reply(503), Reply(429, headers={"retry-after": "2"}), Broken()])
async def test_token_service_in_trouble_is_asked_again(trouble: Reply | Broken) -> None:
    exchange = ScriptedExchange((GET, challenge()), (TOKEN, trouble), (TOKEN, token("token-1")), (GET, Reply()))
    client = Client(exchange)
    await client.do(manifest())
    exchange.require_done()
    assert len(client.waits) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Reply(200, b"no json"),
        Reply(200, b"[]"),
        Reply(200, b"{}"),
        Reply(200, json.dumps({"token": 5}).encode()),
        Reply(200, json.dumps({"token": "a\r\nb: c"}).encode()),
        Reply(200, [b"x" * 500_000] * 10),
        Reply(200, b"[" * 100_000),
    ],
    ids=["text", "array", "empty", "number", "line_breaks", "large", "deep"],
)
async def test_token_service_that_sends_nonsense_is_an_error(answer: Reply) -> None:
    exchange = ScriptedExchange((GET, challenge()), (TOKEN, answer))
    with pytest.raises(RegistryError) as caught:
        await Client(exchange, credentials=USER).do(manifest())
    assert not any(secret in str(caught.value) for secret in SECRETS)
    assert exchange.open_responses == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
async def test_no_message_of_a_refused_login_shows_a_secret(status: int) -> None:
    """A service that repeats what it was sent, and one that does not."""

    def answer(seen: Seen) -> Reply:
        if seen.url.startswith(REALM):
            return refusal(status, "UNAUTHORIZED", "no")
        return challenge()

    exchange = ScriptedExchange(answer=answer)
    client = Client(exchange, credentials=USER)
    with pytest.raises(RegistryError) as caught:
        await client.do(manifest())
    text = f"{caught.value!r} {caught.value.__dict__} {client.events} {client.transport.__dict__}"
    assert not any(secret in text for secret in SECRETS)


async def test_call_without_login_ignores_the_challenge() -> None:
    exchange = ScriptedExchange((GET, challenge()))
    assert await Client(exchange, credentials=USER).do(manifest(login=False, accept=frozenset({401}))) == 401
