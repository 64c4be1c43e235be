"""Fixtures: one registry and one of each client for the whole run; a fresh repository name for each test."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.testing.server import RegistryProcess
from entrepot.testing.token_guard import Rules
from entrepot.testing.token_server import GuardedRegistry

from .access_log import surprises
from .authority import write_authority
from .clients import CLIENTS, ImageClient
from .commands import run
from .containerd import Containerd
from .containerd import containerd as run_containerd
from .docker import Docker, docker_program, engine
from .entrepot_client import EntrepotClient
from .peers import DockerRegistry, PasswordRegistry, Registry
from .podman import Buildah, Podman
from .skopeo import Skopeo
from .twins import Twins, rich_image
from .umoci import Umoci

PEER = os.environ.get("ENTREPOT_INTEROP_PEER", "entrepot")


@pytest.fixture(scope="session")
def workspace() -> Iterator[Path]:
    """Outside pytest's own folder, which is kept after the run: this one holds gigabytes, and short socket paths."""
    with tempfile.TemporaryDirectory(prefix="interop-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def registry(workspace: Path) -> Iterator[Registry]:
    """When all tests are through, its log must show no failure and its store no damage."""
    if PEER == "docker-registry":
        with DockerRegistry(workspace / "registry") as peer:
            yield peer
        return
    process = RegistryProcess(workspace / "registry", workers=2, flags=("--access-log", "json"))
    with process:
        yield process
    assert surprises(process.log_text()) == []
    run([sys.executable, "-m", "entrepot", "admin", "check", "--root", str(process.root)]).checked()


@pytest.fixture
def entrepot(registry: Registry) -> Registry:
    """The registry, for tests of what other registries lack."""
    if PEER != "entrepot":
        pytest.skip(f"{PEER} does not do this")
    return registry


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A number of this test's own, so that no other test has pushed the same blobs."""
    return zlib.crc32(request.node.nodeid.encode())


@pytest.fixture
def repository(registry: Registry, path: str) -> str:
    """``host:port/…``: a repository of this test's own."""
    return f"{registry.host}/{path}"


@pytest.fixture
def name(repository: str) -> str:
    return f"{repository}:v1"


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    """The repository without its host, to put behind a proxy's."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> ImageClient:
    """Each client in turn."""
    found: ImageClient = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def docker(workspace: Path, registry: Registry) -> Iterator[Docker]:
    folder = new_folder(workspace, "docker")
    with engine(folder, mirror=registry.url):
        yield Docker(docker_program(), folder)


@pytest.fixture(scope="session")
def second_docker(workspace: Path) -> Iterator[Docker]:
    """Somebody else's computer."""
    folder = new_folder(workspace, "docker2")
    with engine(folder):
        yield Docker(docker_program(), folder)


@pytest.fixture(scope="session")
def entrepot_client(workspace: Path) -> EntrepotClient:
    """Not called ``entrepot``: that is the registry."""
    return EntrepotClient(new_folder(workspace, "client"))


@pytest.fixture(scope="session")
def podman(workspace: Path) -> Podman:
    return Podman(new_folder(workspace, "podman"))


@pytest.fixture(scope="session")
def buildah(workspace: Path) -> Buildah:
    return Buildah(new_folder(workspace, "buildah"))


@pytest.fixture(scope="session")
def skopeo(workspace: Path) -> Skopeo:
    return Skopeo(new_folder(workspace, "skopeo"))


@pytest.fixture(scope="session")
def containerd(workspace: Path) -> Iterator[Containerd]:
    folder = new_folder(workspace, "containerd")
    with run_containerd(folder):
        yield Containerd(folder)


@pytest.fixture
def umoci(tmp_path: Path) -> Umoci:
    return Umoci(tmp_path / "umoci")


@pytest.fixture(scope="session")
def twins(docker: Docker, entrepot_client: EntrepotClient) -> Twins:
    return Twins(docker.cli, entrepot_client.cli)


@pytest.fixture(scope="session")
def kept(docker: Docker, entrepot_client: EntrepotClient, registry: Registry) -> str:
    """The name of an image that docker and our command have, for tests that only read."""
    name = f"{registry.host}/kept/app:v1"
    for client in (docker, entrepot_client):
        client.load(rich_image(1), name)
    return name


@pytest.fixture(params=["tokens", "basic", "docker-registry"])
def guarded(request: pytest.FixtureRequest, registry: Registry, tmp_path: Path) -> Iterator[str]:
    """The host of a registry that takes bob's password only."""
    if request.param == "docker-registry":
        with PasswordRegistry(tmp_path / "peer") as peer:
            yield peer.host
        return
    rules = Rules(scheme="basic") if request.param == "basic" else Rules()
    with GuardedRegistry(registry.host, rules) as server:
        yield server.host


@pytest.fixture(scope="session")
def authority(workspace: Path) -> Path:
    """A folder with a certificate authority, and certificates of it for a server and for a client."""
    return write_authority(new_folder(workspace, "authority"))


@pytest.fixture(scope="session")
def secure_registry(workspace: Path, authority: Path) -> Iterator[RegistryProcess]:
    certificate = ("--tls-certificate", str(authority / "server.pem"))
    key = ("--tls-key", str(authority / "server-key.pem"))
    flags = (*certificate, *key, "--access-log", "json")
    with RegistryProcess(workspace / "secure-registry", workers=2, flags=flags) as process:
        yield process
    assert surprises(process.log_text()) == []


def new_folder(workspace: Path, title: str) -> Path:
    folder = workspace / title
    folder.mkdir()
    return folder
