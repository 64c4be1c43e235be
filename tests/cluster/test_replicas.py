"""Replicas that share a database and a bucket are one registry: any request may go to any of them."""

from __future__ import annotations

import itertools
import random
import threading

import pytest

from entrepot.digest import Digest
from entrepot.manifest import OCI_MANIFEST
from tests.hostile.raw import assert_refused
from tests.process.pushing import begin_upload, image_of, push_blob, push_image, put_manifest

from .cluster import Cluster
from .conftest import ask

MIB = 1024 * 1024


@pytest.fixture
def ports(cluster: Cluster) -> list[int]:
    return [replica.port for replica in cluster.replicas]


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([10, 20, 0], id="few-bytes"),
        pytest.param([300_000, 400_000, 500_000], id="less-than-a-part"),
        pytest.param([9 * MIB, 3 * MIB, 17 * MIB + 1], id="parts-and-remainders"),
    ],
)
def test_push_spread_over_replicas_arrives(ports: list[int], name: str, sizes: list[int]) -> None:
    """Every request goes to another replica than the one before."""
    turn = itertools.cycle(ports)
    chunks = [random.Random(size).randbytes(size) for size in sizes]
    location, offset = begin_upload(next(turn), name), 0
    for chunk in chunks[:-1]:
        span = f"{offset}-{offset + len(chunk) - 1}"
        reply = ask(next(turn), "PATCH", location, body=chunk, content_range=span)
        assert reply.status == 202, reply
        location, offset = reply.headers["location"], offset + len(chunk)
        assert ask(next(turn), "GET", location).headers["range"] == f"0-{offset - 1}"
    digest = Digest.of(b"".join(chunks))
    assert ask(next(turn), "PUT", f"{location}?digest={digest}", body=chunks[-1]).status == 201
    for port in ports:
        assert ask(port, "GET", f"/v2/{name}/blobs/{digest}").body == b"".join(chunks)


def test_chunk_at_the_wrong_place_is_refused_by_any_replica(ports: list[int], name: str) -> None:
    location = begin_upload(ports[0], name)
    assert ask(ports[1], "PATCH", location, body=b"first", content_range="0-4").status == 202
    reply = ask(ports[2], "PATCH", location, body=b"third", content_range="10-14")
    assert_refused(reply, 416, "BLOB_UPLOAD_INVALID")
    assert reply.headers["range"] == "0-4"


def test_cancelled_upload_is_gone_everywhere(ports: list[int], name: str) -> None:
    location = begin_upload(ports[0], name)
    assert ask(ports[1], "DELETE", location).status == 204
    for port in ports:
        assert_refused(ask(port, "GET", location), 404, "BLOB_UPLOAD_UNKNOWN")


def test_moved_tag_is_seen_by_next_request_anywhere(ports: list[int], name: str) -> None:
    turn = itertools.cycle(ports)
    for number in range(30):
        layer = f"layer {number}".encode()
        push_image(next(turn), name, "latest", layer)
        for port in ports:
            assert ask(port, "GET", f"/v2/{name}/manifests/latest").body == image_of(layer)


def test_deleted_blob_and_manifest_are_gone_everywhere(ports: list[int], name: str) -> None:
    layer = push_image(ports[0], name, "v1", b"layer")
    manifest = Digest.of(image_of(b"layer"))
    paths = [f"/v2/{name}/manifests/{manifest}", f"/v2/{name}/blobs/{layer}"]
    for port, path in itertools.product(ports, paths):
        assert ask(port, "GET", path).status == 200
    for path in paths:
        assert ask(ports[1], "DELETE", path).status == 202
    for port, path in itertools.product(ports, [*paths, f"/v2/{name}/manifests/v1"]):
        assert ask(port, "GET", path).status == 404


def test_manifest_is_refused_while_any_replica_knows_its_layer_deleted(ports: list[int], name: str) -> None:
    layer = push_image(ports[0], name, "v1", b"a layer that goes")
    content = image_of(b"a layer that goes")
    ask(ports[0], "DELETE", f"/v2/{name}/manifests/{Digest.of(content)}")
    assert ask(ports[1], "DELETE", f"/v2/{name}/blobs/{layer}").status == 202
    assert_refused(put_manifest(ports[2], name, "v2", content, OCI_MANIFEST), 400, "MANIFEST_BLOB_UNKNOWN")


def test_same_blob_pushed_to_every_replica_at_once_is_stored_once(
    cluster: Cluster, ports: list[int], name: str
) -> None:
    content = random.Random(name).randbytes(2 * MIB)
    threads = [threading.Thread(target=push_blob, args=(port, name, content)) for port in ports * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    digest = Digest.of(content)
    for port in ports:
        assert ask(port, "GET", f"/v2/{name}/blobs/{digest}").body == content
    stored = cluster.place.keys()
    assert len([key for key in stored if digest.encoded in key]) == 1
