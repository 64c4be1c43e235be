"""Images for several platforms."""

from __future__ import annotations

import json

import pytest

from entrepot.testing.images import Index, build_index

from .clients import ImageClient
from .containerd import PLAIN_HTTP, Containerd
from .docker import Docker
from .podman import ContainersClient
from .skopeo import Skopeo
from .wire import manifest_answer, manifest_digest

pytestmark = pytest.mark.interop

PLATFORMS = ["linux/amd64", "linux/arm64/v8", "linux/s390x"]


@pytest.fixture
def index(skopeo: Skopeo, name: str, seed: int) -> Index:
    """An index of three platforms, pushed by skopeo."""
    index = build_index(PLATFORMS, seed=seed)
    skopeo.load(index, name)
    skopeo.push(name).checked()
    skopeo.remove(name)
    return index


def test_push_index_keeps_its_bytes_and_those_of_its_children(index: Index, name: str) -> None:
    assert manifest_answer(name).body == index.manifest.data
    repository = name.rpartition(":")[0]
    for child in index.children:
        assert manifest_answer(f"{repository}@{child.digest}").body == child.manifest.data


@pytest.mark.parametrize("number", range(len(PLATFORMS)), ids=["amd64", "arm64", "s390x"])
def test_pull_one_platform_gives_its_image(client: ImageClient, index: Index, name: str, number: int) -> None:
    client.pull(name, platform=PLATFORMS[number]).checked()
    if isinstance(client, Containerd):  # keeps the index, and of its content one platform
        assert client.digest(name) == index.digest
        child = index.children[number].manifest
        assert client.content(child.digest) == json.loads(child.data)
    else:
        assert client.image_id(name) == index.children[number].id


def test_pull_platform_that_index_lacks_says_so(client: ImageClient, index: Index, name: str) -> None:
    outcome = client.pull(name, platform="linux/riscv64")
    assert outcome.status != 0
    assert any(word in outcome.text for word in ("no matching manifest", "no image found", "not found"))


def test_skopeo_copies_all_platforms_and_back(skopeo: Skopeo, index: Index, name: str) -> None:
    skopeo.pull_all(name).checked()
    assert skopeo.digest(name) == index.digest


@pytest.mark.root
def test_containerd_pushes_all_platforms_of_index(containerd: Containerd, name: str, seed: int) -> None:
    index = build_index(PLATFORMS, seed=seed)
    containerd.load(index, name)
    containerd.push(name).checked()
    containerd.remove(name)
    containerd.cli.run("images", "pull", PLAIN_HTTP, "--snapshotter", "native", "--all-platforms", name)
    assert containerd.digest(name) == index.digest == manifest_digest(name)
    assert manifest_answer(name).body == index.manifest.data


@pytest.mark.root
@pytest.mark.parametrize("title", ["podman", "buildah"])
def test_manifest_list_made_by_client_is_pushed_with_its_images(
    request: pytest.FixtureRequest, title: str, skopeo: Skopeo, name: str, seed: int
) -> None:
    client: ContainersClient = request.getfixturevalue(title)
    index = build_index(PLATFORMS[:2], seed=seed)
    skopeo.load(index, name)
    client.cli.run("manifest", "create", f"list-{seed}")
    client.cli.run("manifest", "add", "--all", f"list-{seed}", skopeo.local(name))
    client.cli.run("manifest", "push", "--all", "--tls-verify=false", f"list-{seed}", f"docker://{name}")
    pushed = manifest_answer(name).json()["manifests"]
    assert [entry["digest"] for entry in pushed] == [child.digest for child in index.children]
    client.pull(name, platform="linux/arm64/v8").checked()
    assert client.image_id(name) == index.children[1].id


@pytest.mark.root
def test_docker_manifest_list_is_pushed(docker: Docker, repository: str, name: str, seed: int) -> None:
    """``docker manifest create`` and ``push``: the client itself talks to the registry here."""
    children = []
    for platform in PLATFORMS[:2]:
        child = build_index([platform], seed=seed).children[0]
        tag = f"{repository}:{platform.split('/')[1]}"
        docker.load(child, tag)
        docker.push(tag).checked()
        children.append(tag)
    docker.cli.run("manifest", "create", "--insecure", name, *children)
    printed = docker.cli.run("manifest", "push", "--insecure", name).strip()
    assert printed == manifest_digest(name)
    assert [entry["digest"] for entry in manifest_answer(name).json()["manifests"]] == [
        manifest_digest(child) for child in children
    ]
    assert docker.cli.run("manifest", "inspect", "--insecure", name)
