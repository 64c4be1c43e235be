"""``entrepot verify`` finds whatever is wrong with an image, says it, and ends with 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from entrepot.cli.main import run
from entrepot.digest import Digest
from entrepot.testing.images import (
    Content,
    Image,
    Index,
    Layer,
    build_artifact,
    build_image,
    build_index,
    build_layer,
    index_of,
    write_layout,
)
from tests.unit.repositories.archives import layout_members, old_docker_members, tar

IMAGE = build_image(2, seed=1)
INDEX = build_index(["linux/amd64", "linux/arm64"])


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENTREPOT_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return tmp_path / "layout"


def blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.partition(":")[2]


def load(tmp_path: Path, image: Image | Index, *flags: str) -> None:
    file = tmp_path / "in.tar"
    file.write_bytes(tar(layout_members({"docker.io/library/app:v1": image})))
    assert run(["load", "-q", *flags, "-i", str(file)]) == 0


def test_verify_image_of_the_store_says_ok(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(tmp_path, IMAGE)
    capfd.readouterr()
    assert run(["verify", "app:v1"]) == 0
    size = sum(content.size for content in (IMAGE.config, *IMAGE.layers)) / 1000
    assert capfd.readouterr() == (f"app:v1: ok; read 1 manifest, 3 blobs, {size:.3g}kB\n", "")


def test_verify_index_with_one_platform_here_says_ok(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(tmp_path, INDEX, "--platform", "linux/arm64")
    capfd.readouterr()
    assert run(["verify", "app:v1"]) == 0
    assert capfd.readouterr().out.startswith("app:v1: ok; read 2 manifests, 3 blobs")


def test_verify_layout_looks_at_all_images(layout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_layout(layout, {"v1": IMAGE, "v2": INDEX})
    assert run(["verify", str(layout)]) == 0
    assert [line.partition(": ")[0] for line in capfd.readouterr().out.splitlines()] == [IMAGE.digest, INDEX.digest]


@pytest.mark.parametrize(
    "members", [layout_members({"app:v1": IMAGE}), old_docker_members(IMAGE, "app:v1")], ids=["layout", "docker"]
)
def test_verify_archive_says_ok(tmp_path: Path, capfd: pytest.CaptureFixture[str], members: dict[str, bytes]) -> None:
    (tmp_path / "a.tar").write_bytes(tar(members))
    assert run(["verify", str(tmp_path / "a.tar")]) == 0
    assert capfd.readouterr().out.startswith("app:v1: ok; read 1 manifest, 3 blobs")


def test_verify_artifact_says_ok(layout: Path) -> None:
    write_layout(layout, {"v1": build_artifact(b"no tar", artifact_type="a/note")})
    assert run(["verify", str(layout)]) == 0


def damage(digest: str) -> Callable[[Path], None]:
    def change(layout: Path) -> None:
        content = bytearray(blob(layout, digest).read_bytes())
        content[-5] ^= 1
        blob(layout, digest).write_bytes(content)

    return change


def remove(digest: str) -> Callable[[Path], None]:
    return lambda layout: blob(layout, digest).unlink()


def lengthen(digest: str) -> Callable[[Path], None]:
    def change(layout: Path) -> None:
        blob(layout, digest).write_bytes(blob(layout, digest).read_bytes() + b"more")

    return change


LAYER, CONFIG = IMAGE.layers[1].digest, IMAGE.id
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "layer-damaged": (damage(LAYER), f"{LAYER}: invalid layer: expected gzip data"),
    "layer-removed": (remove(LAYER), f"{LAYER}: the blob is not here"),
    "layer-longer": (lengthen(LAYER), f"{LAYER}: the manifest says it has"),
    "config-damaged": (damage(CONFIG), f"{CONFIG} is damaged"),
    "config-removed": (remove(CONFIG), f"{CONFIG}: the blob is not here"),
    "manifest-damaged": (damage(IMAGE.digest), f"the file of {IMAGE.digest} holds something else"),
    "manifest-removed": (remove(IMAGE.digest), f"{IMAGE.digest}: the manifest is not here"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_verify_damaged_layout_says_what_is_wrong(layout: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    change, message = DAMAGES[name]
    write_layout(layout, {"v1": IMAGE})
    change(layout)
    assert run(["verify", str(layout)]) == 1
    out = capfd.readouterr().out.splitlines()
    assert message in out[0]
    assert out[-1].startswith(f"{IMAGE.digest}: ")
    assert "problem" in out[-1]


def with_config(image: Image, **changes: Any) -> Image:
    config = Content(image.config.media_type, json.dumps(json.loads(image.config.data) | changes).encode())
    manifest = json.loads(image.manifest.data) | {"config": config.descriptor()}
    return Image(
        Content(image.manifest.media_type, json.dumps(manifest).encode()), config, image.layers, image.platform
    )


def with_layer(content: bytes) -> Image:
    media_type = "application/vnd.oci.image.layer.v1.tar"
    return build_image([Layer(media_type, content, Digest.of(content))])


def with_entry(**changes: Any) -> Index:
    """An index that says something else of its image."""
    document = json.loads(index_of([IMAGE]).manifest.data)
    document["manifests"][0] |= changes
    return Index(Content(INDEX.manifest.media_type, json.dumps(document).encode()), (IMAGE,))


WRONG: dict[str, tuple[Image | Index, str]] = {
    "other-diff-id": (
        with_config(IMAGE, rootfs={"diff_ids": [Digest.of(b"other"), Digest.of(b"another")]}),
        "the config expects it to unpack to",
    ),
    "fewer-diff-ids": (with_config(IMAGE, rootfs={"diff_ids": []}), "its config names 0 layers, the manifest 2"),
    "no-config": (with_config(IMAGE, rootfs=7), "invalid image config"),
    "other-platform": (
        index_of([Image(IMAGE.manifest, IMAGE.config, IMAGE.layers, "linux/s390x")]),
        "an index says it is for linux/s390x; its config says linux/amd64",
    ),
    "other-size": (with_entry(size=7), "an index says it has 7 bytes; it has"),
    "other-type": (
        with_entry(mediaType="application/vnd.docker.distribution.manifest.v2+json"),
        "an index says it is application/vnd.docker.distribution.manifest.v2+json; it is",
    ),
    "layer-no-tar": (with_layer(b"text " * 200), "this is no tar, or a damaged one"),
    "layer-with-more": (with_layer(build_layer({"a": b"x"}).data + b"more" * 9), "nothing after its gzip data"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_verify_image_that_contradicts_itself_says_so(
    layout: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    image, message = WRONG[name]
    write_layout(layout, {"v1": image})
    assert run(["verify", str(layout)]) == 1
    assert message in capfd.readouterr().out


def test_verify_damaged_store_says_what_is_wrong(tmp_path: Path, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(tmp_path, IMAGE)
    [stored] = root.glob(f"blobs/**/{LAYER.encoded}")
    stored.write_bytes(stored.read_bytes()[:-8])
    assert run(["verify", "app:v1"]) == 1
    assert LAYER in capfd.readouterr().out


def test_verify_prints_json(layout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_layout(layout, {"v1": IMAGE})
    remove(LAYER)(layout)
    assert run(["verify", "--json", str(layout)]) == 1
    [found] = json.loads(capfd.readouterr().out)
    assert found["clean"] is False
    assert found["problems"] == [{"digest": LAYER, "message": "the blob is not here"}]


def test_verify_absent_image_is_not_found(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "absent"]) == 2
    assert capfd.readouterr().err.startswith("Error: No such image: absent:latest\n")


def test_verify_folder_that_is_no_layout_is_not_found(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(tmp_path)]) == 2
    assert "is no OCI layout" in capfd.readouterr().err
