"""``entrepot load``: archives of every dialect, docker's words, names that move, platforms."""

from __future__ import annotations

import gzip
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from entrepot.cli.main import run
from entrepot.testing.images import Image, build_image, build_index, build_layer
from tests.unit.repositories.archives import dumps, layout_members, new_docker_members, old_docker_members, tar

IMAGE = build_image(2, seed=1)
OTHER = build_image(2, seed=2)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENTREPOT_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


def archive(tmp_path: Path, content: bytes) -> str:
    file = tmp_path / "archive.tar"
    file.write_bytes(content)
    return str(file)


def images(capfd: pytest.CaptureFixture[str], *names: str) -> list[str]:
    capfd.readouterr()
    assert run(["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", *names]) == 0
    return sorted(capfd.readouterr().out.splitlines())


@pytest.mark.parametrize(
    "members",
    [
        old_docker_members(IMAGE, "app:v1"),
        old_docker_members(IMAGE, "app:v1", linked=True),
        new_docker_members(IMAGE, "app:v1"),
        layout_members({"docker.io/library/app:v1": IMAGE}),
    ],
    ids=["docker-10", "skopeo", "docker-25", "layout"],
)
def test_load_archive_prints_its_name(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], members: dict[str, bytes]
) -> None:
    assert run(["load", "-i", archive(tmp_path, tar(members))]) == 0
    assert capfd.readouterr() == ("Loaded image: app:v1\n", "")
    assert images(capfd) == [f"app:v1 {IMAGE.id}"]


def test_load_archive_with_several_names_prints_each(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    members = old_docker_members(IMAGE, "app:v1", "app:v2", "localhost:5000/team/app:v1")
    assert run(["load", "-i", archive(tmp_path, tar(members))]) == 0
    expected = ["app:v1", "app:v2", "localhost:5000/team/app:v1"]
    assert capfd.readouterr().out.splitlines() == [f"Loaded image: {name}" for name in expected]
    assert images(capfd) == [f"{name} {IMAGE.id}" for name in expected]


@pytest.mark.parametrize(
    "members", [old_docker_members(IMAGE), layout_members({"v1": IMAGE})], ids=["docker", "layout"]
)
def test_load_archive_without_names_prints_the_id(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], members: dict[str, bytes]
) -> None:
    assert run(["load", "-i", archive(tmp_path, tar(members))]) == 0
    assert capfd.readouterr() == (f"Loaded image ID: {IMAGE.id}\n", "")
    assert images(capfd) == [f"<none>:<none> {IMAGE.id}"]


