"""Push, forget, pull back: the same image for every client."""

from __future__ import annotations

import pytest

from entrepot.testing.images import build_image, build_layer, build_layers

from .clients import ImageClient
from .peers import Registry
from .proxies import TcpProxy
from .wire import manifest_digest

pytestmark = pytest.mark.interop


def assert_comes_back(client: ImageClient, name: str) -> None:
    """Push ``name``, remove it, pull it: ID as before, digest as the registry says."""
    image_id = client.image_id(name)
    client.push(name).checked()
    client.remove(name)
    client.pull(name).checked()
    assert client.image_id(name) == image_id
    assert client.digest(name) == manifest_digest(name)


def test_push_image_then_pull_gives_same_image(client: ImageClient, name: str, seed: int) -> None:
    image = build_image(3, seed=seed)
    client.load(image, name)
    assert client.image_id(name) == image.id
    assert_comes_back(client, name)


def test_push_image_of_sixty_layers_then_pull_gives_same_image(client: ImageClient, name: str, seed: int) -> None:
    client.load(build_image(60, seed=seed, size=64), name)
    assert_comes_back(client, name)


def test_push_image_with_empty_layer_then_pull_gives_same_image(client: ImageClient, name: str, seed: int) -> None:
    [layer] = build_layers(1, seed=seed)
    client.load(build_image([build_layer({}), layer, build_layer({})], seed=seed), name)
    assert_comes_back(client, name)


def test_pull_by_digest_gives_same_image(client: ImageClient, repository: str, name: str, seed: int) -> None:
    client.load(build_image(seed=seed), name)
    image_id = client.image_id(name)
    client.push(name).checked()
    client.remove(name)
    digest = manifest_digest(name)
    pinned = f"{repository}@{digest}"
    client.pull(pinned).checked()
    assert client.image_id(pinned) == image_id
    assert client.digest(pinned) == digest


def test_push_same_image_again_sends_no_layer(client: ImageClient, registry: Registry, path: str, seed: int) -> None:
    with TcpProxy(registry.host) as proxy:
        name = f"{proxy.host}/{path}:v1"
        client.load(build_image(2, seed=seed, size=200_000), name)
        client.push(name).checked()
        sent = proxy.sent
        assert sent > 400_000
        client.push(name).checked()
        assert proxy.sent - sent < 50_000


def test_push_image_to_second_repository_mounts_its_layers(
    client: ImageClient, registry: Registry, path: str, seed: int
) -> None:
    """No layer travels twice, and the second repository really has them."""
    with TcpProxy(registry.host) as proxy:
        first, second = f"{proxy.host}/{path}/first:v1", f"{proxy.host}/{path}/second:v1"
        client.load(build_image(2, seed=seed, size=200_000), first)
        client.push(first).checked()
        client.pull(first).checked()  # containerd remembers where it pulled from, not where it pushed to
        client.tag(first, second)
        sent = proxy.sent
        client.push(second).checked()
        assert proxy.sent - sent < 50_000
        assert manifest_digest(second) == manifest_digest(first)
        client.remove(second)
        client.pull(second).checked()
