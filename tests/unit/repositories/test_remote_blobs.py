"""Blobs of a registry elsewhere that breaks off, changes its mind, or lies."""

from __future__ import annotations

import itertools

import pytest

from entrepot.digest import Digest
from entrepot.errors import BlobUnknown, ManifestInvalid, RangeInvalid, RegistryError, SizeInvalid
from entrepot.progress import Event, Kind, State
from entrepot.repositories.remote_blobs import RangesUnsupported, RemoteBlob
from entrepot.testing.scripted import Broken, Reply, ScriptedExchange, Seen
from entrepot.transport.base import ConnectionFailed
from tests.unit.repositories.remotes import ATTEMPTS, BASE, MIRROR, remote

CONTENT = bytes(range(256)) * 4
SIZE = len(CONTENT)
DIGEST = Digest.of(CONTENT)
PATH = f"/v2/team/app/blobs/{DIGEST}"
GET = f"GET {PATH}"


def blob_of(exchange: ScriptedExchange, *, events: list[Event] | None = None) -> RemoteBlob:
    return remote(exchange, events=events).blob(DIGEST, SIZE)


async def read(blob: RemoteBlob, start: int = 0, end: int | None = None) -> bytes:
    async with blob.open(start=start, end=end) as pieces:
        return b"".join([piece async for piece in pieces])


async def read_span(blob: RemoteBlob, start: int, end: int) -> bytes:
    async with blob.open_span(start, end) as pieces:
        return b"".join([piece async for piece in pieces])


def whole(*, etag: str | None = None, breaks_after: int | None = None, content: bytes = CONTENT) -> Reply:
    return Reply(200, content, headers={"etag": etag} if etag else {}, breaks_after=breaks_after)


def part(start: int, end: int = SIZE, *, breaks_after: int | None = None, size: str = str(SIZE)) -> Reply:
    headers = {"content-range": f"bytes {start}-{end - 1}/{size}"}
    return Reply(206, CONTENT[start:end], headers=headers, breaks_after=breaks_after)


def asked(exchange: ScriptedExchange) -> list[str | None]:
    return [seen.headers.get("range") for seen in exchange.requests]


# resumption


