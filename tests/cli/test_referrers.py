"""``entrepot referrers`` against registries with a list of them, and without."""

from __future__ import annotations

import json
import uuid
from urllib.parse import parse_qs

import pytest

from entrepot.reference import ImageReference
from entrepot.testing.images import OCI_INDEX, OCI_MANIFEST, build_artifact, build_image
from tests.cli.conftest import Entrepot, Publish
from tests.cli.scripted import Reply, scripted

IMAGE = build_image(1, seed=71)
SIGNATURE, NOTE = "application/vnd.test.signature", "application/vnd.test.note"
SIGNED = build_artifact(b"signed", artifact_type=SIGNATURE, subject=IMAGE, annotations={"by": "anna"})
ABOUT_IT = build_artifact(b"note on it", artifact_type=NOTE, subject=SIGNED)
NOTED = build_artifact(b"a note", artifact_type=NOTE, subject=IMAGE)


@pytest.fixture
def image(publish: Publish) -> ImageReference:
    name = f"team/referrers-{uuid.uuid4().hex[:8]}"
    reference = publish(IMAGE, name, "v1")
    for number, artifact in enumerate((SIGNED, ABOUT_IT, NOTED)):
        publish(artifact, name, f"a{number}")
    return reference


def test_referrers_prints_a_table(entrepot: Entrepot, image: ImageReference) -> None:
    done = entrepot("referrers", str(image))
    assert (done.code, done.err) == (0, "")
    assert done.lines[0].split() == ["ARTIFACT", "TYPE", "DIGEST", "SIZE"]
    assert sorted(line.split()[:2] for line in done.lines[1:]) == [[NOTE, NOTED.digest], [SIGNATURE, SIGNED.digest]]


def test_referrers_of_one_type_prints_those(entrepot: Entrepot, image: ImageReference) -> None:
    done = entrepot("referrers", "--type", SIGNATURE, "--format", "{{.Digest}} {{.Annotations.by}}", str(image))
    assert done.out == f"{SIGNED.digest} anna\n"


def test_referrers_as_tree_shows_all_levels(entrepot: Entrepot, image: ImageReference) -> None:
    lines = entrepot("referrers", "--tree", "--type", SIGNATURE, str(image)).lines
    assert lines == [
        f"{image.name}@{IMAGE.digest}",
        f"└── {SIGNATURE} {SIGNED.digest}",
        f"    └── {NOTE} {ABOUT_IT.digest}",
    ]


def test_referrers_as_json_has_everything(entrepot: Entrepot, image: ImageReference) -> None:
    document = json.loads(entrepot("referrers", "--json", "--type", SIGNATURE, str(image)).out)
    assert document["reference"] == f"{image.name}@{IMAGE.digest}"
    [signature] = document["referrers"]
    assert signature | {"referrers": []} == {
        "mediaType": OCI_MANIFEST,
        "digest": SIGNED.digest,
        "size": SIGNED.manifest.size,
        "artifactType": SIGNATURE,
        "annotations": {"by": "anna"},
        "referrers": [],
    }
    assert [one["digest"] for one in signature["referrers"]] == [ABOUT_IT.digest]


def test_referrers_of_image_without_any_prints_the_header(entrepot: Entrepot, publish: Publish) -> None:
    reference = publish(IMAGE, f"team/alone-{uuid.uuid4().hex[:8]}", "v1")
    done = entrepot("referrers", str(reference))
    assert (done.code, len(done.lines)) == (0, 1)


def test_referrers_of_image_that_is_absent_is_not_found(entrepot: Entrepot, image: ImageReference) -> None:
    done = entrepot("referrers", f"{image.name}:other")
    assert (done.code, done.out) == (2, "")
    assert f"{image.name}:other not found" in done.err


def listing(*digests: str) -> bytes:
    entries = [{"mediaType": OCI_MANIFEST, "digest": digest, "size": 7, "artifactType": NOTE} for digest in digests]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def head(content: bytes, kind: str = OCI_INDEX) -> dict[str, str]:
    return {"content-type": kind}


def test_referrers_of_registry_without_a_list_are_those_under_the_tag(entrepot: Entrepot) -> None:
    content = listing("sha256:" + "1" * 64)

    def answer(method: str, path: str, query: str) -> Reply:
        if path.endswith(f"/manifests/sha256-{IMAGE.digest.encoded}"):
            return Reply(200, content, head(content))
        if path.endswith("/manifests/v1"):
            return Reply(200, IMAGE.manifest.data, {"content-type": OCI_MANIFEST})
        return Reply(404)

    with scripted(answer) as registry:
        done = entrepot("referrers", "--format", "{{.Digest}}", f"{registry.host}/app:v1")
    assert (done.code, done.out) == (0, f"sha256:{'1' * 64}\n")


@pytest.mark.parametrize("flag", ["--tree", "--json"])
def test_referrers_in_a_circle_are_refused(entrepot: Entrepot, flag: str) -> None:
    content = listing("sha256:" + "1" * 64)

    def answer(method: str, path: str, query: str) -> Reply:
        if "/referrers/" in path:
            return Reply(200, content, head(content))
        return Reply(200, IMAGE.manifest.data, {"content-type": OCI_MANIFEST})

    with scripted(answer) as registry:
        done = entrepot("referrers", flag, f"{registry.host}/app:v1")
    assert (done.code, done.out) == (1, "")
    assert "go in circles or too deep" in done.err


def test_referrers_on_pages_without_end_are_refused(entrepot: Entrepot) -> None:
    def answer(method: str, path: str, query: str) -> Reply:
        if "/referrers/" not in path:
            return Reply(200, IMAGE.manifest.data, {"content-type": OCI_MANIFEST})
        page = int(parse_qs(query).get("page", ["0"])[0])
        content = listing(f"sha256:{page % 2:064}")
        return Reply(200, content, head(content) | {"link": f'<{path}?page={(page + 1) % 2}>; rel="next"'})

    with scripted(answer) as registry:
        done = entrepot("referrers", f"{registry.host}/app:v1")
    assert (done.code, done.out) == (1, "")
    assert "has no end" in done.err
