"""Pushes that break off go on where they were: within one run, and in the next one.

Our registry keeps every byte that it got. Debian's docker-registry (distribution 2.8) gives up an upload whose PATCH
breaks off: what it has written is more than the state in the upload's address says, and it answers 404 from then on.
So all of that layer is sent again there.
"""

from __future__ import annotations

import asyncio
import http.client
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrepot.client import Client
from entrepot.digest import Digest
from entrepot.image_store.pushing import StoredPushes
from entrepot.reference import ImageReference, Tag
from entrepot.testing.images import Image, build_image, walk_blobs
from entrepot.testing.repository_suite import push, require_whole
from entrepot.testing.server import RegistryProcess
from tests.cli.conftest import Done, Entrepot
from tests.resume.conftest import Host, require_sound, slow
from tests.resume.cuts import CuttingProxy, Ending
from tests.resume.programs import Program

IMAGE = build_image(2, seed=77, size=3_000_000)
TOTAL = sum(len(blob.data) for blob in walk_blobs(IMAGE))
LARGE = build_image(1, seed=78, size=10_000_000)
LARGE_TOTAL = sum(len(blob.data) for blob in walk_blobs(LARGE))
NO_CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
HEADS = 20_000  # of all requests, and the manifest

ENDINGS = pytest.mark.parametrize("ending", ["closed", "reset"])

Stock = Callable[[Image, CuttingProxy], str]
RequireThere = Callable[[str, Image], None]


@pytest.fixture
def stock(store_root: Path) -> Stock:
    """Puts an image into the store under a new name at the proxy, and returns that."""

    def put(image: Image, proxy: CuttingProxy) -> str:
        name = f"{proxy.host}/resume/{uuid.uuid4().hex}:v1"
        asyncio.run(_stock(image, ImageReference.parse(name), store_root))
        return name

    return put


async def _stock(image: Image, reference: ImageReference, root: Path) -> None:
    async with Client(root) as client:
        await push(client.store.repository(reference.stored_name), image, Tag(reference.target))


@pytest.fixture
def require_there(entrepot: Entrepot, peer: Host, store_root: Path, tmp_path: Path) -> RequireThere:
    """Fails unless the registry has all of the image, and the store, which is sound, remembers no upload of it."""

    def require(name: str, image: Image) -> None:
        there = ImageReference.parse(f"{peer.host}/{name.partition('/')[2]}")
        asyncio.run(_require_there(there, image, tmp_path / "reader"))
        assert [blob.digest for blob in walk_blobs(image) if upload_of(name, blob.digest, store_root)] == []
        require_sound(entrepot)

    return require


async def _require_there(reference: ImageReference, image: Image, root: Path) -> None:
    async with Client(root) as client:
        await require_whole(client.remote(reference), image, Tag(reference.target))


def upload_of(name: str, digest: Digest, root: Path) -> str | None:
    """Where the upload of a blob goes on, as far as the store remembers."""
    return asyncio.run(_upload_of(ImageReference.parse(name), digest, root))


async def _upload_of(reference: ImageReference, digest: Digest, root: Path) -> str | None:
    async with Client(root) as client:
        return await StoredPushes(client.store).find(reference.domain, reference.path, digest)


def keeps_torn_uploads(peer: Host) -> bool:
    return isinstance(peer, RegistryProcess)


def in_one_go(entrepot: Entrepot, name: str, *flags: str) -> Done:
    return entrepot("push", "--parallel", "1", *flags, name)


@ENDINGS
@pytest.mark.parametrize("position", [*slow(1, 5_000), 1_000_001, *slow(2_999_999, 4_500_000), TOTAL - 1])
def test_push_whose_connection_ends_once_finishes(
    entrepot: Entrepot, stock: Stock, peer: Host, require_there: RequireThere, position: int, ending: Ending
) -> None:
    with CuttingProxy(peer.host, [position], "up", ending) as proxy:
        name = stock(IMAGE, proxy)
        done = entrepot("push", name)
        assert (done.code, proxy.cuts_left) == (0, 0), done.err
        if keeps_torn_uploads(peer) and ending == "closed":
            assert proxy.passed["up"] < TOTAL + HEADS
        else:
            assert proxy.passed["up"] < 2 * TOTAL
        require_there(name, IMAGE)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=40, deadline=None, suppress_health_check=NO_CHECKS)
@given(
    up=st.lists(st.integers(1, TOTAL + 4000), max_size=3, unique=True),
    ending=st.sampled_from(["closed", "reset"]),
    parallel=st.integers(1, 4),
)
def test_push_whose_connections_end_anywhere_finishes(
    entrepot: Entrepot,
    stock: Stock,
    peer: Host,
    require_there: RequireThere,
    up: list[int],
    ending: Ending,
    parallel: int,
) -> None:
    with CuttingProxy(peer.host, up, "up", ending) as proxy:
        name = stock(IMAGE, proxy)
        done = entrepot("push", "--parallel", str(parallel), name)
        assert done.code == 0, done.err
        require_there(name, IMAGE)


