"""Push of manifests: addresses, headers, tags, subject, limits (distribution-spec, "Pushing manifests")."""

from __future__ import annotations

import asyncio

import pytest

from entrepot.digest import Digest
from entrepot.testing.images import OCI_INDEX, OCI_MANIFEST, build_image, build_index

from .api import ABSENT, Api, chunked, document, only, refused

ALGORITHMS = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
BODIES = pytest.mark.parametrize("body", [bytes, chunked], ids=["with length", "chunked"])
MIB = 1024 * 1024


@BODIES
@pytest.mark.parametrize("by", ["tag", "sha256", "sha512"])
async def test_push_manifest_is_201_with_its_location_and_digest(repo: Api, body: type, by: str) -> None:
    content = await repo.push_document()
    digest = Digest.of(content.data, "sha256" if by == "tag" else by)
    reference = "v1" if by == "tag" else digest
    answer = await repo.put(f"manifests/{reference}", body(content.data), content_type=OCI_MANIFEST)
    assert answer.status_code == 201
    assert only(answer.headers, "location", "docker-content-digest", "oci-subject", "oci-tag", "content-length") == {
        "location": f"/v2/{repo.name}/manifests/{digest}",
        "docker-content-digest": digest,
        "oci-subject": None,
        "oci-tag": None,
        "content-length": "0",
    }
    pulled = await repo.get(answer.headers["location"])
    assert (pulled.content, pulled.headers["content-type"]) == (content.data, OCI_MANIFEST)


@BODIES
async def test_push_manifest_with_unknown_fields_keeps_them(repo: Api, body: type) -> None:
    content = await repo.push_document(org_example_x={"nested": [None, True, 1.5]}, config2="ü")
    answer = await repo.put("manifests/v1", body(content.data), content_type=OCI_MANIFEST)
    assert answer.status_code == 201
    assert (await repo.get("manifests/v1")).content == content.data


@ALGORITHMS
async def test_push_manifest_by_digest_of_other_bytes_is_refused(repo: Api, algorithm: str) -> None:
    content = await repo.push_document()
    digest = Digest.of(b"other", algorithm)
    errors = refused(await repo.put_manifest(digest, content), 400, "DIGEST_INVALID")
    assert errors[0]["detail"]["expected"] == digest
    assert (await repo.head(f"manifests/{digest}")).status_code == 404


@pytest.mark.parametrize(
    "digest",
    ["sha256:baddigeststring", "sha256:", f"sha256:{'A' * 64}", f"sha1:{'a' * 40}", f"blake3:{'a' * 64}"],
    ids=lambda text: text[:12],
)
async def test_push_manifest_by_digest_we_cannot_have_is_refused(repo: Api, digest: str) -> None:
    content = await repo.push_document()
    refused(await repo.put_manifest(digest, content), 400, "DIGEST_INVALID")


@pytest.mark.parametrize(
    "header",
    [f"{OCI_MANIFEST}; charset=utf-8", f"{OCI_MANIFEST};x=y", f"{OCI_MANIFEST.upper()}", f"{OCI_MANIFEST} ;a=b"],
)
async def test_push_manifest_with_parameters_in_content_type_is_served_without(repo: Api, header: str) -> None:
    content = await repo.push_document()
    assert (await repo.put_manifest("v1", content, header)).status_code == 201
    assert (await repo.get("manifests/v1")).headers["content-type"] == OCI_MANIFEST


async def test_push_manifest_without_content_type_takes_that_of_the_document(repo: Api) -> None:
    content = await repo.push_document()
    assert (await repo.put("manifests/v1", content.data)).status_code == 201
    assert (await repo.get("manifests/v1")).headers["content-type"] == OCI_MANIFEST


async def test_push_manifest_without_media_type_takes_that_of_content_type(repo: Api) -> None:
    content = await repo.push_document()
    bare = document(mediaType=None)
    assert (await repo.put_manifest("v1", bare.data, OCI_MANIFEST)).status_code == 201
    answer = await repo.get("manifests/v1")
    assert (answer.headers["content-type"], answer.content) == (content.media_type, bare.data)


async def test_push_manifest_without_any_type_is_refused(repo: Api) -> None:
    await repo.push_document()
    answer = await repo.put("manifests/v1", document(mediaType=None).data)
    refused(answer, 400, "MANIFEST_INVALID")


@pytest.mark.parametrize("header", [OCI_INDEX, "application/vnd.docker.distribution.manifest.v2+json", "text/plain"])
async def test_push_manifest_under_other_content_type_than_it_says_is_refused(repo: Api, header: str) -> None:
    content = await repo.push_document()
    refused(await repo.put_manifest("v1", content.data, header), 400, "MANIFEST_INVALID")
    assert (await repo.head("manifests/v1")).status_code == 404


