"""``entrepot attach``: artifacts that refer to an image."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path

import pytest

from entrepot.reference import ImageReference
from entrepot.testing.images import build_index
from tests.cli.conftest import Entrepot, Publish

INDEX = build_index(["linux/amd64", "linux/arm64"], seed=61)
SBOM = "application/spdx+json"


@pytest.fixture
def image(publish: Publish) -> ImageReference:
    return publish(INDEX, f"team/attach-{uuid.uuid4().hex[:8]}", "v1")


@pytest.fixture
def sbom(tmp_path: Path) -> Path:
    file = tmp_path / "sbom.json"
    file.write_bytes(b'{"spdxVersion":"SPDX-2.3"}')
    return file


def manifest(entrepot: Entrepot, image: ImageReference, digest: str, folder: Path) -> dict[str, object]:
    """What was pushed, read back by a copy."""
    assert entrepot("copy", "-q", f"{image.name}@{digest}", f"oci:{folder}").code == 0
    found: dict[str, object] = json.loads((folder / "blobs" / "sha256" / digest.partition(":")[2]).read_bytes())
    return found


def test_attach_file_prints_the_digest_and_is_listed(
    entrepot: Entrepot, image: ImageReference, sbom: Path, tmp_path: Path
) -> None:
    done = entrepot("attach", str(image), "--type", SBOM, f"{sbom}:{SBOM}", "--annotation", "by=anna=b")
    assert (done.code, done.err) == (0, "")
    [listed] = json.loads(entrepot("referrers", "--json", str(image)).out)["referrers"]
    assert listed["digest"] == done.out.strip()
    assert listed["artifactType"] == SBOM
    assert listed["annotations"] == {"by": "anna=b"}
    document = manifest(entrepot, image, done.out.strip(), tmp_path / "layout")
    assert document["subject"] == INDEX.manifest.descriptor()
    assert document["layers"] == [
        {
            "mediaType": SBOM,
            "digest": f"sha256:{hashlib.sha256(sbom.read_bytes()).hexdigest()}",
            "size": 26,
            "annotations": {"org.opencontainers.image.title": "sbom.json"},
        }
    ]


def test_attach_again_gives_the_same_digest(entrepot: Entrepot, image: ImageReference, sbom: Path) -> None:
    first = entrepot("attach", str(image), "--type", SBOM, str(sbom))
    assert entrepot("attach", str(image), "--type", SBOM, str(sbom)).out == first.out
    assert len(json.loads(entrepot("referrers", "--json", str(image)).out)["referrers"]) == 1


def test_attach_without_files_says_only_what_is_annotated(entrepot: Entrepot, image: ImageReference) -> None:
    done = entrepot("attach", str(image), "--type", "application/vnd.test", "--annotation", "ok=yes")
    [listed] = json.loads(entrepot("referrers", "--json", str(image)).out)["referrers"]
    assert (listed["digest"], listed["annotations"]) == (done.out.strip(), {"ok": "yes"})


def test_attach_to_platform_refers_to_its_image(entrepot: Entrepot, image: ImageReference, sbom: Path) -> None:
    entrepot("attach", str(image), "--type", SBOM, "--platform", "linux/arm64", str(sbom))
    assert json.loads(entrepot("referrers", "--json", str(image)).out)["referrers"] == []
    arm = f"{image.name}@{INDEX.children[1].digest}"
    assert len(json.loads(entrepot("referrers", "--json", arm).out)["referrers"]) == 1
    by_platform = entrepot("referrers", "--json", "--platform", "linux/arm64", str(image))
    assert json.loads(by_platform.out)["reference"] == arm


def test_attach_large_file_streams_it(entrepot: Entrepot, image: ImageReference, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(5_000_000))
    done = entrepot("attach", str(image), "--type", "application/vnd.test", str(large))
    assert (done.code, done.err) == (0, "")
    entrepot("copy", "-q", f"{image.name}@{done.out.strip()}", f"oci:{tmp_path}/layout")
    digest = hashlib.sha256(large.read_bytes()).hexdigest()
    assert (tmp_path / "layout" / "blobs" / "sha256" / digest).stat().st_size == 5_000_000


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (("{image}", "--type", SBOM, "{folder}/none.json"), 1, "there is no file {folder}/none.json"),
        (("{image}", "--type", SBOM, "{folder}/none.json:a/b"), 1, "there is no file {folder}/none.json\n"),
        (("{image}", "--type", SBOM, "--annotation", "novalue"), 1, "expected an annotation as KEY=VALUE"),
        (("{image}", "--type", "no type"), 1, "artifactType"),
        (("{image}x", "--type", SBOM), 2, "{image}x not found"),
        (("{image}",), 125, "--type"),
    ],
    ids=["no file", "no file of a type", "annotation", "type", "no image", "no type"],
)
def test_attach_of_what_cannot_be_is_refused(
    entrepot: Entrepot, image: ImageReference, tmp_path: Path, flags: tuple[str, ...], code: int, text: str
) -> None:
    fill = {"image": str(image), "folder": str(tmp_path)}
    done = entrepot("attach", *(flag.format(**fill) for flag in flags))
    assert text.format(**fill) in done.err
    assert (done.code, done.out) == (code, "")
