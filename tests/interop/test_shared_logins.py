"""docker, podman and our command with one home: whoever logs in there does it for all of them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.testing.images import Image, build_image
from entrepot.testing.token_guard import Rules
from entrepot.testing.token_server import GuardedRegistry

from .clients import CommandLine, private_environment
from .docker import Docker, docker_program
from .entrepot_client import EntrepotClient
from .peers import Registry
from .podman import Podman

pytestmark = [pytest.mark.interop, pytest.mark.root]

BOB = ("login", "--username", "bob", "--password", "hunter2")
MOVED = "DOCKER_CONFIG"  # where it is set podman keeps its logins there too
# podman has to be told to do without TLS even for this computer
PLAIN_HTTP = {"docker": (), "podman": ("--tls-verify=false",)}


@pytest.fixture
def house() -> Iterator[Path]:
    """Where all live; podman wants short paths."""
    with tempfile.TemporaryDirectory(prefix="house-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def ours(house: Path) -> EntrepotClient:
    client = EntrepotClient(house)
    client.cli = client.cli.without(MOVED)
    return client


@pytest.fixture(params=["docker", "podman"])
def title(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def other(request: pytest.FixtureRequest, title: str, ours: EntrepotClient, house: Path) -> CommandLine:
    """docker or podman, at home where we are."""
    if title == "podman":
        return Podman(house).cli.without(MOVED)
    return docker_at(house, request.getfixturevalue("docker"))


def docker_at(house: Path, docker: Docker) -> CommandLine:
    environment = private_environment(house) | {"DOCKER_HOST": docker.socket}
    return CommandLine([docker_program()], environment=environment).without(MOVED)


@pytest.fixture
def image(seed: int) -> Image:
    return build_image(2, seed=seed, docker=True)


def test_others_log_in_and_we_push_and_pull(
    other: CommandLine, title: str, ours: EntrepotClient, guarded: str, path: str, image: Image
) -> None:
    name = f"{guarded}/{path}:v1"
    ours.load(image, name)
    assert ours.push(name).status == 1
    other.run(*BOB, *PLAIN_HTTP[title], guarded)
    assert f"v1: digest: {image.digest}" in ours.push(name).checked().stdout
    ours.remove(name)
    ours.pull(name).checked()
    assert ours.image_id(name) == image.id


def test_others_log_out_and_we_are_refused(
    other: CommandLine, title: str, ours: EntrepotClient, guarded: str, path: str, image: Image
) -> None:
    name = f"{guarded}/{path}:v1"
    ours.load(image, name)
    other.run(*BOB, *PLAIN_HTTP[title], guarded)
    other.run("logout", guarded)
    refused = ours.push(name)
    assert refused.status == 1
    assert "unauthorized" in refused.stderr or "denied" in refused.stderr
    assert f"entrepot login {guarded}" in refused.stderr


def test_we_log_in_and_others_pull_and_push(
    other: CommandLine, title: str, ours: EntrepotClient, guarded: str, path: str, image: Image
) -> None:
    name = f"{guarded}/{path}:v1"
    ours.cli.run(*BOB, guarded)
    ours.load(image, name)
    ours.push(name).checked()
    other.run("pull", *PLAIN_HTTP[title], name)
    other.run("tag", name, f"{name}-2")
    other.run("push", *PLAIN_HTTP[title], f"{name}-2")
    ours.pull(f"{name}-2").checked()
    assert ours.image_id(f"{name}-2") == image.id
    other.run("rmi", name, f"{name}-2")


def test_we_log_out_of_what_others_logged_into(
    other: CommandLine, title: str, ours: EntrepotClient, guarded: str
) -> None:
    """What docker keeps we remove; what podman keeps in its own file we leave there, and say so."""
    other.run(*BOB, *PLAIN_HTTP[title], guarded)
    left = ours.cli.try_run("logout", guarded).checked()
    if title == "docker":
        assert left.stdout == f"Removing login credentials for {guarded}\n"
        assert ours.cli.try_run("login", "--get-login", guarded).status == 1
    else:
        assert "auth.json" in left.stderr


@pytest.mark.parametrize("first", ["docker", "entrepot"])
def test_identity_token_of_one_is_used_by_the_other(
    docker: Docker, ours: EntrepotClient, registry: Registry, path: str, image: Image, house: Path, first: str
) -> None:
    """A registry that gives such tokens is asked with them from then on, and no password is kept."""
    theirs = docker_at(house, docker)
    with GuardedRegistry(registry.host, Rules(refresh_tokens=True)) as guarded:
        (theirs if first == "docker" else ours.cli).run(*BOB, guarded.host)
        kept = json.loads((house / "home" / ".docker" / "config.json").read_text())["auths"][guarded.host]
        assert kept["identitytoken"]
        name = f"{guarded.host}/{path}:v1"
        ours.load(image, name)
        ours.push(name).checked()
        theirs.run("pull", name)
        theirs.run("rmi", name)
        assert {call.method for call in guarded.guard.token_calls} >= {"POST"}
