"""The policy around single exchanges: tries, waits, mirrors, bounds. Logins are in test_client_logins.py."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from email.utils import formatdate

import pytest

from entrepot.errors import (
    AccessDenied,
    Denied,
    ManifestTooLarge,
    ManifestUnknown,
    NotFound,
    RateLimited,
    RegistryError,
    RequestTimeout,
    Unavailable,
    Unsupported,
    UpstreamFailed,
)
from entrepot.progress import State
from entrepot.testing.endpoints import Place
from entrepot.testing.scripted import Broken, Outcome, Reply, ScriptedExchange, Seen
from entrepot.transport.base import Body, ConnectionFailed, TlsFailed
from entrepot.transport.call import MAX_ERROR_BODY
from entrepot.transport.client import Call
from tests.unit.transport.scripts import BASE, DOMAIN, NOW, Client, manifest, refusal

GET = "GET /v2/app/manifests/v1"
PUT = manifest("PUT", body=Body.of(b"content"), accept=frozenset({201}))
POST = manifest("POST", accept=frozenset({202}))
DELETE = manifest("DELETE", accept=frozenset({202}), accept_when_repeated=frozenset({404}))
CALLS = {
    "GET": manifest(),
    "HEAD": manifest("HEAD"),
    "PUT": PUT,
    "POST": POST,
    "DELETE": DELETE,
}
MIRROR = Place("https://mirror.test", "mirror.test", query={"ns": DOMAIN})


def line(call: Call) -> str:
    return f"{call.method} /v2/app/manifests/v1"


def good(call: Call) -> Reply:
    return Reply(min(call.accept))


# what is tried again


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", CALLS)
async def test_open_after_passing_failure_tries_again(method: str, status: int) -> None:
    call = CALLS[method]
    exchange = ScriptedExchange((line(call), Reply(status)), (line(call), Reply(status)), (line(call), good(call)))
    client = Client(exchange)
    assert await client.do(call) in call.accept
    exchange.require_done()
    assert len(client.waits) == 2
    assert [event.state for event in client.events] == [State.RETRYING] * 2


@pytest.mark.parametrize("method", CALLS)
async def test_open_after_broken_connection_tries_again(method: str) -> None:
    call = CALLS[method]
    exchange = ScriptedExchange((line(call), Broken()), (line(call), good(call)))
    assert await Client(exchange).do(call) in call.accept
    exchange.require_done()


async def test_open_sends_the_whole_body_with_each_try() -> None:
    exchange = ScriptedExchange((line(PUT), Broken(reads=3)), (line(PUT), Reply(503)), (line(PUT), Reply(201)))
    await Client(exchange).do(PUT)
    assert [seen.body for seen in exchange.requests] == [b"con", b"content", b"content"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 416, 501, 505])
async def test_open_after_lasting_failure_asks_once(status: int) -> None:
    exchange = ScriptedExchange((GET, Reply(status)))
    client = Client(exchange)
    with pytest.raises(RegistryError):
        await client.do(manifest())
    exchange.require_done()
    assert client.waits == []


@pytest.mark.parametrize(
    ("status", "error"),
    [(408, RequestTimeout), (429, RateLimited), (500, UpstreamFailed), (503, UpstreamFailed)],
)
async def test_open_after_the_last_try_raises_what_the_registry_says(status: int, error: type[RegistryError]) -> None:
    exchange = ScriptedExchange(*[(GET, refusal(status, "UNKNOWN", "out of order"))] * 4)
    client = Client(exchange, attempts=4)
    with pytest.raises(error, match="out of order"):
        await client.do(manifest())
    exchange.require_done()
    assert len(client.waits) == 3


async def test_open_of_call_that_forbids_it_asks_once() -> None:
    for outcome in (Reply(503), Broken()):
        exchange = ScriptedExchange((GET, outcome))
        with pytest.raises(Unavailable):
            await Client(exchange).do(manifest(retry=False))
        exchange.require_done()


async def test_open_patch_whose_connection_broke_is_not_repeated() -> None:
    call = manifest("PATCH", body=Body.of(b"content"), accept=frozenset({202}))
    exchange = ScriptedExchange((line(call), Broken(reads=3)))
    with pytest.raises(ConnectionFailed):
        await Client(exchange).do(call)
    exchange.require_done()


async def test_open_with_body_that_can_be_sent_once_is_not_repeated() -> None:
    call = replace(PUT, body=replace(Body.of(b"content"), is_repeatable=False))
    outcomes: list[Outcome] = [Broken(), Reply(503)]
    for outcome in outcomes:
        exchange = ScriptedExchange((line(call), outcome))
        with pytest.raises(Unavailable):
            await Client(exchange).do(call)
        exchange.require_done()


async def test_open_at_address_that_never_answered_fails_at_once() -> None:
    """A wrong name or port is no reason to wait; a registry that has answered before may be about to restart."""
    refused = Broken("dial tcp: connection refused", sent_nothing=True)
    exchange = ScriptedExchange((GET, refused), (GET, Reply()), (GET, refused), (GET, Reply()))
    client = Client(exchange)
    with pytest.raises(ConnectionFailed, match="refused"):
        await client.do(manifest())
    assert client.waits == []
    await client.do(manifest())
    await client.do(manifest())
    exchange.require_done()
    assert len(client.waits) == 1


async def test_open_with_certificate_that_is_not_trusted_asks_once() -> None:
    exchange = ScriptedExchange((GET, TlsFailed("x509: certificate signed by unknown authority")))
    with pytest.raises(TlsFailed):
        await Client(exchange).do(manifest())
    exchange.require_done()


async def test_delete_whose_answer_was_lost_and_that_finds_nothing_has_succeeded() -> None:
    exchange = ScriptedExchange((line(DELETE), Broken()), (line(DELETE), Reply(404)))
    assert await Client(exchange).do(DELETE) == 404


@pytest.mark.parametrize("first", [None, Broken(sent_nothing=True)], ids=["at_first", "never_sent"])
async def test_delete_that_finds_nothing_says_so(first: Broken | None) -> None:
    steps: list[tuple[str, Outcome]] = [(GET, Reply())]
    steps += [(line(DELETE), first)] if first else []
    exchange = ScriptedExchange(*steps, (line(DELETE), Reply(404)))
    client = Client(exchange)
    await client.do(manifest())
    with pytest.raises(NotFound):
        await client.do(DELETE)
    exchange.require_done()


# how long is waited


@pytest.mark.parametrize(
    ("header", "waited"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("86400", 120.0),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        (formatdate(NOW - 30, usegmt=True), 0.0),
        (formatdate(NOW + 10_000, usegmt=True), 120.0),
    ],
    ids=["seconds", "none", "fraction", "a_day", "date", "past", "far_date"],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured_up_to_a_limit(header: str, waited: float, status: int) -> None:
    exchange = ScriptedExchange((GET, Reply(status, headers={"retry-after": header})), (GET, Reply()))
    client = Client(exchange)
    await client.do(manifest())
    assert client.waits == [waited]
    assert client.events[0].seconds == waited


@pytest.mark.parametrize("header", ["", "soon", "-5", "9" * 5000, "\xb2"])
async def test_retry_after_without_sense_does_not_count(header: str) -> None:
    exchange = ScriptedExchange((GET, Reply(503, headers={"retry-after": header})), (GET, Reply()))
    client = Client(exchange)
    await client.do(manifest())
    assert 0 < client.waits[0] <= 0.5


async def test_rate_limit_says_in_the_end_how_long_to_wait() -> None:
    exchange = ScriptedExchange((GET, Reply(429, headers={"retry-after": "60"})))
    with pytest.raises(RateLimited) as caught:
        await Client(exchange).do(manifest(retry=False))
    assert caught.value.retry_after_seconds == 60


# answers are let go of


async def test_open_waits_with_no_connection_in_hand() -> None:
    exchange = ScriptedExchange((GET, Reply(503, b"x" * 100)), (GET, Reply()))
    client = Client(exchange)
    held: list[int] = []

    async def sleep(seconds: float) -> None:
        held.append(exchange.open_responses)

    client.transport.retry = replace(client.transport.retry, sleep=sleep)
    await client.do(manifest())
    assert held == [0]
    assert exchange.most_open_responses == 1
    exchange.require_done()


@pytest.mark.parametrize("status", [302, 401, 404, 500])
async def test_open_that_fails_holds_no_connection(status: int) -> None:
    exchange = ScriptedExchange(answer=lambda _: Reply(status, headers={"location": "/again"}))
    with pytest.raises(RegistryError):
        await Client(exchange).do(manifest())
    assert (exchange.open_responses, exchange.most_open_responses) == (0, 1)


# what an answer says


async def test_head_that_fails_is_not_absent() -> None:
    exchange = ScriptedExchange(*[("HEAD /v2/app/manifests/v1", Reply(500))] * 4)
    with pytest.raises(UpstreamFailed):
        await Client(exchange).do(manifest("HEAD", absent=ManifestUnknown))


async def test_head_that_is_denied_is_not_absent() -> None:
    exchange = ScriptedExchange(("HEAD /v2/app/manifests/v1", Reply(403)))
    with pytest.raises(AccessDenied):
        await Client(exchange).do(manifest("HEAD", absent=ManifestUnknown))


async def test_head_404_is_what_the_caller_says() -> None:
    exchange = ScriptedExchange(("HEAD /v2/app/manifests/v1", Reply(404)))
    with pytest.raises(ManifestUnknown):
        await Client(exchange).do(manifest("HEAD", absent=ManifestUnknown))


async def test_head_400_is_asked_for_again_to_read_what_is_wrong() -> None:
    exchange = ScriptedExchange(
        ("HEAD /v2/app/manifests/v1", Reply(400)), (GET, Reply(400, b"No required SSL certificate was sent"))
    )
    with pytest.raises(RegistryError, match="No required SSL certificate was sent"):
        await Client(exchange).do(manifest("HEAD"))


@pytest.mark.parametrize("second", [Reply(200), Broken()], ids=["good", "broken"])
async def test_head_400_counts_when_get_does_not_say_more(second: Outcome) -> None:
    exchange = ScriptedExchange(("HEAD /v2/app/manifests/v1", Reply(400)), (GET, second))
    with pytest.raises(RegistryError, match=r"400 Bad Request$"):
        await Client(exchange).do(manifest("HEAD"))


@pytest.mark.parametrize("status", [201, 204, 206, 304])
async def test_status_that_nobody_expects_is_an_error(status: int) -> None:
    with pytest.raises((Unsupported, Denied)):
        await Client(ScriptedExchange((GET, Reply(status)))).do(manifest())


async def test_error_body_is_read_up_to_a_limit() -> None:
    read = 0

    def endless() -> itertools.chain[bytes]:
        def piece(_: int) -> bytes:
            nonlocal read
            read += 1000
            return b"x" * 1000

        return itertools.chain.from_iterable([map(piece, itertools.count())])

    exchange = ScriptedExchange((GET, Reply(403, endless())))
    with pytest.raises(AccessDenied) as caught:
        await Client(exchange).do(manifest())
    assert read <= MAX_ERROR_BODY + 1000
    assert len(str(caught.value)) < 3000


async def test_error_body_that_breaks_off_is_an_error_all_the_same() -> None:
    exchange = ScriptedExchange((GET, Reply(403, b'{"errors":', breaks_after=5)))
    with pytest.raises(AccessDenied):
        await Client(exchange).do(manifest())


async def test_error_of_hostile_server_cannot_command_a_terminal() -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": "\x1b[2J\x07 boo \r\n"}]}).encode()
    with pytest.raises(AccessDenied) as caught:
        await Client(ScriptedExchange((GET, Reply(403, body)))).do(manifest())
    assert str(caught.value).isprintable()


# reading whole bodies


@pytest.mark.parametrize("breaks_after", [0, 1, 5, 6])
async def test_read_after_body_that_broke_off_fetches_it_again(breaks_after: int) -> None:
    exchange = ScriptedExchange((GET, Reply(200, b"content", breaks_after=breaks_after)), (GET, Reply(200, b"content")))
    assert await Client(exchange).read(manifest()) == b"content"
    exchange.require_done()


async def test_read_of_body_that_always_breaks_off_ends() -> None:
    exchange = ScriptedExchange(*[(GET, Reply(200, b"content", breaks_after=3))] * 4)
    with pytest.raises(ConnectionFailed):
        await Client(exchange, attempts=4).read(manifest())
    exchange.require_done()


@pytest.mark.parametrize("announced", [True, False])
async def test_read_of_more_than_the_limit_is_refused(announced: bool) -> None:
    body = b"x" * 1001 if announced else [b"x" * 600, b"x" * 600]
    with pytest.raises(ManifestTooLarge, match="1000 bytes"):
        await Client(ScriptedExchange((GET, Reply(200, body)))).read(manifest(), limit=1000)


async def test_read_of_announced_giant_reads_nothing() -> None:
    class Unread:
        def __iter__(self) -> itertools.repeat[bytes]:
            raise AssertionError("read")

    exchange = ScriptedExchange((GET, Reply(200, Unread(), headers={"content-length": str(10**12)})))
    with pytest.raises(ManifestTooLarge):
        await Client(exchange).read(manifest())


# redirects


async def test_redirects_in_a_circle_end() -> None:
    exchange = ScriptedExchange(answer=lambda _: Reply(307, headers={"location": "/v2/app/manifests/v1"}))
    with pytest.raises(AccessDenied, match="circles"):
        await Client(exchange).do(manifest())
    assert len(exchange.requests) == 8


async def test_redirect_is_followed_and_the_answer_is_told_by_its_first_address() -> None:
    exchange = ScriptedExchange(
        (GET, Reply(307, headers={"location": "https://cdn.test/x?sig=secret"})),
        ("GET https://cdn.test/x?sig=secret", Reply(200, b"content")),
    )
    answer, content = await Client(exchange).transport.read(manifest(), limit=10)
    assert (answer.url, content) == (f"{BASE}/v2/app/manifests/v1", b"content")


async def test_redirect_target_that_fails_is_asked_for_anew_at_the_registry() -> None:
    """Its signature may have run out."""
    exchange = ScriptedExchange(
        (GET, Reply(307, headers={"location": "https://cdn.test/1"})),
        ("GET https://cdn.test/1", Reply(503)),
        (GET, Reply(307, headers={"location": "https://cdn.test/2"})),
        ("GET https://cdn.test/2", Reply(200, b"content")),
    )
    assert await Client(exchange).read(manifest()) == b"content"


async def test_redirect_without_location_is_an_error() -> None:
    with pytest.raises(Unsupported):
        await Client(ScriptedExchange((GET, Reply(307)))).do(manifest())


async def test_redirect_of_body_that_can_be_sent_once_is_refused() -> None:
    call = replace(PUT, body=replace(Body.of(b"content"), is_repeatable=False))
    exchange = ScriptedExchange((line(call), Reply(307, headers={"location": "/v2/elsewhere"})))
    with pytest.raises(Unavailable, match="only once"):
        await Client(exchange).do(call)


# addresses that the registry names


async def test_call_with_address_elsewhere_sends_nothing_that_is_for_the_registry() -> None:
    exchange = ScriptedExchange(("PUT https://store.test/upload?sig=1&digest=x", Reply(201)))
    client = Client(exchange, headers={"x-team": "secret"})
    await client.do(replace(PUT, url="https://store.test/upload?sig=1", query={"digest": "x"}))
    assert set(exchange.requests[0].headers) == {"user-agent"}


async def test_call_at_the_registry_sends_its_configured_headers() -> None:
    exchange = ScriptedExchange((GET, Reply()))
    await Client(exchange, headers={"x-team": "blue"}).do(manifest())
    assert exchange.requests[0].headers["x-team"] == "blue"


async def test_call_with_path_of_the_registry_goes_there() -> None:
    exchange = ScriptedExchange((f"GET {BASE}/v2/_catalog?token=x", Reply()))
    await Client(exchange).do(manifest(url="/v2/_catalog?token=x"))


@pytest.mark.parametrize("url", ["//evil.test/v2/", "/\\evil.test"])
async def test_call_with_path_that_leads_elsewhere_stays_here(url: str) -> None:
    exchange = ScriptedExchange(answer=lambda _: Reply())
    client = Client(exchange)
    try:
        await client.do(manifest(url=url))
    except AccessDenied:
        assert exchange.requests == []
    else:
        assert exchange.requests[0].url.startswith(f"{BASE}/")


# mirrors


def at(base: str) -> str:
    return f"GET {base}/v2/app/manifests/v1"


AT_MIRROR = f"{at('https://mirror.test')}?ns={DOMAIN}"


async def test_mirror_is_asked_first_and_told_who_is_meant() -> None:
    exchange = ScriptedExchange((AT_MIRROR, Reply(200, b"content")))
    client = Client(exchange, mirrors=(MIRROR,))
    answer, content = await client.transport.read(manifest(pull=True), limit=10)
    assert (content, answer.is_mirror) == (b"content", True)
    exchange.require_done()


@pytest.mark.parametrize(
    "outcome",
    [
        Reply(404),
        Reply(401),
        Reply(403),
        Reply(500),
        Reply(429),
        Broken(),
        Broken(sent_nothing=True),
        TlsFailed("x509"),
    ],
    ids=["404", "401", "403", "500", "429", "reset", "refused", "tls"],
)
async def test_mirror_that_fails_is_fallen_back_from_at_once(outcome: Outcome) -> None:
    exchange = ScriptedExchange((AT_MIRROR, outcome), (at(BASE), Reply(200, b"content")))
    client = Client(exchange, mirrors=(MIRROR,))
    answer, content = await client.transport.read(manifest(pull=True), limit=10)
    assert (content, answer.is_mirror, client.waits) == (b"content", False, [])
    exchange.require_done()


async def test_mirror_whose_body_breaks_off_is_not_asked_again() -> None:
    exchange = ScriptedExchange((AT_MIRROR, Reply(200, b"content", breaks_after=3)), (at(BASE), Reply(200, b"content")))
    assert await Client(exchange, mirrors=(MIRROR,)).read(manifest(pull=True)) == b"content"
    exchange.require_done()


async def test_mirror_is_not_written_to() -> None:
    exchange = ScriptedExchange((f"PUT {BASE}/v2/app/manifests/v1", Reply(201)))
    await Client(exchange, mirrors=(MIRROR,)).do(PUT)
    exchange.require_done()


async def test_error_is_that_of_the_registry_not_of_a_mirror() -> None:
    exchange = ScriptedExchange((AT_MIRROR, refusal(403, "DENIED", "mirror")), (at(BASE), Reply(404)))
    with pytest.raises(ManifestUnknown):
        await Client(exchange, mirrors=(MIRROR,)).do(manifest(pull=True, absent=ManifestUnknown))


async def test_close_closes_the_exchange() -> None:
    exchange = ScriptedExchange()
    await Client(exchange).transport.close()
    assert exchange.is_closed


def test_seen_names_method_and_path() -> None:
    seen = Seen("GET", "https://a.test/v2/x?n=1", {}, None)
    assert (seen.line, seen.query) == ("GET /v2/x", {"n": ["1"]})
