"""Archives between entrepot and docker, podman, skopeo, containerd: what one saves the other loads, IDs unchanged."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.testing.images import Image, build_image, build_index, write_layout

from .clients import CommandLine
from .containerd import Containerd
from .docker import Docker
from .podman import Buildah, Podman
from .skopeo import Skopeo

pytestmark = pytest.mark.interop

NAME = "archived.example.com/team/app:v1"


@pytest.fixture
def ours(tmp_path: Path) -> CommandLine:
    """Our command with an image store of its own."""
    return CommandLine([sys.executable, "-m", "entrepot"], environment={"ENTREPOT_ROOT": str(tmp_path / "root")})


@pytest.fixture
def image(seed: int) -> Image:
    return build_image(3, seed=seed, size=20_000)


@pytest.fixture
def docker_image(seed: int) -> Image:
    return build_image(3, seed=seed, size=20_000, docker=True)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive.tar"


@pytest.fixture
def saved(ours: CommandLine, image: Image, tmp_path: Path, archive: Path) -> Path:
    """An archive that we have written."""
    load_layout(ours, image, tmp_path)
    ours.run("save", "-o", archive, NAME)
    return archive


def load_layout(ours: CommandLine, image: Image, tmp_path: Path) -> None:
    layout = tmp_path / "in.tar"
    folder = write_layout(tmp_path / "layout", {NAME: image})
    CommandLine(["tar"], environment={}).run("-C", folder, "-cf", layout, ".")
    assert ours.run("load", "-i", layout) == f"Loaded image: {NAME}\n"


def ids(ours: CommandLine) -> list[str]:
    return ours.run("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()


# ours to theirs


@pytest.mark.root
def test_docker_loads_what_we_save(docker: Docker, saved: Path, image: Image) -> None:
    assert f"Loaded image: {NAME}" in docker.cli.run("load", "-i", saved)
    assert docker.image_id(NAME) == image.id
    docker.remove(NAME)


@pytest.mark.root
def test_podman_loads_what_we_save(podman: Podman, saved: Path, image: Image) -> None:
    assert NAME in podman.cli.run("load", "-i", saved)
    assert podman.image_id(NAME) == image.id
    podman.remove(NAME)


@pytest.mark.root
def test_containerd_imports_what_we_save(containerd: Containerd, saved: Path, image: Image) -> None:
    containerd.cli.run("images", "import", saved)
    assert image.digest in containerd.cli.run("images", "ls", f"name=={NAME}")


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
def test_skopeo_copies_out_of_what_we_save(
    skopeo: Skopeo, saved: Path, image: Image, tmp_path: Path, transport: str
) -> None:
    tag = "v1" if transport == "oci-archive" else NAME
    skopeo.cli.run("copy", f"{transport}:{saved}:{tag}", f"dir:{tmp_path / 'out'}")
    manifest = (tmp_path / "out" / "manifest.json").read_bytes()
    assert json.loads(manifest)["config"]["digest"] == image.id
    if transport == "oci-archive":
        assert Digest.of(manifest) == image.digest


@pytest.mark.root
def test_docker_loads_several_images_and_names(docker: Docker, ours: CommandLine, saved: Path, image: Image) -> None:
    ours.run("tag", NAME, "second.example.com/app:v2")
    saved.unlink()
    ours.run("save", "-o", saved, NAME, "second.example.com/app:v2")
    docker.cli.run("load", "-i", saved)
    for name in (NAME, "second.example.com/app:v2"):
        assert docker.image_id(name) == image.id
        docker.remove(name)


@pytest.mark.root
@pytest.mark.parametrize("client", ["docker", "podman"], indirect=True)
def test_load_one_platform_of_an_index_we_save(
    client: Docker, ours: CommandLine, tmp_path: Path, archive: Path, seed: int
) -> None:
    index = build_index(["linux/arm64", "linux/amd64"], seed=seed % 1000)
    folder = write_layout(tmp_path / "layout", {NAME: index})
    CommandLine(["tar"], environment={}).run("-C", folder, "-cf", tmp_path / "in.tar", ".")
    ours.run("load", "-i", tmp_path / "in.tar")
    ours.run("save", "-o", archive, NAME)
    client.cli.run("load", "-i", archive)
    assert client.image_id(NAME) == index.children[1].id
    client.remove(NAME)


# theirs to ours


@pytest.mark.root
def test_load_what_docker_saves(docker: Docker, ours: CommandLine, archive: Path, docker_image: Image) -> None:
    docker.load(docker_image, NAME)
    docker.cli.run("save", "-o", archive, NAME)
    assert ours.run("load", "-i", archive) == f"Loaded image: {NAME}\n"
    assert ids(ours) == [f"{NAME} {docker_image.id}"]
    docker.remove(NAME)


@pytest.mark.root
def test_load_what_docker_saves_by_id(docker: Docker, ours: CommandLine, archive: Path, docker_image: Image) -> None:
    docker.load(docker_image, NAME)
    docker.cli.run("save", "-o", archive, docker_image.id)
    assert ours.run("load", "-i", archive) == f"Loaded image ID: {docker_image.id}\n"
    docker.remove(NAME)


@pytest.mark.root
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_load_what_podman_saves(podman: Podman, ours: CommandLine, archive: Path, image: Image, form: str) -> None:
    podman.load(image, NAME)
    podman.cli.run("save", "--format", form, "-o", archive, NAME)
    expected = podman.image_id(NAME)
    assert ours.run("load", "-i", archive) == f"Loaded image: {NAME}\n"
    assert ids(ours) == [f"{NAME} {expected}"]
    podman.remove(NAME)


@pytest.mark.root
@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_load_what_buildah_pushes_into_an_archive(
    buildah: Buildah, ours: CommandLine, archive: Path, image: Image, transport: str
) -> None:
    buildah.load(image, NAME)
    expected = buildah.image_id(NAME)
    buildah.cli.run("push", NAME, f"{transport}:{archive}:{NAME}")
    assert ours.run("load", "-i", archive) == f"Loaded image: {NAME}\n"
    assert ids(ours) == [f"{NAME} {expected}"]
    buildah.remove(NAME)


@pytest.mark.root
def test_load_what_podman_saves_of_several_images(
    podman: Podman, ours: CommandLine, archive: Path, image: Image, seed: int
) -> None:
    names = [NAME, "archived.example.com/team/second:v2"]
    images = [image, build_image(2, seed=seed + 1)]
    for name, each in zip(names, images, strict=True):
        podman.load(each, name)
    podman.cli.run("save", "--multi-image-archive", "-o", archive, *names)
    assert sorted(ours.run("load", "-i", archive).splitlines()) == sorted(f"Loaded image: {name}" for name in names)
    assert sorted(ids(ours)) == sorted(f"{name} {each.id}" for name, each in zip(names, images, strict=True))
    for name in names:
        podman.remove(name)


@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_load_what_skopeo_writes(
    skopeo: Skopeo, ours: CommandLine, archive: Path, image: Image, transport: str
) -> None:
    skopeo.load(image, "source")
    skopeo.cli.run("copy", skopeo.local("source"), f"{transport}:{archive}:{NAME}")
    assert ours.run("load", "-i", archive) == f"Loaded image: {NAME}\n"
    assert ids(ours) == [f"{NAME} {image.id}"]


@pytest.mark.root
def test_load_what_containerd_exports(containerd: Containerd, ours: CommandLine, archive: Path, image: Image) -> None:
    containerd.load(image, NAME)
    containerd.cli.run("images", "export", archive, NAME)
    assert ours.run("load", "-i", archive) == f"Loaded image: {NAME}\n"
    assert ids(ours) == [f"{NAME} {image.id}"]
