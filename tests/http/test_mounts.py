"""Mount of blobs out of other repositories (distribution-spec, "Mounting a blob from another repository")."""

from __future__ import annotations

import pytest

from entrepot.digest import Digest

from .api import ABSENT, Api, only, refused

ALGORITHMS = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
ENCODE = pytest.mark.parametrize("encode", [False, True], ids=["raw", "encoded"])
DATA = b"a blob to be shared"


def query(digest: str, source: str | None, *, encode: bool = False) -> str:
    text = f"mount={digest}" + (f"&from={source}" if source is not None else "")
    return f"blobs/uploads/?{text.replace(':', '%3A').replace('/', '%2F') if encode else text}"


@ALGORITHMS
@ENCODE
@pytest.mark.parametrize("named", [True, False], ids=["with from", "without from"])
async def test_mount_blob_is_201_and_can_be_pulled(repo: Api, algorithm: str, encode: bool, named: bool) -> None:
    source = repo.beside("source")
    digest = await source.push_blob(f"{DATA!r} {repo.name}".encode(), algorithm)
    answer = await repo.post(query(digest, source.name if named else None, encode=encode))
    assert answer.status_code == 201
    assert only(answer.headers, "location", "docker-content-digest") == {
        "location": f"/v2/{repo.name}/blobs/{digest}",
        "docker-content-digest": digest,
    }
    assert (await repo.get(answer.headers["location"])).content == f"{DATA!r} {repo.name}".encode()


async def test_mount_blob_out_of_same_repository_is_201(repo: Api) -> None:
    digest = await repo.push_blob(DATA)
    assert (await repo.post(query(digest, repo.name))).status_code == 201


@pytest.mark.parametrize("extra", ["&origin=docker.io", "&ns=docker.io", "&_state=x"])
async def test_mount_blob_with_unknown_parameter_is_201(repo: Api, extra: str) -> None:
    digest = await repo.beside("source").push_blob(DATA)
    assert (await repo.post(query(digest, repo.beside("source").name) + extra)).status_code == 201


async def test_mount_blob_that_was_mounted_outlives_its_source(repo: Api) -> None:
    source = repo.beside("source")
    digest = await source.push_blob(DATA)
    await repo.post(query(digest, source.name))
    await source.delete(f"blobs/{digest}")
    assert (await repo.get(f"blobs/{digest}")).content == DATA


@ALGORITHMS
@pytest.mark.parametrize("case", ["nowhere", "not in source", "unknown source", "illegal source", "empty source"])
async def test_mount_blob_that_is_not_there_is_202_with_an_upload(repo: Api, case: str, algorithm: str) -> None:
    source = repo.beside("source")
    await source.push_blob(b"so that it exists")
    data = f"{case} {repo.name}".encode()
    digest = Digest.of(data, algorithm)
    if case == "not in source":
        await repo.beside("third").push_blob(data, algorithm)
    name = {"unknown source": f"{source.name}/no", "illegal source": "NO//no", "empty source": ""}.get(
        case, source.name
    )
    answer = await repo.post(query(digest, name))
    assert (answer.status_code, answer.headers["range"]) == (202, "0-0")
    done = await repo.put(f"{answer.headers['location']}?digest={digest}", data)
    assert done.status_code == 201
    assert (await repo.get(done.headers["location"])).content == data


async def test_mount_blob_without_from_that_is_nowhere_is_202_with_an_upload(repo: Api) -> None:
    answer = await repo.post(query(ABSENT, None))
    assert answer.status_code == 202
    assert (await repo.delete(answer.headers["location"])).status_code == 204


async def test_mount_blob_that_every_repository_deleted_is_202(repo: Api) -> None:
    data = f"only here {repo.name}".encode()
    digest = await repo.push_blob(data)
    await repo.delete(f"blobs/{digest}")
    assert (await repo.beside("target").post(query(digest, repo.name))).status_code == 202


@pytest.mark.parametrize("digest", ["sha256:baddigeststring", "", f"md5:{'a' * 32}"], ids=lambda text: text[:12])
async def test_mount_blob_by_digest_we_cannot_have_is_refused(repo: Api, digest: str) -> None:
    refused(await repo.post(query(digest, repo.beside("source").name)), 400, "DIGEST_INVALID")


async def test_mount_blob_makes_head_of_it_200_here_and_only_here(repo: Api) -> None:
    source, third = repo.beside("source"), repo.beside("third")
    digest = await source.push_blob(DATA)
    assert (await repo.head(f"blobs/{digest}")).status_code == 404
    await repo.post(query(digest, source.name))
    assert (await repo.head(f"blobs/{digest}")).status_code == 200
    assert (await third.head(f"blobs/{digest}")).status_code == 404
