"""``entrepot save``: what goes in comes out again unchanged; a file appears whole or not at all."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from entrepot.cli.main import run
from entrepot.testing.images import Image, Index, build_image, build_index
from tests.unit.repositories.archives import layout_members, tar

IMAGE = build_image(2, seed=1)
OTHER = build_image(2, seed=2)
INDEX = build_index(["linux/amd64", "linux/arm64"], seed=5)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENTREPOT_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return tmp_path / "saved.tar"


def load(tmp_path: Path, **images: Image | Index) -> None:
    for name, image in images.items():
        file = tmp_path / "in.tar"
        file.write_bytes(tar(layout_members({f"docker.io/library/{name.replace('_', ':')}": image})))
        assert run(["load", "-q", "-i", str(file)]) == 0


def member(file: Path, name: str) -> Any:
    with tarfile.open(file) as archive:
        content = archive.extractfile(name)
        assert content is not None
        return json.load(content)


def digests(file: Path) -> list[tuple[str, str | None]]:
    entries = member(file, "index.json")["manifests"]
    return [(entry["digest"], entry.get("annotations", {}).get("io.containerd.image.name")) for entry in entries]


@pytest.mark.parametrize("form", ["docker", "oci"])
@pytest.mark.parametrize("image", [IMAGE, INDEX, build_image(2, docker=True)], ids=["image", "index", "docker"])
def test_save_and_load_keeps_digest_and_name(
    tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch, image: Image | Index, form: str
) -> None:
    load(tmp_path, app_v1=image)
    assert run(["save", "--format", form, "-o", str(saved), "app:v1"]) == 0
    assert digests(saved) == [(image.digest, "docker.io/library/app:v1")]
    monkeypatch.setenv("ENTREPOT_ROOT", str(tmp_path / "second"))
    assert run(["load", "-i", str(saved)]) == 0
    again = tmp_path / "again.tar"
    assert run(["save", "--format", form, "-o", str(again), "app:v1"]) == 0
    assert again.read_bytes() == saved.read_bytes()


def test_save_prints_nothing_and_file_is_the_owners_only(
    tmp_path: Path, saved: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    load(tmp_path, app_v1=IMAGE)
    capfd.readouterr()
    assert run(["save", "-o", str(saved), "app:v1"]) == 0
    assert capfd.readouterr() == ("", "")
    assert saved.stat().st_mode & 0o777 == 0o600


def test_save_several_images_writes_each(tmp_path: Path, saved: Path) -> None:
    load(tmp_path, app_v1=IMAGE, other_v2=OTHER)
    assert run(["save", "-o", str(saved), "app:v1", "other:v2"]) == 0
    assert [entry["RepoTags"] for entry in member(saved, "manifest.json")] == [["app:v1"], ["other:v2"]]


def test_save_name_without_tag_writes_all_its_tags(tmp_path: Path, saved: Path) -> None:
    load(tmp_path, app_v1=IMAGE, app_v2=OTHER, app_v3=IMAGE)
    assert run(["save", "-o", str(saved), "app"]) == 0
    assert [entry["RepoTags"] for entry in member(saved, "manifest.json")] == [["app:v1", "app:v3"], ["app:v2"]]


def test_save_by_id_writes_no_name(tmp_path: Path, saved: Path) -> None:
    load(tmp_path, app_v1=IMAGE)
    assert run(["save", "-o", str(saved), IMAGE.id.encoded[:12]]) == 0
    assert [entry["RepoTags"] for entry in member(saved, "manifest.json")] == [None]
    assert digests(saved) == [(IMAGE.digest, None)]


def test_save_one_platform_writes_that_image(tmp_path: Path, saved: Path) -> None:
    load(tmp_path, app_v1=INDEX)
    assert run(["save", "--platform", "linux/arm64", "-o", str(saved), "app:v1"]) == 0
    assert digests(saved) == [(INDEX.children[1].digest, "docker.io/library/app:v1")]


def test_save_platform_that_is_not_there_is_not_found(
    tmp_path: Path, saved: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    load(tmp_path, app_v1=INDEX)
    assert run(["save", "--platform", "linux/s390x", "-o", str(saved), "app:v1"]) == 2
    assert "app:v1 is not here for linux/s390x" in capfd.readouterr().err
    assert not saved.exists()


def test_save_index_with_one_platform_pulled_writes_what_is_here(tmp_path: Path, saved: Path) -> None:
    file = tmp_path / "in.tar"
    file.write_bytes(tar(layout_members({"docker.io/library/app:v1": INDEX})))
    assert run(["load", "--platform", "linux/amd64", "-i", str(file)]) == 0
    assert run(["save", "-o", str(saved), "app:v1"]) == 0
    with tarfile.open(saved) as archive:
        names = archive.getnames()
    present = [f"blobs/sha256/{child.digest.encoded}" in names for child in INDEX.children]
    assert (digests(saved)[0][0], present) == (INDEX.digest, [True, False])


def test_save_absent_image_is_not_found_and_leaves_the_old_file(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    saved.write_bytes(b"old")
    before = set(os.listdir(saved.parent)) | {"root"}
    assert run(["save", "-o", str(saved), "absent:v1"]) == 2
    assert capfd.readouterr().err == "Error: No such image: absent:v1\n"
    assert (saved.read_bytes(), set(os.listdir(saved.parent))) == (b"old", before)


def test_save_damaged_layer_is_refused_and_leaves_no_file(
    tmp_path: Path, root: Path, saved: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    load(tmp_path, app_v1=IMAGE)
    [stored] = root.glob(f"blobs/**/{IMAGE.layers[0].digest.encoded}")
    content = bytearray(stored.read_bytes())
    content[100] ^= 1
    stored.write_bytes(content)
    assert run(["save", "-o", str(saved), "app:v1"]) == 1
    assert "is damaged" in capfd.readouterr().err
    assert not [name for name in os.listdir(tmp_path) if "saved" in name]


def test_save_to_standard_output(tmp_path: Path, saved: Path) -> None:
    load(tmp_path, app_v1=IMAGE)
    command = [sys.executable, "-m", "entrepot", "save", "app:v1"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert run(["save", "-o", str(saved), "app:v1"]) == 0
    assert done.stdout == saved.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert "manifest.json" in archive.getnames()


def test_save_to_a_terminal_is_refused(tmp_path: Path) -> None:
    load(tmp_path, app_v1=IMAGE)
    _, theirs = pty.openpty()
    command = [sys.executable, "-m", "entrepot", "save", "app:v1"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: cowardly refusing to save to a terminal. Use the -o flag or redirect\n"


def test_save_without_image_is_wrong_usage(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["save"]) == 125
