"""Pushes and pulls through the load balancers of ``deploy/``, while replicas come and go."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import trustme

from entrepot.testing.server import free_port
from tests.deploy.proxies import Haproxy, LoadBalancer
from tests.deploy.replicas import Client, Replicas, client_of, load, wait_until

pytestmark = pytest.mark.interop

MIB = 1024 * 1024
CHUNKS, CHUNK_MIB = 3, 100
BACKENDS = ("ready", "alive")  # "once" follows "ready"
_BLOCK = random.Random(4).randbytes(MIB)


def pieces(chunk: int, count: int = CHUNK_MIB) -> Iterator[bytes]:
    """The megabytes of one chunk, none like another."""
    for number in range(count):
        yield (chunk * 1000 + number).to_bytes(8, "big") + _BLOCK[8:]


def digest_of(chunks: int, count: int = CHUNK_MIB) -> str:
    came = hashlib.sha256()
    for chunk in range(chunks):
        for piece in pieces(chunk, count):
            came.update(piece)
    return f"sha256:{came.hexdigest()}"


def test_pushes_and_pulls_large_blob_in_chunks_of_unknown_length(balancer: LoadBalancer) -> None:
    with client_of(balancer.host, f"large/{type(balancer).__name__.lower()}") as client:
        location = client.begin()
        for chunk in range(CHUNKS):
            location = client.append(location, pieces(chunk))
        digest = digest_of(CHUNKS)
        client.finish(location, digest)
        assert client.blob(digest) == (CHUNKS * CHUNK_MIB * MIB, digest)


def test_keeps_nothing_of_a_transfer_on_its_own_disk(balancer: LoadBalancer) -> None:
    with client_of(balancer.host) as client:
        location = client.append(client.begin(), pieces(0, 20))
        client.finish(location, digest_of(1, 20))
        answer = client.send("GET", f"/v2/{client.name}/blobs/{digest_of(1, 20)}")
        answer.read(MIB)  # and no more: what a proxy would like to have, it has to keep somewhere
        large = [file for file in balancer.folder.rglob("*") if file.is_file() and file.stat().st_size > MIB]
    assert not large


@pytest.mark.parametrize("victim", range(3))
def test_goes_on_with_upload_when_a_replica_is_killed(balancer: LoadBalancer, replicas: Replicas, victim: int) -> None:
    with client_of(balancer.host, f"killed/{victim}") as client:
        location = client.append(client.begin(), pieces(0, 5))
        replicas.all[victim].kill()
        location = client.append(location, pieces(1, 5))
        client.finish(location, digest_of(2, 5))
        assert client.blob(digest_of(2, 5)) == (10 * MIB, digest_of(2, 5))


def test_finishes_running_transfers_when_their_replica_is_stopped(balancer: LoadBalancer, replicas: Replicas) -> None:
    uploading = [client_of(balancer.host, "stopped/up") for _ in range(3)]
    entered = [context.__enter__() for context in uploading]
    gate = threading.Event()
    results: list[str] = []

    def push(client: Client, number: int) -> None:
        location = client.append(client.begin(), _halted(number, gate, begun[number]))
        client.finish(location, _digest_of_halted(number))
        results.append(client.blob(_digest_of_halted(number))[1])

    begun = [threading.Event() for _ in entered]
    threads = [threading.Thread(target=push, args=(client, number)) for number, client in enumerate(entered)]
    for thread in threads:
        thread.start()
    for event in begun:
        assert event.wait(60)
    stopping = threading.Thread(target=replicas.all[0].stop)
    stopping.start()
    wait_until("the replica takes no connections", lambda: not _takes_connections(replicas.all[0].host))
    gate.set()
    for thread in [*threads, stopping]:
        thread.join(120)
    for context in uploading:
        context.__exit__(None, None, None)
    assert sorted(results) == sorted(map(_digest_of_halted, range(3)))


def _halted(number: int, gate: threading.Event, begun: threading.Event) -> Iterator[bytes]:
    yield from pieces(number, 2)
    begun.set()
    assert gate.wait(120)
    yield from pieces(number + 100, 2)


def _digest_of_halted(number: int) -> str:
    content = b"".join([*pieces(number, 2), *pieces(number + 100, 2)])
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _takes_connections(host: str) -> bool:
    address, _, port = host.partition(":")
    try:
        socket.create_connection((address, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def test_loses_no_request_in_a_rolling_restart(balancer: LoadBalancer, replicas: Replicas) -> None:
    with load(balancer.host) as (done, failed):
        replicas.restart(balancer.sees_all_replicas)
    assert not failed, f"{failed}, beside {done}"
    assert done["GET"] > 50
    assert done["push"] > 20


def test_gives_no_new_requests_to_a_replica_that_is_drained(haproxy: Haproxy, replicas: Replicas) -> None:
    with client_of(haproxy.host) as client:
        for backend in BACKENDS:
            haproxy.order(f"set server {backend}/replica1 state drain")
        try:
            before = _requests(replicas.hosts[0])
            for _ in range(30):
                assert client.ask("GET", "/v2/")[0] == 200
            assert _requests(replicas.hosts[0]) == before
            assert haproxy.states()["ready/replica1"].startswith("DRAIN")
        finally:
            for backend in BACKENDS:
                haproxy.order(f"set server {backend}/replica1 state ready")
    wait_until("the replica is back", haproxy.sees_all_replicas)


def _requests(host: str) -> float:
    with urllib.request.urlopen(f"http://{host}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("entrepot_requests_total{") and "base" in line
    )


def test_answers_as_a_registry_when_no_replica_runs(balancer: LoadBalancer, replicas: Replicas) -> None:
    replicas.stop()
    with client_of(balancer.host) as client:
        status, headers, body = client.ask("GET", "/v2/")
    assert (status, headers["Retry-After"]) == (503, "5")
    assert json.loads(body)["errors"][0]["code"] == "UNAVAILABLE"


def test_asks_replicas_that_live_when_none_is_ready(haproxy: Haproxy, replicas: Replicas) -> None:
    with client_of(haproxy.host) as client:
        config = client.push(b"{}")
        assert client.put_manifest("here", config) == 201
        blobs = replicas.all[0].root / "blobs"
        away = blobs.rename(blobs.with_name("away"))
        try:
            wait_until("no replica is ready", lambda: _is_down(haproxy))
            assert client.ask("GET", f"/v2/{client.name}/manifests/here")[0] == 200
        finally:
            away.rename(blobs)


def _is_down(haproxy: Haproxy) -> bool:
    states = haproxy.states()
    return all(state.startswith("DOWN") for name, state in states.items() if name.startswith("ready/"))


def test_tells_the_registry_the_address_of_the_client_only(balancer: LoadBalancer, replicas: Replicas) -> None:
    with client_of(balancer.host) as client:
        status, _, _ = client.ask("GET", "/v2/never/seen/tags/list", X_Forwarded_For="203.0.113.7")
    assert status == 404
    wait_until("the request is in the log", lambda: "/v2/never/seen" in replicas.all[0].log_text())
    assert "203.0.113.7" not in replicas.all[0].log_text()


def test_hides_metrics_from_clients(balancer: LoadBalancer) -> None:
    with client_of(balancer.host) as client:
        assert client.ask("GET", "/metrics")[0] == 404


@pytest.fixture(scope="module")
def locked(_replicas: Replicas, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ssl.SSLContext]]:
    """HAProxy with TLS and passwords: its address, and what trusts its certificate."""
    folder = tmp_path_factory.mktemp("locked")
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "registry.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    address = f"127.0.0.1:{free_port()}"
    more = {"REGISTRY_TLS_LISTEN": address, "REGISTRY_CERTIFICATE": str(folder / "registry.pem")}
    more |= {"REGISTRY_PULL_PASSWORD": "reads", "REGISTRY_PUSH_PASSWORD": "writes"}
    balancer = Haproxy(folder, _replicas.hosts, more)
    balancer.start()
    yield address, context
    balancer.stop()


@pytest.mark.parametrize(
    ("user", "password", "method", "expected"),
    [
        pytest.param("", "", "GET", 401, id="nobody"),
        pytest.param("pull", "wrong", "GET", 401, id="wrong-password"),
        pytest.param("pull", "", "GET", 401, id="empty-password"),
        pytest.param("pull", "reads", "GET", 200, id="reader-reads"),
        pytest.param("pull", "reads", "POST", 403, id="reader-writes"),
        pytest.param("push", "writes", "GET", 200, id="writer-reads"),
        pytest.param("push", "writes", "POST", 202, id="writer-writes"),
    ],
)
def test_asks_for_passwords_over_tls(
    locked: tuple[str, ssl.SSLContext], replicas: Replicas, user: str, password: str, method: str, expected: int
) -> None:
    path = "/v2/" if method == "GET" else "/v2/team/locked/blobs/uploads/"
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {login}"} if user else {}
    request = urllib.request.Request(f"https://{locked[0]}{path}", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, context=locked[1], timeout=60) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
        error.close()
    assert status == expected