@pytest.mark.parametrize("position", [0, 1, 2, 255, 256, 511, SIZE // 2, SIZE - 2, SIZE - 1])
async def test_open_after_body_that_broke_off_goes_on_there(position: int) -> None:
    exchange = ScriptedExchange(
        (GET, whole(etag='"tag"', breaks_after=position)), (GET, part(position) if position else whole())
    )
    assert await read(blob_of(exchange)) == CONTENT
    exchange.require_done()
    assert asked(exchange) == [None, f"bytes={position}-" if position else None]
    assert exchange.requests[1].headers.get("if-range") == ('"tag"' if position else None)


async def test_open_of_body_that_breaks_after_its_last_byte_is_whole() -> None:
    exchange = ScriptedExchange((GET, whole(breaks_after=SIZE)))
    assert await read(blob_of(exchange)) == CONTENT
    exchange.require_done()


async def test_open_after_several_breaks_gives_every_byte_once() -> None:
    exchange = ScriptedExchange(
        (GET, whole(breaks_after=100)),
        (GET, part(100, breaks_after=50)),
        (GET, part(150, breaks_after=1)),
        (GET, part(151)),
    )
    assert await read(blob_of(exchange)) == CONTENT
    exchange.require_done()


async def test_open_after_body_that_ends_early_without_a_word_goes_on() -> None:
    exchange = ScriptedExchange((GET, Reply(200, [CONTENT[:300]])), (GET, part(300)))
    assert await read(blob_of(exchange)) == CONTENT
    exchange.require_done()


async def test_open_of_body_that_never_gets_anywhere_ends() -> None:
    events: list[Event] = []

    def answer(seen: Seen) -> Reply:
        start = int(seen.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        return part(start, breaks_after=1) if start else whole(breaks_after=1)

    exchange = ScriptedExchange(answer=answer)
    with pytest.raises(ConnectionFailed):
        await read(blob_of(exchange, events=events))
    assert len(exchange.requests) == ATTEMPTS
    assert {(event.state, event.kind, event.digest) for event in events} == {(State.RETRYING, Kind.LAYER, DIGEST)}


async def test_open_that_makes_progress_may_break_often() -> None:
    content = bytes(20 * 1024 * 1024)
    digest = Digest.of(content)

    def answer(seen: Seen) -> Reply:
        start = int(seen.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        headers = {"content-range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        pieces = itertools.repeat(bytes(512 * 1024), (len(content) - start) // (512 * 1024))
        return Reply(206 if start else 200, pieces, headers=headers, breaks_after=2 * 1024 * 1024)

    exchange = ScriptedExchange(answer=answer)
    assert len(await read(remote(exchange).blob(digest, len(content)))) == len(content)
    assert len(exchange.requests) == 10


async def test_open_from_the_middle_asks_for_the_rest() -> None:
    exchange = ScriptedExchange((GET, part(1000)))
    assert await read(blob_of(exchange), 1000) == CONTENT[1000:]
    assert asked(exchange) == ["bytes=1000-"]


async def test_open_with_what_an_earlier_run_has_sends_its_etag_along() -> None:
    exchange = ScriptedExchange((GET, part(1000)))
    blob = blob_of(exchange)
    blob.expect('"old"')
    assert await read(blob, 1000) == CONTENT[1000:]
    assert exchange.requests[0].headers["if-range"] == '"old"'


async def test_open_with_etag_that_has_changed_passes_over_what_is_there() -> None:
    """The registry sends all of it then; whether it is the same, the digest says."""
    exchange = ScriptedExchange((GET, whole(etag='"new"')))
    blob = blob_of(exchange)
    blob.expect('"old"')
    assert await read(blob, 1000) == CONTENT[1000:]
    assert blob.validator == '"new"'


async def test_open_sends_no_weak_etag() -> None:
    exchange = ScriptedExchange((GET, whole(etag='W/"weak"', breaks_after=9)), (GET, part(9)))
    assert await read(blob_of(exchange)) == CONTENT
    assert "if-range" not in exchange.requests[1].headers


# servers that do not do ranges


@pytest.mark.parametrize("position", [1, 300, SIZE - 1])
async def test_open_of_rest_that_is_answered_with_all_gives_the_rest(position: int) -> None:
    exchange = ScriptedExchange((GET, whole(breaks_after=position)), (GET, whole()))
    assert await read(blob_of(exchange)) == CONTENT
    exchange.require_done()


async def test_open_of_rest_that_is_answered_with_all_and_breaks_while_it_is_passed_over_goes_on() -> None:
    exchange = ScriptedExchange((GET, whole(breaks_after=300)), (GET, whole(breaks_after=100)), (GET, part(300)))
    assert await read(blob_of(exchange)) == CONTENT


@pytest.mark.parametrize(("start", "end"), [(0, 10), (5, 10), (0, SIZE - 1), (SIZE - 1, SIZE)])
async def test_open_part_that_is_answered_with_all_gives_the_part(start: int, end: int) -> None:
    exchange = ScriptedExchange((GET, whole()))
    assert await read(blob_of(exchange), start, end) == CONTENT[start:end]


async def test_open_span_that_is_answered_with_all_is_unsupported() -> None:
    with pytest.raises(RangesUnsupported):
        await read_span(blob_of(ScriptedExchange((GET, whole()))), 0, 10)


async def test_open_span_gives_those_bytes() -> None:
    exchange = ScriptedExchange((GET, part(10, 20)))
    assert await read_span(blob_of(exchange), 10, 20) == CONTENT[10:20]
    assert asked(exchange) == ["bytes=10-19"]


@pytest.mark.parametrize(
    "content_range",
    [
        "",
        "bytes 0-1023/1024",
        "bytes 301-1023/1024",
        "bytes 300-1023/9999",
        "bytes */1024",
        "300-1023/1024",
        "x" * 9000,
    ],
    ids=["none", "from_0", "later", "other_size", "unsatisfied", "no_unit", "long"],
)
async def test_open_that_is_sent_another_part_asks_for_all_instead(content_range: str) -> None:
    wrong = Reply(206, b"wrong", headers={"content-range": content_range} if content_range else {})
    exchange = ScriptedExchange((GET, whole(breaks_after=300)), (GET, wrong), (GET, whole()))
    assert await read(blob_of(exchange)) == CONTENT
    exchange.require_done()
    assert asked(exchange) == [None, "bytes=300-", None]


async def test_open_that_is_told_there_is_no_such_part_asks_for_all_instead() -> None:
    exchange = ScriptedExchange((GET, whole(breaks_after=300)), (GET, Reply(416)), (GET, whole()))
    assert await read(blob_of(exchange)) == CONTENT


async def test_open_that_is_sent_parts_whatever_it_asks_for_ends() -> None:
    exchange = ScriptedExchange(answer=lambda _: part(7))
    with pytest.raises(RangeInvalid, match="bytes 7-1023/1024"):
        await read(blob_of(exchange))
    assert len(exchange.requests) == 2


@pytest.mark.parametrize("reply", [part(11, 20), Reply(416), Reply(206, b"x")], ids=["other", "416", "none"])
async def test_open_span_that_is_sent_another_part_is_unsupported(reply: Reply) -> None:
    with pytest.raises(RangesUnsupported):
        await read_span(blob_of(ScriptedExchange((GET, reply))), 10, 20)


async def test_open_that_is_sent_less_of_a_part_asks_for_the_rest() -> None:
    exchange = ScriptedExchange((GET, part(0, 400)), (GET, part(400, 800)), (GET, part(800)))
    assert await read(blob_of(exchange)) == CONTENT


# sizes


@pytest.mark.parametrize("content", [CONTENT + b"x", CONTENT[:-1], b""], ids=["more", "less", "nothing"])
async def test_open_of_body_announced_with_another_size_is_refused(content: bytes) -> None:
    with pytest.raises(SizeInvalid) as caught:
        await read(blob_of(ScriptedExchange((GET, whole(content=content)))))
    assert (caught.value.detail["expected"], caught.value.detail["actual"]) == (SIZE, len(content))


async def test_open_of_endless_body_is_refused_in_time() -> None:
    given = 0

    def endless() -> itertools.chain[bytes]:
        def piece(_: int) -> bytes:
            nonlocal given
            given += 1
            return bytes(100)

        return itertools.chain(map(piece, itertools.count()))

    with pytest.raises(SizeInvalid, match="more came"):
        await read(blob_of(ScriptedExchange((GET, Reply(200, endless())))))
    assert given <= SIZE // 100 + 1


async def test_open_of_empty_blob_asks_nothing() -> None:
    exchange = ScriptedExchange()
    assert await read(remote(exchange).blob(Digest.of(b""), 0)) == b""


@pytest.mark.parametrize("length", ["", "-1", "\xb2\xb3", "9" * 5000, "0x10", "1e3"])
async def test_find_blob_without_sensible_size_is_refused(length: str) -> None:
    exchange = ScriptedExchange((f"HEAD {PATH}", Reply(200, [], headers={"content-length": length})))
    with pytest.raises(ManifestInvalid, match="Content-Length"):
        await remote(exchange).find_blob(DIGEST)


async def test_find_blob_gives_its_size() -> None:
    exchange = ScriptedExchange((f"HEAD {PATH}", Reply(200, [], headers={"content-length": "77"})))
    assert (await remote(exchange).find_blob(DIGEST)).size == 77


@pytest.mark.parametrize("outcome", [Reply(500), Reply(403), Reply(401), Reply(429), Broken(sent_nothing=True)])
async def test_find_blob_that_fails_is_not_absent(outcome: Reply | Broken) -> None:
    exchange = ScriptedExchange(answer=lambda _: outcome)
    with pytest.raises(RegistryError) as caught:
        await remote(exchange).find_blob(DIGEST)
    assert not isinstance(caught.value, BlobUnknown)


async def test_open_left_in_the_middle_closes_the_answer() -> None:
    exchange = ScriptedExchange((GET, Reply(200, itertools.repeat(b"x", SIZE))))
    async with blob_of(exchange).open() as pieces:
        async for _ in pieces:
            break
    exchange.require_done()


async def test_open_asks_for_bytes_as_they_are_stored() -> None:
    exchange = ScriptedExchange((GET, whole()))
    await read(blob_of(exchange))
    assert exchange.requests[0].headers["accept-encoding"] == "identity"


# mirrors

AT_MIRROR, AT_REGISTRY = f"GET {MIRROR.base_url}{PATH}", f"GET {BASE}{PATH}"


@pytest.mark.parametrize(
    "bad",
    [whole(breaks_after=300), Reply(200, [CONTENT[:300]]), Reply(200, [CONTENT[:300], b"x" * SIZE])],
    ids=["breaks", "ends", "goes_on"],
)
async def test_open_after_mirror_that_failed_goes_on_at_the_registry(bad: Reply) -> None:
    exchange = ScriptedExchange((AT_MIRROR, bad), (AT_REGISTRY, part(300)))
    assert await read(remote(exchange, MIRROR).blob(DIGEST, SIZE)) == CONTENT
    exchange.require_done()
    assert "if-range" not in exchange.requests[1].headers


async def test_open_after_mirror_with_another_size_asks_the_registry() -> None:
    exchange = ScriptedExchange((AT_MIRROR, whole(content=b"other")), (AT_REGISTRY, whole()))
    assert await read(remote(exchange, MIRROR).blob(DIGEST, SIZE)) == CONTENT


async def test_find_blob_past_mirrors_asks_the_registry_alone() -> None:
    exchange = ScriptedExchange((f"HEAD {BASE}{PATH}", Reply(200, [], headers={"content-length": "1"})))
    await remote(exchange, MIRROR).past_mirrors().find_blob(DIGEST)
    exchange.require_done()
