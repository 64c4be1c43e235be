"""Uploads in chunks: order, status, cancel, and their end (distribution-spec, "Pushing a blob in chunks")."""

from __future__ import annotations

import asyncio
import random

import httpx
import pytest

from entrepot.digest import Digest

from .api import Api, chunked, only, refused

ALGORITHMS = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
BODIES = pytest.mark.parametrize("body", [bytes, chunked], ids=["with length", "chunked"])
DATA = random.Random(3).randbytes(3 * 1024)
CHUNKS = [DATA[:1024], DATA[1024:2048], DATA[2048:]]
UNKNOWN_ID = "blobs/uploads/01234567-89ab-cdef-0123-456789abcdef"


def span(start: int, data: bytes) -> str:
    return f"{start}-{start + len(data) - 1}"


def progress(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.headers["range"]


@ALGORITHMS
@BODIES
@pytest.mark.parametrize("last", ["patch", "put"])
async def test_push_blob_in_chunks_can_be_pulled(repo: Api, algorithm: str, body: type, last: str) -> None:
    location, digest = await repo.begin(), Digest.of(DATA, algorithm)
    for number, chunk in enumerate(CHUNKS if last == "patch" else CHUNKS[:-1]):
        answer = await repo.patch(location, body(chunk), content_range=span(number * 1024, chunk))
        assert progress(answer) == (202, f"0-{number * 1024 + 1023}")
        location = answer.headers["location"]
    if last == "patch":
        answer = await repo.put(f"{location}?digest={digest}")
    else:
        answer = await repo.put(f"{location}?digest={digest}", body(CHUNKS[2]), content_range=span(2048, CHUNKS[2]))
    assert answer.status_code == 201
    assert (await repo.get(answer.headers["location"])).content == DATA


async def test_append_chunk_answers_with_location_range_and_id(repo: Api) -> None:
    location = await repo.begin()
    answer = await repo.patch(location, b"0123456789", content_range="0-9")
    assert answer.status_code == 202
    assert only(answer.headers, "location", "range", "docker-upload-uuid", "content-length") == {
        "location": location,
        "range": "0-9",
        "docker-upload-uuid": location.rpartition("/")[2],
        "content-length": "0",
    }


@pytest.mark.parametrize("form", ["0-9", "bytes 0-9/10", "bytes 0-9/*"])
async def test_append_chunk_with_content_range_of_either_standard_is_taken(repo: Api, form: str) -> None:
    answer = await repo.patch(await repo.begin(), b"0123456789", content_range=form)
    assert progress(answer) == (202, "0-9")


@BODIES
async def test_append_without_content_range_goes_to_the_end(repo: Api, body: type) -> None:
    location = await repo.begin()
    for end in (1023, 2047, 3071):
        assert progress(await repo.patch(location, body(CHUNKS[end // 1024]))) == (202, f"0-{end}")
    digest = Digest.of(DATA)
    assert (await repo.put(f"{location}?digest={digest}")).status_code == 201
    assert (await repo.get(f"blobs/{digest}")).content == DATA


@BODIES
async def test_append_nothing_is_202_and_changes_nothing(repo: Api, body: type) -> None:
    location = await repo.begin()
    assert progress(await repo.patch(location, body(b""))) == (202, "0-0")
    await repo.patch(location, b"0123456789")
    assert progress(await repo.patch(location, body(b""))) == (202, "0-9")


@ALGORITHMS
async def test_push_empty_blob_by_streamed_patch_can_be_pulled(repo: Api, algorithm: str) -> None:
    location, digest = await repo.begin(), Digest.of(b"", algorithm)
    await repo.patch(location, chunked(b""))
    assert (await repo.put(f"{location}?digest={digest}")).status_code == 201
    assert (await repo.get(f"blobs/{digest}")).content == b""


@BODIES
@pytest.mark.parametrize(
    ("held", "start"),
    [(0, 1), (0, 2048), (1, 0), (1, 2), (1024, 0), (1024, 1023), (1024, 1025)],
    ids=lambda number: str(number),
)
async def test_append_chunk_out_of_order_is_416_and_upload_goes_on(
    repo: Api, body: type, held: int, start: int
) -> None:
    location = await repo.begin()
    await repo.patch(location, DATA[:held])
    chunk = DATA[start : start + 1000]
    answer = await repo.patch(location, body(chunk), content_range=span(start, chunk))
    errors = refused(answer, 416, "BLOB_UPLOAD_INVALID")
    assert (errors[0]["detail"]["offset"], errors[0]["detail"]["actual"]) == (held, start)
    assert only(answer.headers, "location", "range") == {"location": location, "range": f"0-{max(held - 1, 0)}"}
    rest = DATA[held:]
    assert progress(await repo.patch(location, body(rest), content_range=span(held, rest))) == (202, "0-3071")
    assert (await repo.put(f"{location}?digest={Digest.of(DATA)}")).status_code == 201


@BODIES
@pytest.mark.parametrize("digest", [Digest.of(DATA), Digest.of(b"other")], ids=["right digest", "wrong digest"])
async def test_finish_upload_with_last_chunk_out_of_order_is_416_and_upload_goes_on(
    repo: Api, body: type, digest: str
) -> None:
    location = await repo.begin()
    await repo.patch(location, CHUNKS[0], content_range=span(0, CHUNKS[0]))
    wrong = await repo.put(f"{location}?digest={digest}", body(CHUNKS[2]), content_range=span(2048, CHUNKS[2]))
    refused(wrong, 416, "BLOB_UPLOAD_INVALID")
    assert only(wrong.headers, "location", "range") == {"location": location, "range": "0-1023"}
    rest = DATA[1024:]
    done = await repo.put(f"{location}?digest={Digest.of(DATA)}", body(rest), content_range=span(1024, rest))
    assert done.status_code == 201


async def test_append_chunk_as_official_suite_does_out_of_order_each_time_ends_well(repo: Api) -> None:
    location = await repo.begin()
    for number, chunk in enumerate(CHUNKS):
        ahead = (number + 1) * 1024 if number < 2 else 0
        refused(await repo.patch(location, chunk, content_range=span(ahead, chunk)), 416, "BLOB_UPLOAD_INVALID")
        status = await repo.get(location)
        assert progress(status) == (204, f"0-{max(number * 1024 - 1, 0)}")
        location = status.headers["location"]
        answer = await repo.patch(location, chunk, content_range=span(number * 1024, chunk))
        location = answer.headers["location"]
    assert (await repo.put(f"{location}?digest={Digest.of(DATA)}")).status_code == 201


@pytest.mark.parametrize(("held", "expected"), [(0, "0-0"), (1, "0-0"), (2, "0-1"), (1024, "0-1023")])
@pytest.mark.parametrize("query", ["", f"?digest={Digest.of(b'')}"], ids=["", "leftover digest"])
async def test_get_upload_tells_the_last_byte_held(repo: Api, held: int, expected: str, query: str) -> None:
    location = await repo.begin()
    await repo.patch(location, DATA[:held])
    answer = await repo.get(f"{location}{query}")
    assert (progress(answer), answer.content) == ((204, expected), b"")
    assert answer.headers["location"] == location


async def test_head_upload_has_the_headers_of_get(repo: Api) -> None:
    location = await repo.begin()
    await repo.patch(location, b"0123456789")
    assert progress(await repo.head(location)) == (204, "0-9")


async def test_append_to_location_given_earlier_is_taken(repo: Api) -> None:
    first = await repo.begin()
    await repo.patch(first, b"01234")
    await repo.patch(first, b"56789")
    assert (await repo.put(f"{first}?digest={Digest.of(b'0123456789')}")).status_code == 201


@BODIES
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("stated", ["5-11", "5-30"], ids=["longer", "shorter"])
async def test_append_chunk_of_other_size_than_content_range_is_refused_and_rolled_back(
    repo: Api, method: str, stated: str, body: type
) -> None:
    location = await repo.begin()
    await repo.patch(location, b"kept!")
    path = f"{location}?digest={Digest.of(b'x')}" if method == "PUT" else location
    refused(await repo.request(method, path, body(b"only ten b"), content_range=stated), 400, "SIZE_INVALID")
    assert progress(await repo.get(location)) == (204, "0-4")
    done = await repo.put(f"{location}?digest={Digest.of(b'kept! and more')}", b" and more")
    assert done.status_code == 201


@pytest.mark.parametrize("header", ["9-0", "a-b", "-5", "5-", "0-9-10", "bytes=0-9", "+0-9", "0-9,10-19"])
async def test_append_chunk_with_malformed_content_range_is_refused_and_upload_kept(repo: Api, header: str) -> None:
    location = await repo.begin()
    refused(await repo.patch(location, b"0123456789", content_range=header), 400, "BLOB_UPLOAD_INVALID")
    assert progress(await repo.get(location)) == (204, "0-0")


async def test_cancel_upload_is_204_and_upload_is_gone(repo: Api) -> None:
    location = await repo.begin()
    await repo.patch(location, b"begun")
    answer = await repo.delete(location)
    assert (answer.status_code, answer.content) == (204, b"")
    refused(await repo.get(location), 404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("ended", ["never begun", "cancelled", "finished", "of another repository"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
async def test_use_upload_that_is_not_open_here_is_refused(repo: Api, method: str, ended: str) -> None:
    path = await _not_open(repo, ended)
    query = f"?digest={Digest.of(b'')}" if method == "PUT" else ""
    content = b"data" if method == "PATCH" else None
    refused(await repo.request(method, f"{path}{query}", content), 404, "BLOB_UPLOAD_UNKNOWN")


async def _not_open(repo: Api, ended: str) -> str:
    if ended == "never begun":
        return UNKNOWN_ID
    location = await repo.begin()
    if ended == "cancelled":
        await repo.delete(location)
    elif ended == "finished":
        await repo.put(f"{location}?digest={Digest.of(b'')}")
    else:
        return (await repo.beside("other").begin()).replace(repo.beside("other").name, repo.name)
    return location


async def test_finish_upload_under_another_repository_leaves_it_where_it_is(repo: Api) -> None:
    location = await repo.begin()
    await repo.patch(location, b"begun")
    other = repo.beside("other")
    moved = location.replace(repo.name, other.name)
    refused(await other.put(f"{moved}?digest={Digest.of(b'begun')}"), 404, "BLOB_UPLOAD_UNKNOWN")
    assert progress(await repo.get(location)) == (204, "0-4")


async def test_finish_upload_twice_at_once_is_201_and_404(repo: Api) -> None:
    location = await repo.begin()
    await repo.patch(location, DATA)
    path = f"{location}?digest={Digest.of(DATA)}"
    answers = await asyncio.gather(repo.put(path), repo.put(path))
    assert sorted(answer.status_code for answer in answers) == [201, 404]
    refused(max(answers, key=lambda answer: answer.status_code), 404, "BLOB_UPLOAD_UNKNOWN")


async def test_append_same_chunk_twice_at_once_is_202_and_416(repo: Api) -> None:
    location = await repo.begin()
    answers = await asyncio.gather(
        *(repo.patch(location, chunked(DATA), content_range=span(0, DATA)) for _ in range(2))
    )
    assert sorted(answer.status_code for answer in answers) == [202, 416]
    refused(max(answers, key=lambda answer: answer.status_code), 416, "BLOB_UPLOAD_INVALID")
    assert (await repo.put(f"{location}?digest={Digest.of(DATA)}")).status_code == 201


async def test_push_same_blob_many_times_at_once_is_201_each_time(repo: Api) -> None:
    digests = await asyncio.gather(*(repo.push_blob(DATA) for _ in range(8)))
    assert (await repo.get(f"blobs/{digests[0]}")).content == DATA


@pytest.mark.parametrize("number", range(4))
async def test_push_blob_by_requests_to_any_worker_can_be_pulled(wire: Api, number: int) -> None:
    location = await wire.begin()
    data = DATA + bytes([number])
    for start in range(0, len(data), 500):
        async with httpx.AsyncClient(base_url=wire.client.base_url, verify=False) as fresh:  # another connection
            answer = await Api(fresh, wire.name).patch(location, data[start : start + 500])
            assert progress(answer) == (202, f"0-{min(start + 500, len(data)) - 1}")
    assert (await wire.put(f"{location}?digest={Digest.of(data)}")).status_code == 201
