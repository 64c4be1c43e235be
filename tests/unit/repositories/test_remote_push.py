"""Uploads to our own server over connections that break, and to registries that behave otherwise."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.errors import AccessDenied, DigestInvalid, RegistryError, Unavailable, UploadInvalid, UploadTooLarge
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.metadata.statistics import count_everything
from entrepot.repositories.base import Chunk
from entrepot.repositories.local import LocalRegistry
from entrepot.repositories.remote_push import IN_ONE_REQUEST
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.cutting import Cut, CuttingExchange
from entrepot.testing.scripted import Broken, Reply, ScriptedExchange
from entrepot.transport.base import ConnectionFailed
from entrepot.wire.errors import encode
from tests.unit.repositories.remotes import (
    ATTEMPTS,
    BASE,
    DOMAIN,
    NAME,
    MemoryBlob,
    RememberedPushes,
    read,
    remote,
    served,
)
from tests.unit.transport.scripts import refusal

LARGE = random.Random(1).randbytes(3 * 1024 * 1024 + 17)
SMALL = random.Random(2).randbytes(1000)
SIZE = len(LARGE)


@pytest.fixture
async def registry(database: Path) -> AsyncIterator[LocalRegistry]:
    metadata = SqliteMetadata(database)
    yield LocalRegistry(MemoryBlobStore(), metadata)
    await metadata.close()


async def require_there(registry: LocalRegistry, content: bytes) -> None:
    """The blob is whole, and no upload is left behind."""
    assert await read(await registry.repository(NAME).find_blob(Digest.of(content))) == content
    assert (await registry.metadata.read_much(count_everything())).uploads == 0


# over connections to our own server that break

POSITIONS = [0, 1, 2, 3, 65_535, 65_536, 65_537, 1_048_576, 1_500_000, SIZE - 2, SIZE - 1]


@pytest.mark.parametrize("position", POSITIONS)
async def test_push_of_large_blob_that_breaks_off_goes_on_where_the_registry_says(
    registry: LocalRegistry, position: int
) -> None:
    exchange = CuttingExchange(served(registry), {"PATCH": [Cut(request_after=position)]})
    told: list[int] = []
    await remote(exchange).push_blob(MemoryBlob(LARGE), sent=told.append)
    await require_there(registry, LARGE)
    assert exchange.are_made()
    rest = [request for request in exchange.requests if request.method == "PATCH"][1]
    starts_over = position <= 1  # the wire has the same words for none and one
    assert rest.headers.get("content-range") == (None if starts_over else f"{position}-{SIZE - 1}")
    assert told[-1] == SIZE


async def test_push_of_large_blob_that_breaks_off_often_sends_every_byte_once(registry: LocalRegistry) -> None:
    exchange = CuttingExchange(
        served(registry), {"PATCH": [Cut(request_after=1_100_000), Cut(request_after=5), Cut(9)]}
    )
    await remote(exchange).push_blob(MemoryBlob(LARGE), sent=lambda _: None)
    await require_there(registry, LARGE)
    sizes = [request.body.size for request in exchange.requests if request.method == "PATCH" and request.body]
    assert sizes == [SIZE, SIZE - 1_100_000, SIZE - 1_100_005, SIZE - 1_100_014]


async def test_push_of_large_blob_that_never_gets_anywhere_ends(registry: LocalRegistry) -> None:
    exchange = CuttingExchange(served(registry), {"PATCH": [Cut(request_after=10)] * 20})
    with pytest.raises(ConnectionFailed):
        await remote(exchange).push_blob(MemoryBlob(LARGE), sent=lambda _: None)
    assert exchange.methods.count("PATCH") == ATTEMPTS


@pytest.mark.parametrize(
    ("method", "content"),
    [("POST", SMALL), ("PUT", SMALL), ("POST", LARGE), ("PATCH", LARGE), ("PUT", LARGE)],
    ids=["begin_small", "all_small", "begin_large", "bytes_large", "close_large"],
)
async def test_push_whose_answer_is_lost_is_there_in_the_end(
    registry: LocalRegistry, method: str, content: bytes
) -> None:
    exchange = CuttingExchange(served(registry), {method: [Cut(answer_is_lost=True)]})
    await remote(exchange).push_blob(MemoryBlob(content), sent=lambda _: None)
    assert await read(await registry.repository(NAME).find_blob(Digest.of(content))) == content
    assert exchange.are_made()


@pytest.mark.parametrize("position", [0, 1, 999])
async def test_push_of_small_blob_that_breaks_off_starts_over(registry: LocalRegistry, position: int) -> None:
    exchange = CuttingExchange(served(registry), {"PUT": [Cut(request_after=position)]})
    await remote(exchange).push_blob(MemoryBlob(SMALL), sent=lambda _: None)
    await require_there(registry, SMALL)


async def test_push_of_small_blob_takes_two_requests(registry: LocalRegistry) -> None:
    exchange = CuttingExchange(served(registry), {})
    await remote(exchange).push_blob(MemoryBlob(SMALL), sent=lambda _: None)
    assert exchange.methods == ["POST", "PUT"]


async def test_push_of_large_blob_takes_three_requests(registry: LocalRegistry) -> None:
    exchange = CuttingExchange(served(registry), {})
    await remote(exchange).push_blob(MemoryBlob(LARGE), sent=lambda _: None)
    assert exchange.methods == ["POST", "PATCH", "PUT"]
    assert "content-range" not in exchange.requests[1].headers


@pytest.mark.parametrize("content", [b"", SMALL], ids=["empty", "small"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_push_by_any_algorithm_stores_it_under_that_name(
    registry: LocalRegistry, content: bytes, algorithm: str
) -> None:
    blob = MemoryBlob(content)
    blob.digest = Digest.of(content, algorithm)
    await remote(served(registry)).push_blob(blob, sent=lambda _: None)
    assert await read(await registry.repository(NAME).find_blob(blob.digest)) == content


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
async def test_push_of_wrong_bytes_is_refused_and_leaves_no_upload(registry: LocalRegistry, content: bytes) -> None:
    blob = MemoryBlob(content)
    blob.digest = Digest.of(b"something else")
    exchange = CuttingExchange(served(registry), {})
    with pytest.raises(DigestInvalid):
        await remote(exchange).push_blob(blob, sent=lambda _: None)
    assert (await registry.metadata.read_much(count_everything())).uploads == 0
    assert exchange.methods.count("POST") == 1


# over several runs


async def test_push_goes_on_where_an_earlier_run_ended(registry: LocalRegistry) -> None:
    memory, position = RememberedPushes(), 2_000_000
    first = CuttingExchange(
        served(registry), {"PATCH": [Cut(request_after=position)], "GET": [Cut(answer_is_lost=True)] * 9}
    )
    with pytest.raises(ConnectionFailed):
        await remote(first, memory=memory).push_blob(MemoryBlob(LARGE), sent=lambda _: None)
    assert len(memory.locations) == 1
    second = CuttingExchange(served(registry), {})
    told: list[int] = []
    await remote(second, memory=memory).push_blob(MemoryBlob(LARGE), sent=told.append)
    assert second.methods == ["GET", "PATCH", "PUT"]
    assert told[0] == position
    await require_there(registry, LARGE)
    assert memory.locations == {}


async def test_push_whose_remembered_upload_has_expired_begins_anew(registry: LocalRegistry) -> None:
    memory = RememberedPushes()
    key = (DOMAIN, NAME, MemoryBlob(LARGE).digest)
    memory.locations[key] = f"{BASE}/v2/{NAME}/blobs/uploads/7f4f1d0e-1111-4222-8333-444455556666"
    await remote(served(registry), memory=memory).push_blob(MemoryBlob(LARGE), sent=lambda _: None)
    await require_there(registry, LARGE)
    assert memory.locations == {}


async def test_push_whose_remembered_upload_holds_other_bytes_starts_over(registry: LocalRegistry) -> None:
    memory = RememberedPushes()
    wrong = remote(served(registry))
    upload_id = await wrong.begin_upload()
    await wrong.append(upload_id, chunk_of(b"x" * 1000))
    memory.locations[DOMAIN, NAME, MemoryBlob(LARGE).digest] = upload_id.partition("@")[2]
    await remote(served(registry), memory=memory).push_blob(MemoryBlob(LARGE), sent=lambda _: None)
    await require_there(registry, LARGE)


async def test_push_with_registry_out_of_reach_keeps_what_it_remembers(registry: LocalRegistry) -> None:
    memory = RememberedPushes()
    memory.locations[DOMAIN, NAME, MemoryBlob(LARGE).digest] = f"{BASE}/upload"
    exchange = ScriptedExchange(answer=lambda _: Broken())
    with pytest.raises(ConnectionFailed):
        await remote(exchange, memory=memory).push_blob(MemoryBlob(LARGE), sent=lambda _: None)
    assert len(memory.locations) == 1


# registries that behave otherwise

CONTENT = LARGE[: IN_ONE_REQUEST + 1]
DIGEST = Digest.of(CONTENT)
UPLOADS = f"/v2/{NAME}/blobs/uploads/"
POST = f"POST {UPLOADS}"
HEAD = f"HEAD /v2/{NAME}/blobs/{DIGEST}"
ABSENT = (HEAD, Reply(404))
THERE = (HEAD, Reply(200, headers={"content-length": "5"}))
BEGUN = (POST, Reply(202, headers={"location": "/up/1"}))
DONE = Reply(201)


def kept(count: int, status: int = 202, **headers: str) -> Reply:
    return Reply(status, headers={"range": f"0-{count - 1}", **headers})


async def push(exchange: ScriptedExchange, *, base: str = BASE, content: bytes = CONTENT) -> None:
    await remote(exchange, base=base).push_blob(MemoryBlob(content), sent=lambda _: None)


def chunk_of(content: bytes) -> Chunk:
    async def pieces() -> AsyncIterator[bytes]:
        yield content

    return Chunk(pieces())


async def test_push_to_registry_that_tells_no_progress_starts_over_after_a_break() -> None:
    exchange = ScriptedExchange(
        BEGUN,
        ("PATCH /up/1", Broken(reads=100)),
        ("GET /up/1", Reply(204)),
        ("DELETE /up/1", Reply(204)),
        (POST, Reply(202, headers={"location": "/up/2"})),
        ("PATCH /up/2", Reply(202)),
        ("PUT /up/2", DONE),
    )
    await push(exchange)
    exchange.require_done()
    assert exchange.requests[5].body == CONTENT


@pytest.mark.parametrize("status", [400, 401, 403, 405, 416])
async def test_push_to_registry_that_knows_no_status_starts_over_after_a_break(status: int) -> None:
    exchange = ScriptedExchange(
        BEGUN,
        ("PATCH /up/1", Broken(reads=100)),
        ("GET /up/1", Reply(status)),
        ("DELETE /up/1", Reply(405)),
        BEGUN,
        ("PATCH /up/1", Reply(202)),
        ("PUT /up/1", DONE),
    )
    await push(exchange)
    exchange.require_done()


@pytest.mark.parametrize("count", [SIZE * 10, 1], ids=["more_than_there_is", "one"])
async def test_push_to_registry_that_tells_nonsense_starts_over(count: int) -> None:
    exchange = ScriptedExchange(
        BEGUN,
        ("PATCH /up/1", Broken(reads=100)),
        ("GET /up/1", kept(count, 204)),
        ("DELETE /up/1", Reply(204)),
        BEGUN,
        ("PATCH /up/1", Reply(202)),
        ("PUT /up/1", DONE),
    )
    await push(exchange)
    exchange.require_done()


async def test_push_whose_upload_has_expired_starts_over() -> None:
    exchange = ScriptedExchange(
        BEGUN,
        ("PATCH /up/1", Reply(404)),
        ABSENT,
        ("DELETE /up/1", Reply(404)),
        BEGUN,
        ("PATCH /up/1", Reply(202)),
        ("PUT /up/1", DONE),
    )
    await push(exchange)
    exchange.require_done()


async def test_push_whose_last_answer_was_lost_finds_the_blob() -> None:
    exchange = ScriptedExchange(
        BEGUN,
        ("PATCH /up/1", Reply(202)),
        ("PUT /up/1", Broken()),
        ("PUT /up/1", Reply(404)),
        (HEAD, Reply(200, headers={"content-length": str(len(CONTENT))})),
    )
    await push(exchange)
    exchange.require_done()


async def test_finish_upload_whose_answer_was_lost_has_succeeded() -> None:
    repository = remote(ScriptedExchange(BEGUN, ("PUT /up/1", Broken()), ("PUT /up/1", Reply(404)), THERE, THERE))
    upload_id = await repository.begin_upload()
    await repository.finish_upload(upload_id, DIGEST, Chunk(MemoryBlob(b"").open().pieces(), length=0))


async def test_push_whose_upload_is_gone_and_blob_is_there_has_succeeded() -> None:
    exchange = ScriptedExchange(
        BEGUN,
        ("PATCH /up/1", Broken(reads=5)),
        ("GET /up/1", Reply(404)),
        THERE,
    )
    await push(exchange)
    exchange.require_done()


async def test_push_that_cannot_tell_whether_the_blob_is_there_fails() -> None:
    exchange = ScriptedExchange(BEGUN, ("PATCH /up/1", Reply(404)), (HEAD, Reply(403)))
    with pytest.raises(AccessDenied):
        await push(exchange)


async def test_push_at_the_wrong_place_goes_on_where_the_registry_says() -> None:
    exchange = ScriptedExchange(
        BEGUN,
        ("PATCH /up/1", kept(700, 416, location="/up/1?state=2")),
        (f"GET {BASE}/up/1?state=2", kept(700, 204, location="/up/1?state=3")),
        (f"PATCH {BASE}/up/1?state=3", kept(len(CONTENT), location="/up/1?state=4")),
        (f"PUT {BASE}/up/1?state=4&digest=sha256%3A{DIGEST.encoded}", DONE),
    )
    await push(exchange)
    exchange.require_done()
    assert exchange.requests[3].body == CONTENT[700:]
    assert exchange.requests[3].headers["content-range"] == f"700-{len(CONTENT) - 1}"


async def test_push_of_which_less_was_kept_sends_the_rest() -> None:
    exchange = ScriptedExchange(
        BEGUN,
        ("PATCH /up/1", kept(600)),
        ("GET /up/1", kept(600, 204)),
        ("PATCH /up/1", kept(len(CONTENT))),
        ("PUT /up/1", DONE),
    )
    await push(exchange)
    exchange.require_done()
    assert exchange.requests[3].body == CONTENT[600:]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_push_refused_for_now_asks_and_goes_on(status: int) -> None:
    exchange = ScriptedExchange(
        BEGUN,
        ("PATCH /up/1", Reply(status)),
        ("GET /up/1", kept(600, 204)),
        ("PATCH /up/1", kept(len(CONTENT))),
        ("PUT /up/1", DONE),
    )
    await push(exchange)
    exchange.require_done()


async def test_push_refused_for_good_says_so_and_cancels_the_upload() -> None:
    exchange = ScriptedExchange(
        BEGUN,
        ("PATCH /up/1", Reply(413, encode([UploadTooLarge("too large", limit=5)])[1])),
        ("DELETE /up/1", Reply(204)),
    )
    with pytest.raises(UploadTooLarge):
        await push(exchange)
    exchange.require_done()


async def test_push_resumed_to_a_wrong_digest_starts_over_once() -> None:
    exchange = ScriptedExchange(
        BEGUN,
        ("PATCH /up/1", Broken(reads=100)),
        ("GET /up/1", kept(100, 204)),
        ("PATCH /up/1", kept(len(CONTENT))),
        ("PUT /up/1", refusal(400, "DIGEST_INVALID")),
        ("DELETE /up/1", Reply(404)),
        BEGUN,
        ("PATCH /up/1", kept(len(CONTENT))),
        ("PUT /up/1", refusal(400, "DIGEST_INVALID")),
        ("DELETE /up/1", Reply(404)),
    )
    with pytest.raises(DigestInvalid):
        await push(exchange)
    exchange.require_done()


async def test_push_to_registry_that_loses_every_upload_ends() -> None:
    def answer(seen: object) -> Reply:
        return {"POST": Reply(202, headers={"location": "/up/1"})}.get(getattr(seen, "method", ""), Reply(404))

    exchange = ScriptedExchange(answer=answer)
    with pytest.raises(RegistryError):
        await push(exchange)
    assert exchange.lines.count("PATCH /up/1") == ATTEMPTS


# where uploads are


@pytest.mark.parametrize(
    ("location", "address"),
    [
        ("/up/1", f"{BASE}/up/1"),
        ("up/1", f"{BASE}{UPLOADS}up/1"),
        (f"{BASE}/up/1?_state=a%2Fb&sig=c", f"{BASE}/up/1?_state=a%2Fb&sig=c"),
        (f"{BASE}/up/1#part", f"{BASE}/up/1"),
        ("https://store.test/up/1?X-Sig=abc", "https://store.test/up/1?X-Sig=abc"),
        ("//store.test/up/1", "https://store.test/up/1"),
        ("http://registry.test/up/1", f"{BASE}/up/1"),
        ("http://registry.test:5000/up/1", f"{BASE}/up/1"),
    ],
    ids=["path", "relative", "query", "fragment", "elsewhere", "no_scheme", "behind_tls", "behind_tls_port"],
)
async def test_push_goes_where_the_location_says(location: str, address: str) -> None:
    digest = f"digest=sha256%3A{Digest.of(SMALL).encoded}"
    exchange = ScriptedExchange(
        (POST, Reply(202, headers={"location": location})),
        (f"PUT {address}{'&' if '?' in address else '?'}{digest}", DONE),
    )
    await push(exchange, content=SMALL)
    exchange.require_done()
    assert "authorization" not in exchange.requests[1].headers


@pytest.mark.parametrize(
    "location",
    [
        "http://store.test/up",
        "file:///up",
        "https://127.0.0.1/up",
        "https://169.254.169.254/up",
        "https://a:b@store.test/up",
    ],
    ids=["no_tls", "file", "loopback", "link_local", "login"],
)
async def test_push_to_where_a_registry_has_no_business_is_refused(location: str) -> None:
    exchange = ScriptedExchange((POST, Reply(202, headers={"location": location})))
    with pytest.raises(AccessDenied):
        await push(exchange, content=SMALL)
    exchange.require_done()


async def test_push_to_registry_that_names_no_place_says_so() -> None:
    exchange = ScriptedExchange((POST, Reply(202)))
    with pytest.raises(UploadInvalid, match="no Location"):
        await push(exchange, content=SMALL)


async def test_push_follows_the_latest_location() -> None:
    exchange = ScriptedExchange(
        (POST, Reply(202, headers={"location": "/up/1?s=1"})),
        (f"PATCH {BASE}/up/1?s=1", kept(len(CONTENT), location="/up/1?s=2")),
        (f"PUT {BASE}/up/1?s=2&digest=sha256%3A{DIGEST.encoded}", DONE),
    )
    await push(exchange)
    exchange.require_done()


# mounts


async def test_mount_that_is_made_needs_one_request() -> None:
    exchange = ScriptedExchange(
        (POST, Reply(201, headers={"location": f"/v2/{NAME}/blobs/{DIGEST}"})),
        (HEAD, Reply(200, headers={"content-length": str(len(CONTENT))})),
    )
    assert await remote(exchange).mount_blob(DIGEST, NAME) is not None
    assert exchange.requests[0].query == {"mount": [DIGEST], "from": [NAME]}


async def test_mount_that_is_not_made_gives_its_upload_up() -> None:
    exchange = ScriptedExchange(BEGUN, ("DELETE /up/1", Reply(405)))
    assert await remote(exchange).mount_blob(DIGEST, NAME) is None
    exchange.require_done()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
async def test_mount_that_is_refused_is_none(status: int) -> None:
    exchange = ScriptedExchange((POST, Reply(status)))
    assert await remote(exchange).mount_blob(DIGEST, NAME) is None


async def test_mount_at_registry_in_trouble_is_an_error() -> None:
    with pytest.raises(Unavailable):
        await remote(ScriptedExchange(answer=lambda _: Reply(503))).mount_blob(DIGEST, NAME)
