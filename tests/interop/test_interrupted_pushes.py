"""A push that breaks off loses nothing and succeeds the next time."""

from __future__ import annotations

import pytest

from entrepot.testing.images import build_image

from .clients import ImageClient
from .peers import Registry
from .proxies import TcpProxy
from .wire import blob_answer, manifest_answer, manifest_digest

pytestmark = pytest.mark.interop

LAYER_SIZE = 3_000_000
HALF_WAY = 1_500_000


def test_push_cut_half_way_succeeds_on_retry(client: ImageClient, registry: Registry, path: str, seed: int) -> None:
    """Some clients try again by themselves; for the others the user does."""
    with TcpProxy(registry.host, cut_after=HALF_WAY) as proxy:
        name = f"{proxy.host}/{path}:v1"
        client.load(build_image(1, seed=seed, size=LAYER_SIZE), name)
        image_id = client.image_id(name)
        if client.push(name).status != 0:
            client.push(name).checked()
        assert proxy.cut.is_set()
        client.remove(name)
        client.pull(name).checked()
        assert client.image_id(name) == image_id
        assert client.digest(name) == manifest_digest(name)


def test_push_killed_half_way_leaves_nothing_and_succeeds_on_retry(
    client: ImageClient, registry: Registry, path: str, seed: int
) -> None:
    image = build_image(1, seed=seed, size=LAYER_SIZE)
    with TcpProxy(registry.host, hold_after=HALF_WAY) as proxy:
        name = f"{proxy.host}/{path}:v1"
        client.load(image, name)
        image_id = client.image_id(name)
        pushing = client.begin_push(name)
        assert proxy.held.wait(120)
        pushing.kill()
        pushing.wait()
        assert proxy.gone.wait(120)
        assert manifest_answer(name).status == 404
        assert blob_answer(name, image.layers[0].digest).status == 404
        client.push(name).checked()
        client.remove(name)
        client.pull(name).checked()
        assert client.image_id(name) == image_id
