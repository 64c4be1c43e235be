"""Clients over TLS, each with its own way to trust a private authority."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.testing.images import build_image
from entrepot.testing.server import RegistryProcess

from .clients import ImageClient
from .containerd import Containerd
from .podman import ContainersClient
from .skopeo import Skopeo

pytestmark = pytest.mark.interop


@pytest.fixture
def secure_name(secure_registry: RegistryProcess, path: str) -> str:
    return f"{secure_registry.host}/{path}:v1"


def test_skopeo_trusting_the_authority_pushes_and_pulls(
    skopeo: Skopeo, secure_name: str, authority: Path, tmp_path: Path, seed: int
) -> None:
    skopeo.load(build_image(seed=seed), secure_name)
    remote = f"docker://{secure_name}"
    skopeo.cli.run("copy", "--dest-cert-dir", authority, skopeo.local(secure_name), remote)
    skopeo.cli.run("copy", "--src-cert-dir", authority, remote, f"dir:{tmp_path}")
    assert (tmp_path / "manifest.json").exists()


def test_skopeo_without_the_authority_says_certificate_unknown(skopeo: Skopeo, secure_name: str) -> None:
    outcome = skopeo.cli.try_run("inspect", f"docker://{secure_name}")
    assert outcome.status == 1
    assert "certificate signed by unknown authority" in outcome.text


def hosts_folder(folder: Path, host: str, authority: Path) -> Path:
    """Tells containerd to use TLS even for a loopback address, and whom to trust."""
    (folder / host).mkdir()
    trust = f'server = "https://{host}"\n[host."https://{host}"]\n  ca = "{authority}/ca.crt"\n'
    (folder / host / "hosts.toml").write_text(trust)
    return folder


@pytest.mark.root
def test_containerd_trusting_the_authority_pushes_and_pulls(
    containerd: Containerd, secure_name: str, authority: Path, tmp_path: Path, seed: int
) -> None:
    image = build_image(seed=seed)
    containerd.load(image, secure_name)
    trust = ("--hosts-dir", hosts_folder(tmp_path, secure_name.partition("/")[0], authority))
    containerd.cli.run("images", "push", *trust, secure_name)
    containerd.remove(secure_name)
    containerd.cli.run("images", "pull", *trust, "--snapshotter", "native", secure_name)
    assert containerd.digest(secure_name) == image.digest


@pytest.mark.root
@pytest.mark.parametrize("title", ["podman", "buildah"])
def test_containers_tools_trusting_the_authority_push_and_pull(
    request: pytest.FixtureRequest, title: str, secure_name: str, authority: Path, seed: int
) -> None:
    client: ContainersClient = request.getfixturevalue(title)
    image = build_image(seed=seed)
    client.load(image, secure_name)
    client.cli.run("push", "--cert-dir", authority, secure_name)
    client.remove(secure_name)
    client.cli.run("pull", "--cert-dir", authority, secure_name)
    assert client.image_id(secure_name) == image.id


@pytest.mark.root
def test_docker_pushes_and_pulls_over_tls(docker: ImageClient, secure_name: str, seed: int) -> None:
    """The engine trusts every certificate of a loopback address, and asks by TLS before plain HTTP."""
    image = build_image(seed=seed)
    docker.load(image, secure_name)
    docker.push(secure_name).checked()
    docker.remove(secure_name)
    docker.pull(secure_name).checked()
    assert docker.image_id(secure_name) == image.id
