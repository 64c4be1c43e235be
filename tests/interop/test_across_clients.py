"""What one client pushes, every other one pulls; and all of them at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from entrepot.testing.images import build_image

from .clients import CLIENTS, ImageClient
from .docker import Docker
from .wire import manifest_digest

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("puller", CLIENTS)
def test_image_pushed_by_one_client_is_pulled_by_another(
    request: pytest.FixtureRequest, client: ImageClient, puller: str, name: str, seed: int
) -> None:
    other: ImageClient = request.getfixturevalue(puller)
    image = build_image(seed=seed)
    client.load(image, name)
    client.push(name).checked()
    client.remove(name)
    other.pull(name).checked()
    assert other.image_id(name) == image.id
    assert other.digest(name) == manifest_digest(name)


@pytest.fixture
def everybody(request: pytest.FixtureRequest, docker: Docker, second_docker: Docker) -> list[ImageClient]:
    titles = ("podman", "buildah", "skopeo", "containerd", "entrepot_client")
    others = [request.getfixturevalue(title) for title in titles]
    return [docker, second_docker, *others]


@pytest.mark.root
def test_all_clients_push_same_image_at_once_and_each_pulls_anothers(
    everybody: list[ImageClient], repository: str, seed: int
) -> None:
    """The same blobs arrive several times at once, and so do different compressions of the same layers."""
    image = build_image(4, seed=seed, size=500_000)
    names = [f"{repository}:{number}" for number, _ in enumerate(everybody)]
    with ThreadPoolExecutor(len(everybody)) as pool:
        list(pool.map(lambda pair: pair[0].load(image, pair[1]), zip(everybody, names, strict=True)))
        pushes = list(pool.map(lambda pair: pair[0].push(pair[1]), zip(everybody, names, strict=True)))
        assert [push.status for push in pushes] == [0] * len(everybody), [push.text for push in pushes]
        rotated = [*names[1:], names[0]]
        pulls = list(pool.map(lambda pair: pair[0].pull(pair[1]), zip(everybody, rotated, strict=True)))
        assert [pull.status for pull in pulls] == [0] * len(everybody), [pull.text for pull in pulls]
    ids = [client.image_id(name) for client, name in zip(everybody, rotated, strict=True)]
    assert ids == [image.id] * len(everybody)


@pytest.mark.root
def test_two_dockers_push_one_tag_at_once_and_one_of_them_wins(
    docker: Docker, second_docker: Docker, name: str, seed: int
) -> None:
    images = [build_image(3, seed=seed + number, size=300_000) for number in range(2)]
    dockers = [docker, second_docker]
    for engine, image in zip(dockers, images, strict=True):
        engine.load(image, name)
    with ThreadPoolExecutor(2) as pool:
        pushes = list(pool.map(lambda engine: engine.push(name).checked(), dockers))
    digests = [push.stdout.split("digest: ")[1].split()[0] for push in pushes]
    assert manifest_digest(name) in digests
    docker.pull(name).checked()
    assert docker.image_id(name) == images[digests.index(manifest_digest(name))].id
