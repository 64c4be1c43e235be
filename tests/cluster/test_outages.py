"""What users and operators meet while the database or the bucket is away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from entrepot.digest import Digest
from entrepot.manifest import OCI_INDEX
from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import Reply, assert_refused
from tests.hostile.waiting import eventually
from tests.process.pushing import INDEX, begin_upload, image_of, push_image
from tests.services.tcp_proxy import TcpProxy

from .cluster import REPLICAS, Cluster
from .conftest import ask, is_ready

_AT_ONCE = 4.0  # seconds; ``hurried`` would wait for as long
_SOON = 60.0  # on a busy machine

Break = Callable[[TcpProxy], None]
BREAKS = [pytest.param(TcpProxy.cut, id="cut"), pytest.param(TcpProxy.stall, id="stalled")]


def problems(port: int) -> dict[str, str]:
    reply = ask(port, "GET", "/readyz")
    found: dict[str, str] = json.loads(reply.body).get("problems", {})
    assert reply.status == (503 if found else 200)
    return found


def all_problems(cluster: Cluster) -> list[set[str]]:
    """Asked at once, because each takes its time to find out."""
    with ThreadPoolExecutor() as pool:
        return [set(found) for found in pool.map(problems, [replica.port for replica in cluster.replicas])]


@pytest.mark.parametrize("break_", BREAKS)
def test_replica_cut_off_from_database_is_not_ready_until_it_is_back(cluster: Cluster, break_: Break) -> None:
    port, *others = [replica.port for replica in cluster.replicas]
    break_(cluster.networks[0])
    eventually(lambda: set(problems(port)) == {"database"}, seconds=_SOON)
    eventually(lambda: [problems(other) for other in others] == [{}, {}], seconds=_SOON)
    assert ask(port, "GET", "/healthz").status == 200
    cluster.networks[0].heal()
    eventually(lambda: problems(port) == {}, seconds=_SOON)


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_replicas_without_bucket_are_not_ready_until_it_is_back(cluster: Cluster, how: str) -> None:
    gateway = cluster.ceph.gateway
    gateway.stop() if how == "stopped" else gateway.freeze()
    eventually(lambda: all_problems(cluster) == [{"store"}] * REPLICAS, seconds=_SOON)
    cluster.heal()
    eventually(lambda: all(map(is_ready, cluster.replicas)), seconds=_SOON)


@pytest.mark.parametrize("break_", BREAKS)
def test_reads_by_digest_go_on_without_database_if_they_were_asked_for_lately(
    hurried: RegistryProcess, network: TcpProxy, name: str, break_: Break
) -> None:
    layer = push_image(hurried.port, name, "v1", b"immutable")
    manifest = image_of(b"immutable")
    paths = {f"/v2/{name}/manifests/{Digest.of(manifest)}": manifest, f"/v2/{name}/blobs/{layer}": b"immutable"}
    for path, content in paths.items():
        assert ask(hurried.port, "GET", path).body == content
    break_(network)
    assert_unavailable(ask(hurried.port, "GET", f"/v2/{name}/manifests/v1"))  # from now on it is known to be away
    for path, content in paths.items():
        began = time.monotonic()
        assert ask(hurried.port, "GET", path).body == content
        assert time.monotonic() - began < _AT_ONCE


@pytest.mark.parametrize("break_", BREAKS)
def test_writes_without_database_are_refused_for_now(
    hurried: RegistryProcess, network: TcpProxy, name: str, break_: Break
) -> None:
    location = begin_upload(hurried.port, name)
    break_(network)
    assert_unavailable(ask(hurried.port, "POST", f"/v2/{name}/blobs/uploads/"))
    assert_unavailable(ask(hurried.port, "PATCH", location, body=b"bytes"))
    assert_unavailable(ask(hurried.port, "PUT", f"/v2/{name}/manifests/v1", body=INDEX, content_type=OCI_INDEX))
    network.heal()
    eventually(lambda: ask(hurried.port, "PATCH", location, body=b"bytes").status == 202, seconds=_SOON)


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_writes_without_bucket_are_refused_for_now(
    cluster: Cluster, hurried: RegistryProcess, name: str, how: str
) -> None:
    content = bytes(6 * 1024 * 1024)
    gateway = cluster.ceph.gateway
    gateway.stop() if how == "stopped" else gateway.freeze()
    target = f"/v2/{name}/blobs/uploads/?digest={Digest.of(content)}"
    assert_unavailable(ask(hurried.port, "POST", target, body=content))
    cluster.heal()
    eventually(lambda: ask(hurried.port, "POST", target, body=content).status == 201, seconds=_SOON)


def test_request_waits_for_a_database_that_is_away_for_short(cluster: Cluster, name: str) -> None:
    port, network = cluster.replicas[0].port, cluster.networks[0]
    push_image(port, name, "v1", b"waited for")
    network.cut()
    replies: list[Reply] = []
    reader = threading.Thread(target=lambda: replies.append(ask(port, "GET", f"/v2/{name}/manifests/v1")))
    reader.start()
    reader.join(3)
    assert replies == []
    network.heal()
    reader.join()
    assert [reply.body for reply in replies] == [image_of(b"waited for")]
    eventually(lambda: "the database is back" in cluster.replicas[0].log_text(), seconds=_SOON)
    assert "the database is out of reach; requests wait for it" in cluster.replicas[0].log_text()


def test_balancer_goes_on_with_what_replicas_remember_when_none_is_ready(cluster: Cluster, name: str) -> None:
    manifest = image_of(b"remembered")
    path = f"/v2/{name}/manifests/{Digest.of(manifest)}"
    push_image(cluster.balancer.port, name, "v1", b"remembered")
    for replica in cluster.replicas:
        assert ask(replica.port, "GET", path).body == manifest
    for network in cluster.networks:
        network.cut()
    eventually(lambda: all_problems(cluster) == [{"database"}] * REPLICAS, seconds=_SOON)
    eventually(lambda: ask(cluster.balancer.port, "GET", path).body == manifest, seconds=_SOON)


def assert_unavailable(reply: Reply) -> None:
    assert_refused(reply, 503, "UNAVAILABLE")
    assert int(reply.headers["retry-after"]) > 0
