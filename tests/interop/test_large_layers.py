"""A layer over 2 GiB: sizes that do not fit 32 bits with a sign, through skopeo, docker and our own command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .docker import Docker
from .entrepot_client import EntrepotClient
from .large_images import write_large_layout
from .peers import Registry
from .skopeo import FROM_HTTP, TO_HTTP, Skopeo
from .wire import blob_hash, manifest_answer, manifest_digest

GIB = 1024**3
LARGE = 2 * GIB + 12_345
ROOM = 14 * GIB
LIMIT_SECONDS = 500

pytestmark = [pytest.mark.interop, pytest.mark.slow, pytest.mark.timeout(LIMIT_SECONDS)]


@pytest.fixture(scope="module")
def large_name(workspace: Path, registry: Registry, skopeo: Skopeo) -> str:
    """An image with one layer of over 2 GiB, pushed by skopeo."""
    if shutil.disk_usage(workspace).free < ROOM:
        pytest.skip(f"needs {ROOM // GIB} GiB of free disk")
    layout = workspace / "large"
    digest = write_large_layout(layout, "v1", size=LARGE)
    name = f"{registry.host}/large/app:v1"
    skopeo.cli.run("copy", TO_HTTP, f"oci:{layout}:v1", f"docker://{name}", timeout=LIMIT_SECONDS)
    shutil.rmtree(layout)
    assert manifest_digest(name) == digest
    return name


def test_skopeo_pulls_what_it_pushed(skopeo: Skopeo, large_name: str, workspace: Path) -> None:
    """skopeo checks the digest of every blob it receives."""
    pulled = workspace / "large-pulled"
    skopeo.cli.run("copy", FROM_HTTP, f"docker://{large_name}", f"dir:{pulled}", timeout=LIMIT_SECONDS)
    [layer] = manifest_answer(large_name).json()["layers"]
    assert (pulled / layer["digest"].partition(":")[2]).stat().st_size == layer["size"] > LARGE
    shutil.rmtree(pulled)


def test_entrepot_pulls_it_and_pushes_it_again_elsewhere(entrepot_client: EntrepotClient, large_name: str) -> None:
    """What is pulled is checked against the digests; what is pushed keeps its digest."""
    entrepot_client.cli.run("pull", "--quiet", large_name, timeout=LIMIT_SECONDS)
    other_name = large_name.replace("127.0.0.1", "localhost").replace("/app:", "/by-entrepot:")
    entrepot_client.tag(large_name, other_name)
    entrepot_client.cli.run("push", "--quiet", other_name, timeout=LIMIT_SECONDS)
    assert manifest_digest(other_name) == manifest_digest(large_name)
    [layer] = manifest_answer(other_name).json()["layers"]
    assert blob_hash(other_name, layer["digest"]) == layer["digest"]
    entrepot_client.remove(large_name)
    entrepot_client.remove(other_name)


@pytest.mark.root
def test_docker_pulls_it_and_pushes_its_own_compression_of_it(docker: Docker, large_name: str) -> None:
    """To docker ``localhost`` is another registry, so it compresses and uploads the layer anew."""
    docker.cli.run("pull", "--quiet", large_name, timeout=LIMIT_SECONDS)
    other_name = large_name.replace("127.0.0.1", "localhost").replace("/app:", "/by-docker:")
    docker.tag(large_name, other_name)
    docker.cli.run("push", "--quiet", other_name, timeout=LIMIT_SECONDS)
    [before] = manifest_answer(large_name).json()["layers"]
    [layer] = manifest_answer(other_name).json()["layers"]
    assert layer["size"] > LARGE
    assert layer["digest"] != before["digest"]
    assert blob_hash(other_name, layer["digest"]) == layer["digest"]
    docker.remove(large_name)
    docker.remove(other_name)
