"""docker: what its users type and read."""

from __future__ import annotations

import re

import pytest

from entrepot.testing.images import build_image

from .docker import Docker
from .peers import Registry
from .skopeo import Skopeo
from .wire import manifest_answer, manifest_digest

pytestmark = [pytest.mark.interop, pytest.mark.root]


def test_first_four_commands_of_a_new_user(docker: Docker, skopeo: Skopeo, registry: Registry, seed: int) -> None:
    """Pull, list, tag, push: the four commands of every introduction, with this registry for the public one."""
    host = registry.host
    nginx = build_image(3, seed=seed)
    skopeo.load(nginx, f"{host}/library/nginx:1.23.3")
    skopeo.push(f"{host}/library/nginx:1.23.3").checked()

    pulled = docker.cli.run("pull", f"{host}/library/nginx:1.23.3").splitlines()
    assert pulled[0] == "1.23.3: Pulling from library/nginx"
    assert sum(line.endswith(": Pull complete") for line in pulled) == 3
    assert pulled[-3:] == [
        f"Digest: {nginx.digest}",
        f"Status: Downloaded newer image for {host}/library/nginx:1.23.3",
        f"{host}/library/nginx:1.23.3",
    ]

    listed = docker.cli.run("images").splitlines()
    assert listed[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    [row] = [line.split() for line in listed if line.startswith(f"{host}/library/nginx ")]
    assert row[1:3] == ["1.23.3", nginx.id.encoded[:12]]

    assert docker.cli.run("tag", f"{host}/library/nginx:1.23.3", f"{host}/myusername/myapp:latest") == ""

    pushed = docker.cli.run("push", f"{host}/myusername/myapp:latest").splitlines()
    assert pushed[0] == f"The push refers to repository [{host}/myusername/myapp]"
    assert sum(line.endswith(": Mounted from library/nginx") for line in pushed) == 3
    assert re.fullmatch(r"latest: digest: sha256:[0-9a-f]{64} size: \d+", pushed[-1])
    assert manifest_digest(f"{host}/myusername/myapp:latest") in pushed[-1]


def test_push_and_pull_without_tag_say_latest(docker: Docker, repository: str, seed: int) -> None:
    image = build_image(seed=seed)
    docker.load(image, f"{repository}:latest")
    assert docker.push(repository).checked().stdout.startswith("Using default tag: latest\n")
    docker.remove(f"{repository}:latest")
    assert docker.pull(repository).checked().stdout.startswith("Using default tag: latest\n")
    assert docker.image_id(f"{repository}:latest") == image.id


def test_push_again_says_layer_already_exists(docker: Docker, name: str, seed: int) -> None:
    docker.load(build_image(2, seed=seed), name)
    assert docker.push(name).checked().stdout.count(": Pushed\n") == 2
    assert docker.push(name).checked().stdout.count(": Layer already exists\n") == 2


def test_pull_again_says_up_to_date(docker: Docker, name: str, seed: int) -> None:
    docker.load(build_image(seed=seed), name)
    docker.push(name).checked()
    assert f"Status: Image is up to date for {name}\n" in docker.pull(name).checked().stdout


def test_push_and_pull_all_tags_moves_all_tags(docker: Docker, repository: str, seed: int) -> None:
    names = {f"{repository}:{number}": build_image(1, seed=seed + number) for number in range(3)}
    for name, image in names.items():
        docker.load(image, name)
    docker.cli.run("push", "--all-tags", repository)
    for name in names:
        docker.remove(name)
    docker.cli.run("pull", "--all-tags", repository)
    assert {name: docker.image_id(name) for name in names} == {name: image.id for name, image in names.items()}


def test_push_moved_tag_is_what_others_pull(docker: Docker, second_docker: Docker, name: str, seed: int) -> None:
    old, new = build_image(seed=seed), build_image(seed=seed + 1)
    docker.load(old, name)
    docker.push(name).checked()
    second_docker.pull(name).checked()
    docker.load(new, name)
    docker.push(name).checked()
    second_docker.pull(name).checked()
    assert second_docker.image_id(name) == new.id


def test_import_from_tar_and_push_then_pull_gives_same_image(docker: Docker, name: str, seed: int) -> None:
    """An image that docker itself made, in its own media types."""
    archive = build_image(1, seed=seed).layers[0].data
    file = docker.file("rootfs.tar.gz", archive)
    docker.cli.run("import", file, name)
    image_id = docker.image_id(name)
    docker.push(name).checked()
    docker.remove(name)
    docker.pull(name).checked()
    assert docker.image_id(name) == image_id
    assert manifest_answer(name).headers["content-type"] == manifest_answer(name).json()["mediaType"]


def test_pull_short_name_through_mirror_comes_from_this_registry(
    docker: Docker, skopeo: Skopeo, registry: Registry, path: str, seed: int
) -> None:
    """The engine's ``registry-mirrors`` names us: nobody has to type a host."""
    image = build_image(seed=seed)
    skopeo.load(image, f"{registry.host}/library/{path}:1")
    skopeo.push(f"{registry.host}/library/{path}:1").checked()
    docker.pull(f"{path}:1").checked()
    assert docker.image_id(f"{path}:1") == image.id


def test_search_finds_repository(docker: Docker, entrepot: Registry, name: str, path: str, seed: int) -> None:
    docker.load(build_image(1, seed=seed), name)
    docker.push(name).checked()
    found = docker.cli.run("search", f"{entrepot.host}/{path}").splitlines()
    assert found[0].split()[:3] == ["NAME", "DESCRIPTION", "STARS"]
    assert [line.split()[0] for line in found[1:]] == [path]


def test_search_for_nothing_known_prints_header_alone(docker: Docker, entrepot: Registry) -> None:
    assert len(docker.cli.run("search", f"{entrepot.host}/no-such-thing-anywhere").splitlines()) == 1


def test_login_to_open_registry_succeeds_and_push_goes_on(
    docker: Docker, registry: Registry, name: str, seed: int
) -> None:
    docker.load(build_image(1, seed=seed), name)
    printed = docker.cli.run("login", "--username", "somebody", "--password", "secret", registry.host)
    assert "Login Succeeded" in printed
    docker.push(name).checked()
    docker.cli.run("logout", registry.host)
