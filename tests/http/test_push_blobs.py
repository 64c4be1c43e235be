"""Push of blobs in one or two requests (distribution-spec, "Pushing a blob monolithically")."""

from __future__ import annotations

import random
import re
import uuid

import httpx
import pytest

from entrepot.digest import Digest

from .api import Api, chunked, only, refused

ALGORITHMS = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
BODIES = pytest.mark.parametrize("body", [bytes, chunked], ids=["with length", "chunked"])
CONTENTS = pytest.mark.parametrize(
    "data", [b"", b"x", random.Random(7).randbytes(200_000)], ids=["empty", "one byte", "200 kB"]
)
UNUSABLE = pytest.mark.parametrize(
    "text",
    [
        "sha256:baddigeststring",
        "sha256",
        "",
        f"sha256:{'A' * 64}",
        f"sha1:{'a' * 40}",
        f"blake3:{'a' * 64}",
        f"sha512:{'a' * 64}",
    ],
    ids=lambda text: text[:12],
)


async def pulled(repo: Api, answer: httpx.Response, digest: Digest) -> bytes:
    """The bytes at the Location of an answer that says the blob is stored."""
    assert answer.status_code == 201, answer.text
    assert only(answer.headers, "location", "docker-content-digest", "content-length") == {
        "location": f"/v2/{repo.name}/blobs/{digest}",
        "docker-content-digest": digest,
        "content-length": "0",
    }
    return (await repo.get(answer.headers["location"])).content


async def test_begin_upload_names_a_location_with_a_uuid(repo: Api) -> None:
    answer = await repo.post("blobs/uploads/")
    upload_id = answer.headers["docker-upload-uuid"]
    assert str(uuid.UUID(upload_id)) == upload_id
    assert answer.status_code == 202
    assert only(answer.headers, "location", "range", "content-length", "oci-chunk-min-length") == {
        "location": f"/v2/{repo.name}/blobs/uploads/{upload_id}",
        "range": "0-0",
        "content-length": "0",
        "oci-chunk-min-length": None,
    }


@pytest.mark.parametrize("query", ["", "?origin=docker.io", "?digest-algorithm=sha256", "?digest-algorithm=sha512"])
async def test_begin_upload_by_chunked_post_of_nothing_is_202(repo: Api, query: str) -> None:
    assert (await repo.post(f"blobs/uploads/{query}", chunked(b""))).status_code == 202


@pytest.mark.parametrize("name", ["blake3", "md5", "sha1", "SHA256", "x", "sha256:"])
async def test_begin_upload_for_algorithm_we_lack_is_refused(repo: Api, name: str) -> None:
    refused(await repo.post(f"blobs/uploads/?digest-algorithm={name}"), 400, "DIGEST_INVALID")


@ALGORITHMS
@CONTENTS
@BODIES
async def test_push_blob_by_post_and_put_can_be_pulled(repo: Api, data: bytes, algorithm: str, body: type) -> None:
    digest = Digest.of(data, algorithm)
    answer = await repo.put(
        f"{await repo.begin()}?digest={digest}", body(data), content_type="application/octet-stream"
    )
    assert await pulled(repo, answer, digest) == data


@ALGORITHMS
@CONTENTS
@BODIES
async def test_push_blob_by_single_post_can_be_pulled(repo: Api, data: bytes, algorithm: str, body: type) -> None:
    digest = Digest.of(data, algorithm)
    answer = await repo.post(f"blobs/uploads/?digest={digest}", body(data), content_type="application/octet-stream")
    assert await pulled(repo, answer, digest) == data


@CONTENTS
@pytest.mark.parametrize(
    ("announced", "algorithm"),
    [("sha512", "sha512"), ("sha512", "sha256"), ("sha256", "sha512")],
)
async def test_push_blob_under_announced_or_another_algorithm_can_be_pulled(
    repo: Api, data: bytes, announced: str, algorithm: str
) -> None:
    location = await repo.begin(f"?digest-algorithm={announced}")
    await repo.patch(location, chunked(data))
    digest = Digest.of(data, algorithm)
    assert await pulled(repo, await repo.put(f"{location}?digest={digest}"), digest) == data


async def test_push_blob_under_two_algorithms_is_found_under_both(repo: Api) -> None:
    data = b"one content, two names"
    names = [await repo.push_blob(data, algorithm) for algorithm in ("sha256", "sha512")]
    assert [(await repo.get(f"blobs/{name}")).content for name in names] == [data, data]


