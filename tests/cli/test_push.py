"""``entrepot push``: what is printed where, what arrives, and the way out of the classic mistakes."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from entrepot.testing.images import build_index
from entrepot.testing.server import RegistryProcess
from entrepot.testing.token_guard import Rules
from entrepot.testing.token_server import GuardedRegistry
from tests.cli.conftest import Entrepot, Publish
from tests.cli.test_pull import IMAGE, layers, short


@pytest.fixture
def name() -> str:
    return f"team/pushed-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def other_registry(tmp_path: Path) -> RegistryProcess:
    return RegistryProcess(tmp_path / "other")


def test_push_image_prints_what_docker_prints_and_it_arrives(
    entrepot: Entrepot, publish: Publish, name: str, other_registry: RegistryProcess
) -> None:
    entrepot("pull", str(reference := publish(IMAGE, name, "v1")))
    with other_registry as target:
        entrepot("tag", str(reference), f"{target.host}/my/app:v2")
        done = entrepot("push", f"{target.host}/my/app:v2")
        again = entrepot("push", f"{target.host}/my/app:v2")
    ids = [short(layer) for layer in layers(IMAGE)]
    last = f"v2: digest: {IMAGE.manifest.digest} size: {len(IMAGE.manifest.data)}"
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == f"The push refers to repository [{target.host}/my/app]"
    assert done.lines[1:4] == [f"{layer}: Preparing" for layer in ids]
    assert sorted(line for line in done.lines if line.endswith(": Pushed")) == sorted(f"{i}: Pushed" for i in ids)
    assert done.lines[-1] == last
    assert sorted(again.lines[4:-1]) == sorted(f"{layer}: Layer already exists" for layer in ids)
    assert again.lines[-1] == last


def test_push_to_another_repository_mounts_the_layers(
    entrepot: Entrepot, publish: Publish, registry: RegistryProcess, name: str
) -> None:
    entrepot("pull", str(reference := publish(IMAGE, name, "v1")))
    entrepot("tag", str(reference), f"{registry.host}/{name}-copy:v1")
    done = entrepot("push", f"{registry.host}/{name}-copy:v1")
    assert {line for line in done.lines if "Mounted" in line} == {
        f"{short(layer)}: Mounted from {name}" for layer in layers(IMAGE)
    }


def test_push_without_tag_means_latest_and_says_so(entrepot: Entrepot, publish: Publish, name: str) -> None:
    entrepot("pull", str(reference := publish(IMAGE, name, "latest")))
    assert entrepot("push", reference.name).lines[:2] == [
        "Using default tag: latest",
        f"The push refers to repository [{reference.name}]",
    ]


def test_push_all_tags_sends_each(
    entrepot: Entrepot, publish: Publish, name: str, other_registry: RegistryProcess
) -> None:
    entrepot("pull", str(reference := publish(IMAGE, name, "v1")))
    with other_registry as target:
        for tag in ("a", "b"):
            entrepot("tag", str(reference), f"{target.host}/my/app:{tag}")
        done = entrepot("push", "-a", f"{target.host}/my/app")
        there = entrepot("pull", "-q", "-a", f"{target.host}/my/app")
    assert [line.partition(":")[0] for line in done.lines if "digest:" in line] == ["a", "b"]
    assert there.code == 0


def test_push_quietly_prints_the_name_alone(entrepot: Entrepot, publish: Publish, name: str) -> None:
    entrepot("pull", str(reference := publish(IMAGE, name, "v1")))
    done = entrepot("push", "-q", str(reference))
    assert (done.code, done.out, done.err) == (0, f"{reference}\n", "")


def test_push_name_without_user_or_registry_says_what_to_type(entrepot: Entrepot, publish: Publish, name: str) -> None:
    entrepot("tag", pulled(entrepot, publish, name), "myapp")
    done = entrepot("push", "myapp")
    assert done.code == 1
    assert done.lines == ["Using default tag: latest", "The push refers to repository [docker.io/library/myapp]"]
    assert done.err.startswith("Error: denied: requested access to the resource is denied\n")
    assert "  entrepot tag myapp:latest USER/myapp:latest\n  entrepot push USER/myapp:latest\n" in done.err


def test_push_name_without_user_names_the_user_who_is_logged_in(
    entrepot: Entrepot, publish: Publish, registry: RegistryProcess, name: str, home: Path
) -> None:
    """docker.io is a registry of ours here: whoever is logged in still may not push official images."""
    folder = home / ".docker"
    folder.mkdir()
    login = {"auths": {"https://index.docker.io/v1/": {"auth": "Ym9iOmh1bnRlcjI="}}}
    (folder / "config.json").write_text(json.dumps(login))
    entrepot("tag", pulled(entrepot, publish, name), "myapp:2.0")
    with GuardedRegistry(registry.host, Rules(denied=frozenset({"library/myapp"}))) as hub:
        certs = home / ".config/containers/certs.d/docker.io"
        certs.mkdir(parents=True)
        (certs / "hosts.toml").write_text(f'server = "{hub.url}"\n')
        done = entrepot("push", "myapp:2.0")
    assert done.code == 1
    assert "entrepot tag myapp:2.0 bob/myapp:2.0\n  entrepot push bob/myapp:2.0\n" in done.err
    assert "hunter2" not in done.err + done.out


@pytest.mark.parametrize("tag", ["", ":v2"], ids=["no tag", "tag"])
def test_push_repository_that_is_not_here_says_so(entrepot: Entrepot, registry: RegistryProcess, tag: str) -> None:
    done = entrepot("push", f"{registry.host}/no/such{tag}")
    assert done.code == 2
    assert done.lines[-1] == f"The push refers to repository [{registry.host}/no/such]"
    assert done.err.startswith(
        f"Error: An image does not exist locally with the tag: {registry.host}/no/such\nHint: entrepot images lists"
    )


@pytest.mark.parametrize(("tag", "shown"), [("", ":latest"), (":v2", ":v2")], ids=["no tag", "tag"])
def test_push_tag_that_is_not_here_says_so(
    entrepot: Entrepot, publish: Publish, name: str, tag: str, shown: str
) -> None:
    entrepot("pull", str(reference := publish(IMAGE, name, "v1")))
    done = entrepot("push", f"{reference.name}{tag}")
    assert done.code == 2
    assert done.err == f"Error: tag does not exist: {reference.name}{shown}\nHint: here it has the tags: v1\n"


@pytest.mark.parametrize("command", ["push", "pull"])
def test_push_or_pull_of_a_registry_alone_says_how_it_is_understood(
    entrepot: Entrepot, home: Path, command: str
) -> None:
    certs = home / ".config/containers/certs.d/docker.io"
    certs.mkdir(parents=True)
    (certs / "hosts.toml").write_text('server = "http://127.0.0.1:1"\n')  # nobody is to be asked
    done = entrepot(command, "localhost:5000")
    assert done.code != 0
    assert done.err.startswith(
        "Warning: localhost:5000 is taken for an image of docker.io; one of that registry is localhost:5000/NAME\n"
    )


def test_push_digest_is_refused(entrepot: Entrepot) -> None:
    done = entrepot("push", f"localhost:5000/app@{IMAGE.manifest.digest}")
    assert (done.code, done.err) == (1, "Error: cannot push a digest reference\n")


def test_push_of_one_platform_of_an_index_pushes_that_image_and_says_so(
    entrepot: Entrepot, publish: Publish, name: str, other_registry: RegistryProcess
) -> None:
    index = build_index(("linux/amd64", "linux/s390x"))
    reference = publish(index, name, "v1")
    entrepot("pull", "--platform", "linux/amd64", str(reference))
    with other_registry as target:
        entrepot("tag", str(reference), f"{target.host}/my/app:v1")
        done = entrepot("push", f"{target.host}/my/app:v1")
        there = entrepot("digest", f"{target.host}/my/app:v1")
    image = index.children[0].manifest
    assert done.code == 0
    assert done.lines[-1] == f"v1: digest: {image.digest} size: {len(image.data)}"
    assert done.err.endswith(f"{index.manifest.digest} -> {image.digest}\n")
    assert there.out == f"{image.digest}\n"


def test_push_of_one_platform_to_where_the_others_are_pushes_the_index(
    entrepot: Entrepot, publish: Publish, name: str
) -> None:
    index = build_index(("linux/amd64", "linux/s390x"))
    reference = publish(index, name, "v1")
    entrepot("pull", "--platform", "linux/amd64", str(reference))
    entrepot("tag", str(reference), f"{reference.name}:v2")
    done = entrepot("push", f"{reference.name}:v2")
    assert (done.code, done.err) == (0, "")
    assert f"v2: digest: {index.manifest.digest}" in done.out


def test_push_of_two_platforms_of_three_says_what_is_missing_and_what_to_do(
    entrepot: Entrepot, publish: Publish, name: str, other_registry: RegistryProcess
) -> None:
    index = build_index(("linux/amd64", "linux/s390x", "linux/arm64"))
    reference = publish(index, name, "v1")
    entrepot("pull", "--platform", "linux/amd64", "--platform", "linux/arm64", str(reference))
    with other_registry as target:
        entrepot("tag", str(reference), f"{target.host}/my/app:v1")
        refused = entrepot("push", f"{target.host}/my/app:v1")
        done = entrepot("push", "--platform", "linux/arm64", f"{target.host}/my/app:v1")
    assert refused.code == 2
    assert "missing: linux/s390x" in refused.err
    assert "entrepot push --platform linux/amd64" in refused.err
    assert f"v1: digest: {index.children[2].manifest.digest}" in done.out


def pulled(entrepot: Entrepot, publish: Publish, name: str) -> str:
    reference = publish(IMAGE, name, "v1")
    entrepot("pull", str(reference))
    return str(reference)