async def test_push_manifest_of_4_million_bytes_of_annotations_is_taken(repo: Api) -> None:
    annotations = {f"large-annotation-{number}": "A" * 10_000 for number in range(390)}
    content = await repo.push_document(annotations=annotations)
    assert (content.size > 3_900_000, (await repo.get(f"manifests/{content.digest}")).content) == (True, content.data)


@BODIES
@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_push_manifest_of_4_mib_is_taken_and_one_byte_more_is_413(repo: Api, body: type, by: str) -> None:
    largest = (await repo.push_document()).data.ljust(4 * MIB)
    larger = largest + b" "
    for content, status in ((largest, 201), (larger, 413)):
        reference = "v1" if by == "tag" else Digest.of(content)
        answer = await repo.put(f"manifests/{reference}", body(content), content_type=OCI_MANIFEST)
        assert answer.status_code == status
    assert refused(answer, 413, "MANIFEST_INVALID")[0]["detail"]["limit"] == 4 * MIB


async def test_push_manifest_with_absent_children_is_refused_with_one_error_for_each(repo: Api) -> None:
    image = build_image(layers=3)
    await repo.push_blob(image.layers[1].data)
    errors = refused(await repo.put_manifest("v1", image.manifest), 400, "MANIFEST_BLOB_UNKNOWN")
    absent = [image.config.digest, image.layers[0].digest, image.layers[2].digest]
    assert sorted(error["detail"]["digest"] for error in errors) == sorted(absent)
    refused(await repo.get("manifests/v1"), 404, "MANIFEST_UNKNOWN")


async def test_push_index_with_absent_children_is_refused_with_one_error_for_each(repo: Api) -> None:
    index = build_index(["linux/amd64", "linux/arm64", "linux/s390x"])
    await repo.push(index.children[0])
    errors = refused(await repo.put_manifest("v1", index.manifest), 400, "MANIFEST_BLOB_UNKNOWN")
    assert sorted(e["detail"]["digest"] for e in errors) == sorted(child.digest for child in index.children[1:])


async def test_push_manifest_whose_blobs_are_in_another_repository_is_refused(repo: Api) -> None:
    image = build_image()
    await repo.beside("other").push(image)
    refused(await repo.put_manifest("v1", image.manifest), 400, "MANIFEST_BLOB_UNKNOWN")


async def test_push_manifest_of_deleted_blob_is_refused(repo: Api) -> None:
    image = build_image()
    await repo.push(image)
    await repo.delete(f"blobs/{image.layers[0].digest}")
    refused(await repo.put_manifest("v1", image.manifest), 400, "MANIFEST_BLOB_UNKNOWN")


async def test_push_manifest_again_is_201_and_changes_nothing(repo: Api) -> None:
    content = await repo.push_document(reference="v1")
    assert (await repo.put_manifest("v1", content)).status_code == 201
    assert (await repo.get("manifests/v1")).content == content.data


async def test_push_manifest_under_tag_of_another_moves_the_tag(repo: Api) -> None:
    old, new = await repo.push_document(reference="v1"), await repo.push_document(reference="v1", note="new")
    assert (await repo.get("manifests/v1")).content == new.data
    assert (await repo.get(f"manifests/{old.digest}")).content == old.data


async def test_push_manifests_under_one_tag_at_once_leaves_it_at_one_of_them(repo: Api) -> None:
    contents = [document(number=number) for number in range(8)]
    await repo.push_document()
    answers = await asyncio.gather(*(repo.put_manifest("v1", content) for content in contents))
    assert {answer.status_code for answer in answers} == {201}
    assert (await repo.get("manifests/v1")).content in {content.data for content in contents}


# --- tags beside a digest (?tag=) ---


@ALGORITHMS
async def test_push_manifest_by_digest_with_tags_sets_and_names_them(repo: Api, algorithm: str) -> None:
    content = await repo.push_document()
    digest = Digest.of(content.data, algorithm)
    answer = await repo.put_manifest(f"{digest}?tag=a&tag=b", content)
    assert (answer.status_code, answer.headers.get_list("oci-tag")) == (201, ["a", "b"])
    for tag in ("a", "b"):
        for pulled in (await repo.get(f"manifests/{tag}"), await repo.head(f"manifests/{tag}")):
            assert pulled.headers["docker-content-digest"] == digest
    assert (await repo.get("tags/list")).json()["tags"] == ["a", "b"]