def test_push_whose_connections_end_all_the_time_finishes(
    entrepot: Entrepot, stock: Stock, peer: Host, require_there: RequireThere
) -> None:
    if not keeps_torn_uploads(peer):
        pytest.skip("it gives up an upload whose PATCH breaks off")
    with CuttingProxy(peer.host, range(1_500_000, LARGE_TOTAL, 1_500_000), "up") as proxy:
        name = stock(LARGE, proxy)
        done = in_one_go(entrepot, name, "--retries", "2")
        assert (done.code, proxy.cuts_left) == (0, 0), done.err
        assert proxy.passed["up"] < LARGE_TOTAL + HEADS
        require_there(name, LARGE)


@pytest.mark.parametrize("left", range(6), ids=["tag", "is_tag_there", "close", "patch", "begin", "is_blob_there"])
def test_push_whose_answers_get_lost_finishes(
    entrepot: Entrepot, stock: Stock, peer: Host, require_there: RequireThere, left: int
) -> None:
    """``left`` answers before the last, that of the tag, the connection ends where the answer would come."""
    with CuttingProxy(peer.host) as proxy:
        answers = answers_of(entrepot, stock, proxy)
    with CuttingProxy(peer.host, [sum(answers[: len(answers) - left - 1])]) as proxy:
        name = stock(IMAGE, proxy)
        done = in_one_go(entrepot, name)
        assert (done.code, proxy.cuts_left) == (0, 0), done.err
        require_there(name, IMAGE)


def answers_of(entrepot: Entrepot, stock: Stock, proxy: CuttingProxy) -> list[int]:
    """How many bytes each answer has when all goes well."""
    name = stock(IMAGE, proxy)
    assert in_one_go(entrepot, name).code == 0
    return proxy.pieces["down"]


# in the next run


@pytest.mark.parametrize("position", [1_500_000, 5_500_000, 9_999_999])
def test_push_after_a_failed_one_sends_the_rest_only(
    entrepot: Entrepot, stock: Stock, peer: Host, store_root: Path, require_there: RequireThere, position: int
) -> None:
    with CuttingProxy(peer.host, [position], "up") as proxy:
        name = stock(LARGE, proxy)
        failed = in_one_go(entrepot, name, "--retries", "0")
        assert failed.code == 1
        assert 'Error: Patch "http://' in failed.err
        begun = upload_of(name, LARGE.layers[0].digest, store_root)
        assert begun is not None
        done = entrepot("push", name)
        assert done.code == 0, done.err
        assert proxy.passed["up"] < LARGE_TOTAL + (0 if keeps_torn_uploads(peer) else position) + HEADS
        require_there(name, LARGE)


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        pytest.param(signal.SIGKILL, -9, "", id="killed"),
        pytest.param(
            signal.SIGINT,
            130,
            "Interrupted: what the registry has got is kept; the next push goes on from there\n",
            id="interrupted",
        ),
    ],
)
def test_push_after_one_that_was_stopped_sends_the_rest_only(
    entrepot: Entrepot,
    stock: Stock,
    peer: Host,
    store_root: Path,
    require_there: RequireThere,
    how: signal.Signals,
    code: int,
    said: str,
) -> None:
    after = 6_000_000
    with CuttingProxy(peer.host) as proxy:
        name = stock(LARGE, proxy)
        proxy.hold("up", after)
        with Program(store_root, "push", name) as program:
            proxy.wait_until_held()
            assert program.end(how) == (code, said)
        before = proxy.passed["up"]
        proxy.drop_what_is_held()
        done = entrepot("push", name)
        assert done.code == 0, done.err
        again = proxy.passed["up"] - before
        assert again < LARGE_TOTAL - (after if keeps_torn_uploads(peer) else 0) + HEADS
        require_there(name, LARGE)


def test_push_whose_upload_has_expired_meanwhile_starts_over(
    entrepot: Entrepot, stock: Stock, peer: Host, store_root: Path, require_there: RequireThere
) -> None:
    with CuttingProxy(peer.host, [5_000_000], "up") as proxy:
        name = stock(LARGE, proxy)
        assert in_one_go(entrepot, name, "--retries", "0").code == 1
        begun = upload_of(name, LARGE.layers[0].digest, store_root)
        assert begun is not None
        cancel(begun)
        done = entrepot("push", name)
        assert done.code == 0, done.err
        require_there(name, LARGE)


def cancel(upload: str) -> None:
    parts = urlsplit(upload)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request("DELETE", f"{parts.path}?{parts.query}")
    assert connection.getresponse().status in (204, 404)
    connection.close()


def test_push_again_after_one_whose_last_answer_was_lost_finds_all_there(
    entrepot: Entrepot, stock: Stock, peer: Host, require_there: RequireThere
) -> None:
    with CuttingProxy(peer.host) as proxy:
        name = stock(IMAGE, proxy)
        assert in_one_go(entrepot, name).code == 0
        before = proxy.passed["up"]
        again = entrepot("push", name)
        assert again.code == 0
        assert proxy.passed["up"] - before < HEADS
        assert [line for line in again.lines if "Pushed" in line] == []
        require_there(name, IMAGE)