def test_load_twice_says_the_same(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = archive(tmp_path, tar(old_docker_members(IMAGE, "app:v1")))
    for _ in range(2):
        assert run(["load", "-i", file]) == 0
        assert capfd.readouterr() == ("Loaded image: app:v1\n", "")


@pytest.mark.parametrize("flags", [[], ["-q"]], ids=["normal", "quiet"])
def test_load_over_a_name_that_is_taken_moves_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    for image in (IMAGE, OTHER):
        file = archive(tmp_path, tar(old_docker_members(image, "app:v1")))
        assert run(["load", *flags, "-i", file]) == 0
    moved = f"The image app:v1 already exists, renaming the old one with ID {IMAGE.id} to empty string\n"
    assert capfd.readouterr().out == "Loaded image: app:v1\n" + ("" if flags else moved) + "Loaded image: app:v1\n"
    assert images(capfd) == [f"<none>:<none> {IMAGE.id}", f"app:v1 {OTHER.id}"]


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_load_from_standard_input(root: Path, compress: type[bytes]) -> None:
    content = compress(tar(old_docker_members(IMAGE, "app:v1")))
    command = [sys.executable, "-m", "entrepot", "load"]
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Loaded image: app:v1\n", b"")
    assert not list(root.glob("tmp*"))


def test_load_from_a_terminal_is_refused() -> None:
    _, theirs = pty.openpty()
    command = [sys.executable, "-m", "entrepot", "load"]
    done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: requested load from stdin, but stdin is empty\n"


def test_load_index_keeps_all_platforms_that_are_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    index = build_index(["linux/amd64", "linux/arm64"])
    assert run(["load", "-i", archive(tmp_path, tar(layout_members({"a.io/multi:v1": index})))]) == 0
    assert run(["save", "--format", "oci", "-o", str(tmp_path / "saved.tar"), "a.io/multi:v1"]) == 0
    assert images(capfd) == [f"a.io/multi:v1 {index.children[0].id}"]


def test_load_one_platform_takes_that_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    index = build_index(["linux/amd64", "linux/arm64"])
    file = archive(tmp_path, tar(layout_members({"a.io/multi:v1": index})))
    assert run(["load", "-i", file, "--platform", "linux/arm64"]) == 0
    assert images(capfd) == [f"a.io/multi:v1 {index.children[1].id}"]


@pytest.mark.parametrize("image", [build_index(), IMAGE], ids=["index", "image"])
def test_load_platform_that_is_not_there_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], image: Image
) -> None:
    file = archive(tmp_path, tar(layout_members({"a.io/multi:v1": image})))
    assert run(["load", "-i", file, "--platform", "linux/s390x"]) == 2
    assert "linux/s390x" in capfd.readouterr().err
    assert images(capfd) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive at all" * 100, "this is no tar, or a damaged one"),
        (tar({"readme": b""}), "there is neither index.json nor manifest.json in it"),
        (tar({"manifest.json": b"[]"}), "there is no image in"),
        (tar(old_docker_members(IMAGE, "App:v1")), "must be lowercase|invalid"),
        (tar(old_docker_members(IMAGE, "app:v1") | {"../x": b""}), "names below one folder"),
    ],
    ids=["no-tar", "no-archive", "no-image", "bad-name", "hostile"],
)
def test_load_broken_archive_is_refused_and_changes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    assert run(["load", "-i", archive(tmp_path, content)]) == 1
    error = capfd.readouterr().err
    assert error.startswith("Error: ")
    assert any(part in error for part in message.split("|"))
    assert images(capfd) == []


def test_load_layer_that_is_not_the_configs_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = build_layer({"other": b"file"})
    members = layout_members({"app.io/a:v1": IMAGE})
    manifest = IMAGE.manifest.data.replace(IMAGE.layers[0].digest.encode(), wrong.digest.encode())
    manifest = manifest.replace(f'"size":{IMAGE.layers[0].size}'.encode(), f'"size":{wrong.size}'.encode(), 1)
    image = Image(type(IMAGE.manifest)(IMAGE.manifest.media_type, manifest), IMAGE.config, (wrong, IMAGE.layers[1]))
    members = layout_members({"app.io/a:v1": image})
    assert run(["load", "-i", archive(tmp_path, tar(members))]) == 1
    assert "filesystem layer verification failed" in capfd.readouterr().err
    assert images(capfd) == []


def test_load_file_that_is_absent_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["load", "-i", str(tmp_path / "absent.tar")]) == 1
    assert "No such file" in capfd.readouterr().err


def test_load_blob_that_is_damaged_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    members = layout_members({"app.io/a:v1": IMAGE})
    name = f"blobs/sha256/{IMAGE.layers[1].digest.encoded}"
    members[name] = members[name][:-1] + b"!"
    assert run(["load", "-i", archive(tmp_path, tar(members))]) == 1
    assert "digest mismatch" in capfd.readouterr().err
    assert images(capfd) == []


def test_load_manifest_json_that_names_another_config_keeps_the_layouts_names(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    members = new_docker_members(IMAGE, "app:v1")
    members["other"] = OTHER.config.data
    members["manifest.json"] = dumps([{"Config": "other", "RepoTags": ["evil:v1"], "Layers": []}])
    assert run(["load", "-i", archive(tmp_path, tar(members))]) == 0
    assert capfd.readouterr().out == "Loaded image: app:v1\n"
