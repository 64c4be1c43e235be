"""The referrers of a manifest (distribution-spec, "Listing Referrers")."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from entrepot.digest import Digest
from entrepot.testing.images import EMPTY_CONFIG, OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, Content

from .api import ABSENT, Api, document, next_page, refused

SBOM = "application/vnd.example.sbom.v1+json"
SIGNATURE = "application/vnd.example.signature.v1"
ALGORITHMS = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
SUBJECT = {"mediaType": OCI_MANIFEST, "digest": ABSENT, "size": 7}


def entries(answer: httpx.Response) -> list[dict[str, Any]]:
    """The descriptors of a referrers answer, whose form is checked."""
    assert (answer.status_code, answer.headers["content-type"]) == (200, OCI_INDEX)
    index = answer.json()
    assert (index["schemaVersion"], index["mediaType"]) == (2, OCI_INDEX)
    found: list[dict[str, Any]] = index["manifests"]
    return found


def digests(answer: httpx.Response) -> set[str]:
    return {entry["digest"] for entry in entries(answer)}


async def walk(repo: Api, path: str) -> AsyncIterator[httpx.Response]:
    """All pages from ``path`` on, each by the Link of the one before."""
    following: str | None = path
    while following is not None:
        answer = await repo.get(following)
        yield answer
        following = next_page(answer)


async def push_referrer(repo: Api, **fields: Any) -> Content:
    return await repo.push_document(**{"subject": SUBJECT, **fields})


@pytest.mark.parametrize("case", ["unknown repository", "no manifests", "unknown subject", "no referrers"])
async def test_list_referrers_where_there_are_none_is_an_empty_index(repo: Api, case: str) -> None:
    if case == "no manifests":
        await repo.push_blob(b"x")
    content = await repo.push_document() if case in ("unknown subject", "no referrers") else None
    answer = await repo.get(f"referrers/{content.digest if content and case == 'no referrers' else ABSENT}")
    assert entries(answer) == []
    assert answer.json() == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


@pytest.mark.parametrize(
    "digest", ["sha256:baddigeststring", "latest", f"sha256:{'A' * 64}", f"sha512:{'a' * 64}", "sha256:"]
)
async def test_list_referrers_of_malformed_digest_is_refused(repo: Api, digest: str) -> None:
    await repo.push_document()
    refused(await repo.get(f"referrers/{digest}"), 400, "DIGEST_INVALID")


@pytest.mark.parametrize("is_there", [True, False], ids=["subject there", "subject absent"])
async def test_list_referrers_has_each_manifest_with_that_subject(repo: Api, is_there: bool) -> None:
    subject = (await repo.push_document(note="subject") if is_there else document(note="subject")).descriptor()
    image = await push_referrer(repo, subject=subject, artifactType=SBOM)
    index = await push_referrer(repo, subject=subject, media_type=OCI_INDEX, artifactType=SBOM)
    await push_referrer(repo, artifactType=SBOM)  # of another subject
    assert digests(await repo.get(f"referrers/{subject['digest']}")) == {image.digest, index.digest}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"artifactType": SBOM}, SBOM),
        ({}, OCI_EMPTY),
        ({"artifactType": ""}, OCI_EMPTY),
        ({"config": {**EMPTY_CONFIG.descriptor(), "mediaType": OCI_CONFIG}}, OCI_CONFIG),
        ({"config": {**EMPTY_CONFIG.descriptor(), "mediaType": SIGNATURE}, "artifactType": SBOM}, SBOM),
        ({"media_type": OCI_INDEX, "artifactType": SBOM}, SBOM),
        ({"media_type": OCI_INDEX}, None),
        ({"media_type": OCI_INDEX, "artifactType": ""}, None),
    ],
    ids=["own", "config", "empty", "image config", "own before config", "index", "index without", "index empty"],
)
async def test_list_referrers_tells_artifact_type(repo: Api, fields: dict[str, Any], expected: str | None) -> None:
    content = await push_referrer(repo, **fields)
    (entry,) = entries(await repo.get(f"referrers/{ABSENT}"))
    assert entry == {**content.descriptor(), **({"artifactType": expected} if expected else {})}


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX], ids=["image", "index"])
async def test_list_referrers_copies_annotations(repo: Api, media_type: str) -> None:
    annotations = {"org.example.a": 'ü \\ "', "": "", "b": "x" * 1000}
    await push_referrer(repo, media_type=media_type, annotations=annotations)
    (entry,) = entries(await repo.get(f"referrers/{ABSENT}"))
    assert entry["annotations"] == annotations


@ALGORITHMS
async def test_list_referrers_names_the_digest_it_was_pushed_under(repo: Api, algorithm: str) -> None:
    await repo.push_document()
    content = document(subject=SUBJECT)
    digest = Digest.of(content.data, algorithm)
    await repo.put_manifest(digest, content)
    assert digests(await repo.get(f"referrers/{ABSENT}")) == {digest}


@pytest.mark.parametrize(
    "digest",
    [Digest.of(b"a manifest", "sha512"), f"blake3:{'a' * 64}", "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTS"],
    ids=["sha512", "blake3", "unregistered"],
)
async def test_list_referrers_of_subject_under_any_algorithm(repo: Api, digest: str) -> None:
    content = await push_referrer(repo, subject={**SUBJECT, "digest": digest})
    assert digests(await repo.get(f"referrers/{digest}")) == {content.digest}


async def test_list_referrers_of_another_repository_are_not_seen(repo: Api) -> None:
    await push_referrer(repo.beside("other"))
    assert entries(await repo.get(f"referrers/{ABSENT}")) == []


async def test_list_referrers_pushed_by_tag_has_each_once(repo: Api) -> None:
    content = await push_referrer(repo, reference="v1")
    await repo.put_manifest("v2", content)
    assert digests(await repo.get(f"referrers/{ABSENT}")) == {content.digest}


@pytest.mark.parametrize(
    "query",
    [
        f"artifactType={SBOM}",  # a raw plus
        f"artifactType={SBOM.replace('+', '%2B').replace('/', '%2F')}",
        f"ns=docker.io&artifactType={SBOM}",
    ],
    ids=["raw", "encoded", "with ns"],
)
async def test_list_referrers_by_artifact_type_has_only_those(repo: Api, query: str) -> None:
    sbom = await push_referrer(repo, artifactType=SBOM)
    index = await push_referrer(repo, media_type=OCI_INDEX, artifactType=SBOM)
    await push_referrer(repo, artifactType=SIGNATURE)
    await push_referrer(repo, media_type=OCI_INDEX)
    answer = await repo.get(f"referrers/{ABSENT}?{query}")
    assert digests(answer) == {sbom.digest, index.digest}
    assert answer.headers["oci-filters-applied"] == "artifactType"


async def test_list_referrers_by_config_type_has_images_without_artifact_type(repo: Api) -> None:
    config = {**EMPTY_CONFIG.descriptor(), "mediaType": OCI_CONFIG}
    content = await push_referrer(repo, config=config)
    await push_referrer(repo, config=config, artifactType=SBOM)
    assert digests(await repo.get(f"referrers/{ABSENT}?artifactType={OCI_CONFIG}")) == {content.digest}


@pytest.mark.parametrize("value", ["", "x/y", "%00", "application/vnd.example.sbom.v1 json"])
async def test_list_referrers_by_type_that_none_has_is_empty_and_filtered(repo: Api, value: str) -> None:
    await push_referrer(repo, artifactType=SBOM)
    answer = await repo.get(f"referrers/{ABSENT}?artifactType={value}")
    assert (entries(answer), answer.headers["oci-filters-applied"]) == ([], "artifactType")


async def test_list_referrers_without_filter_has_no_filter_header(repo: Api) -> None:
    await push_referrer(repo, artifactType=SBOM)
    assert "oci-filters-applied" not in (await repo.get(f"referrers/{ABSENT}")).headers


async def test_list_referrers_by_filter_in_unknown_repository_is_empty_and_filtered(repo: Api) -> None:
    answer = await repo.get(f"referrers/{ABSENT}?artifactType=x/y")
    assert (entries(answer), answer.headers["oci-filters-applied"]) == ([], "artifactType")


@pytest.mark.parametrize("query", ["", f"?artifactType={SBOM}"], ids=["all", "filtered"])
async def test_list_referrers_over_four_mib_comes_in_pages_with_links(repo: Api, query: str) -> None:
    for number in range(3):
        annotations = {f"a{number}": "x" * 1_900_000}
        await push_referrer(repo, artifactType=SBOM, annotations=annotations)
    await push_referrer(repo, artifactType=SIGNATURE, annotations={"b": "x" * 100})
    pages = [answer async for answer in walk(repo, f"referrers/{ABSENT}{query}")]
    found = [entry["digest"] for answer in pages for entry in entries(answer)]
    assert len(pages) >= 3
    assert len(found) == len(set(found)) == (3 if query else 4)
    assert max(len(answer.content) for answer in pages) < 4 * 1024 * 1024
    assert {answer.headers.get("oci-filters-applied") for answer in pages} == {"artifactType" if query else None}


async def test_list_referrers_by_head_has_the_headers_of_get(repo: Api) -> None:
    await push_referrer(repo)
    answer, other = await repo.head(f"referrers/{ABSENT}"), await repo.get(f"referrers/{ABSENT}")
    assert (answer.content, answer.headers["content-length"]) == (b"", other.headers["content-length"])
    assert answer.headers["content-type"] == OCI_INDEX


async def test_delete_referrer_takes_it_off_the_list_at_once(repo: Api) -> None:
    first, second = await push_referrer(repo), await push_referrer(repo, artifactType=SBOM)
    await repo.delete(f"manifests/{first.digest}")
    assert digests(await repo.get(f"referrers/{ABSENT}")) == {second.digest}


async def test_delete_subject_leaves_its_referrers_listed(repo: Api) -> None:
    subject = await repo.push_document(reference="v1")
    content = await push_referrer(repo, subject=subject.descriptor())
    await repo.delete(f"manifests/{subject.digest}")
    assert digests(await repo.get(f"referrers/{subject.digest}")) == {content.digest}
    assert (await repo.get(f"manifests/{content.digest}")).status_code == 200


async def test_delete_tag_of_referrer_leaves_it_listed(repo: Api) -> None:
    content = await push_referrer(repo, reference="v1")
    await repo.delete("manifests/v1")
    assert digests(await repo.get(f"referrers/{ABSENT}")) == {content.digest}


async def test_push_index_under_fallback_tag_of_referrers_is_an_ordinary_tag(repo: Api) -> None:
    tag = ABSENT.replace(":", "-")
    content = await repo.push_document(media_type=OCI_INDEX, reference=tag)
    assert (await repo.get(f"manifests/{tag}")).content == content.data
    assert entries(await repo.get(f"referrers/{ABSENT}")) == []