async def test_push_manifest_by_digest_with_a_hundred_tags_sets_all(repo: Api) -> None:
    content = await repo.push_document()
    tags = [f"v{number:03}" for number in range(100)]
    answer = await repo.put_manifest(f"{content.digest}?tag={'&tag='.join(tags)}", content)
    assert answer.headers.get_list("oci-tag") == tags
    assert (await repo.get("tags/list")).json()["tags"] == tags


async def test_push_manifest_with_more_tags_than_allowed_is_414_and_sets_none(repo: Api) -> None:
    content = await repo.push_document()
    query = "&".join(f"tag=v{number}" for number in range(101))
    refused(await repo.put_manifest(f"{content.digest}?{query}", content), 414, "UNSUPPORTED")
    assert (await repo.get("tags/list")).json()["tags"] == []


@pytest.mark.parametrize("bad", ["-x", "", "a:b", "a%2Fb", "t" * 129], ids=lambda text: text[:8])
async def test_push_manifest_with_one_illegal_tag_is_refused_and_nothing_stored(repo: Api, bad: str) -> None:
    await repo.push_document()
    content = document(note="new")
    refused(await repo.put_manifest(f"{content.digest}?tag=good&tag={bad}", content), 400, "MANIFEST_INVALID")
    assert (await repo.head(f"manifests/{content.digest}")).status_code == 404
    assert (await repo.get("tags/list")).json()["tags"] == []


async def test_push_manifest_by_tag_with_more_tags_sets_all(repo: Api) -> None:
    content = await repo.push_document()
    answer = await repo.put_manifest("a?tag=b", content)
    assert (answer.status_code, answer.headers.get_list("oci-tag")) == (201, ["b"])
    assert (await repo.get("tags/list")).json()["tags"] == ["a", "b"]


async def test_push_manifest_under_sha512_and_tag_leaves_sha256_unknown(repo: Api) -> None:
    await repo.push_document()
    content = document(note="sha512 only")
    await repo.put_manifest(f"{Digest.of(content.data, 'sha512')}?tag=x", content)
    refused(await repo.get(f"manifests/{content.digest}"), 404, "MANIFEST_UNKNOWN")


# --- conditions ---


@pytest.mark.parametrize(("is_there", "status"), [(False, 201), (True, 412)], ids=["absent", "there"])
async def test_push_manifest_if_tag_is_absent(repo: Api, is_there: bool, status: int) -> None:
    old = await repo.push_document(**({"reference": "v1"} if is_there else {}))
    new = document(note="new")
    answer = await repo.put("manifests/v1", new.data, content_type=OCI_MANIFEST, if_none_match="*")
    assert answer.status_code == status
    assert (await repo.get("manifests/v1")).content == (old.data if is_there else new.data)
    if is_there:
        refused(answer, 412, "DENIED")


@pytest.mark.parametrize(
    ("condition", "status"),
    [('"{}"', 201), ("*", 201), (f'"{ABSENT}"', 412), (f'"{ABSENT}", "{{}}"', 201)],
    ids=["its digest", "any", "another digest", "one of two"],
)
async def test_push_manifest_if_tag_is_at_digest(repo: Api, condition: str, status: int) -> None:
    old = await repo.push_document(reference="v1")
    new = document(note="new")
    if_match = condition.format(old.digest)
    answer = await repo.put("manifests/v1", new.data, content_type=OCI_MANIFEST, if_match=if_match)
    assert answer.status_code == status
    assert (await repo.get("manifests/v1")).content == (new.data if status == 201 else old.data)


async def test_push_manifest_if_tag_is_at_digest_but_absent_is_refused(repo: Api) -> None:
    content = await repo.push_document()
    answer = await repo.put("manifests/v1", content.data, content_type=OCI_MANIFEST, if_match="*")
    refused(answer, 412, "DENIED")


# --- subject ---


@pytest.mark.parametrize("by", ["tag", "sha256", "sha512"])
@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX], ids=["image", "index"])
@pytest.mark.parametrize("is_there", [True, False], ids=["subject there", "subject absent"])
async def test_push_manifest_with_subject_names_it(repo: Api, media_type: str, by: str, is_there: bool) -> None:
    subject = (await repo.push_document(note="subject") if is_there else document(note="absent")).descriptor()
    content = document(media_type=media_type, subject=subject)
    await repo.push_document()
    reference = "v1" if by == "tag" else Digest.of(content.data, by)
    answer = await repo.put_manifest(reference, content)
    assert (answer.status_code, answer.headers["oci-subject"]) == (201, subject["digest"])


async def test_push_manifest_with_sha512_subject_names_it(repo: Api) -> None:
    digest = Digest.of(b"a manifest", "sha512")
    subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 10}
    await repo.push_document()
    assert (await repo.put_manifest("v1", document(subject=subject))).headers["oci-subject"] == digest
