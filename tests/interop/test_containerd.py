"""containerd: mirrors by ``hosts.toml``, artifacts, several pulls at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.testing.images import build_artifact, build_image

from .containerd import PLAIN_HTTP, Containerd
from .peers import Registry
from .skopeo import Skopeo
from .wire import manifest_answer

pytestmark = [pytest.mark.interop, pytest.mark.root]


def test_pull_of_public_name_through_mirror_comes_from_this_registry(
    containerd: Containerd, skopeo: Skopeo, registry: Registry, path: str, seed: int, tmp_path: Path
) -> None:
    """A mirror is asked with ``?ns=docker.io`` behind every address."""
    image = build_image(seed=seed)
    skopeo.load(image, f"{registry.host}/library/{path}:1")
    skopeo.push(f"{registry.host}/library/{path}:1").checked()
    hosts = tmp_path / "docker.io" / "hosts.toml"
    hosts.parent.mkdir()
    hosts.write_text(f'[host."{registry.url}"]\n  capabilities = ["pull", "resolve"]\n')
    name = f"docker.io/library/{path}:1"
    containerd.cli.run("images", "pull", "--snapshotter", "native", "--hosts-dir", tmp_path, name)
    assert containerd.digest(name) == image.digest


def test_push_artifact_keeps_its_bytes(containerd: Containerd, name: str, seed: int) -> None:
    artifact = build_artifact(str(seed).encode(), artifact_type="application/vnd.example.note.v1")
    containerd.load(artifact, name)
    containerd.push(name).checked()
    assert manifest_answer(name).body == artifact.manifest.data


def test_fetch_content_by_digest_gives_same_bytes(containerd: Containerd, name: str, seed: int) -> None:
    """``ctr content fetch`` stores blobs without unpacking them."""
    image = build_image(seed=seed)
    containerd.load(image, name)
    containerd.push(name).checked()
    containerd.remove(name)
    containerd.cli.run("content", "fetch", PLAIN_HTTP, name)
    assert containerd.content(image.id)["rootfs"]["diff_ids"]