async def test_push_blob_that_is_there_already_is_201_again(repo: Api) -> None:
    first, second = await repo.push_blob(b"twice"), await repo.push_blob(b"twice")
    assert (first, (await repo.get(f"blobs/{second}")).content) == (second, b"twice")


@ALGORITHMS
@pytest.mark.parametrize("data", [b"", b"something else"], ids=["empty", "other"])
async def test_push_blob_by_put_with_wrong_digest_is_refused_and_nothing_kept(
    repo: Api, algorithm: str, data: bytes
) -> None:
    digest, location = Digest.of(b"expected", algorithm), await repo.begin()
    errors = refused(await repo.put(f"{location}?digest={digest}", data), 400, "DIGEST_INVALID")
    assert errors[0]["detail"]["expected"] == digest
    assert (await repo.head(f"blobs/{digest}")).status_code == 404
    refused(await repo.get(location), 404, "BLOB_UPLOAD_UNKNOWN")


@ALGORITHMS
@pytest.mark.parametrize("data", [b"", b"something else"], ids=["empty", "other"])
async def test_push_blob_by_single_post_with_wrong_digest_is_refused_and_nothing_kept(
    repo: Api, algorithm: str, data: bytes
) -> None:
    digest = Digest.of(b"expected", algorithm)
    refused(await repo.post(f"blobs/uploads/?digest={digest}", data), 400, "DIGEST_INVALID")
    assert (await repo.head(f"blobs/{digest}")).status_code == 404


async def test_push_blob_with_wrong_digest_leaves_the_blob_of_that_digest_as_it_was(repo: Api) -> None:
    digest = await repo.push_blob(b"good")
    refused(await repo.put(f"{await repo.begin()}?digest={digest}", b"bad"), 400, "DIGEST_INVALID")
    assert (await repo.get(f"blobs/{digest}")).content == b"good"


@UNUSABLE
async def test_push_blob_by_put_with_unusable_digest_is_refused_and_upload_kept(repo: Api, text: str) -> None:
    location = await repo.begin()
    refused(await repo.put(f"{location}?digest={text}", b"data"), 400, "DIGEST_INVALID")
    assert (await repo.get(location)).status_code == 204


@UNUSABLE
async def test_push_blob_by_single_post_with_unusable_digest_is_refused(repo: Api, text: str) -> None:
    refused(await repo.post(f"blobs/uploads/?digest={text}", b"data"), 400, "DIGEST_INVALID")


async def test_push_blob_by_put_without_digest_is_refused_and_upload_kept(repo: Api) -> None:
    location = await repo.begin()
    await repo.patch(location, b"kept")
    refused(await repo.put(location, b"data"), 400, "DIGEST_INVALID")
    assert (await repo.get(location)).headers["range"] == "0-3"


@pytest.mark.parametrize("query", ["digest={}&_state=abc", "_state=abc&digest={}", "x=%3D&digest={}&ns=docker.io"])
@pytest.mark.parametrize("encode", [False, True], ids=["raw", "encoded"])
async def test_push_blob_with_unknown_parameters_is_taken(repo: Api, query: str, encode: bool) -> None:
    digest = Digest.of(b"data")
    text = digest.replace(":", "%3A") if encode else digest
    answer = await repo.put(f"{await repo.begin()}?{query.format(text)}", b"data")
    assert await pulled(repo, answer, digest) == b"data"


async def test_push_blob_with_digest_appended_by_ampersand_is_taken(repo: Api) -> None:
    digest = Digest.of(b"data")
    answer = await repo.put(f"{await repo.begin()}&digest={digest}", b"data")
    assert await pulled(repo, answer, digest) == b"data"


async def test_push_blob_to_location_with_its_query_dropped_is_taken(repo: Api) -> None:
    location = httpx.URL(await repo.begin())
    assert (location.query, location.fragment) == (b"", "")
    digest = Digest.of(b"data")
    assert (await repo.put(f"{location.path}?digest={digest}", b"data")).status_code == 201


async def test_begin_upload_gives_location_of_nothing_but_name_and_id(repo: Api) -> None:
    assert re.fullmatch(rf"/v2/{repo.name}/blobs/uploads/[0-9a-f-]{{36}}", await repo.begin())
