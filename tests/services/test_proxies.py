"""The bad networks do to a connection what they say."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import botocore.exceptions
import pytest

from .s3 import S3Place, client
from .s3_proxy import FaultyS3Proxy
from .tcp_proxy import TcpProxy


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=_echo, args=(listener.accept()[0],), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while piece := connection.recv(4096):
            connection.sendall(piece)


@pytest.fixture
def network(echo_port: int) -> Iterator[TcpProxy]:
    with TcpProxy(echo_port) as proxy:
        yield proxy


def connect(network: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", network.port), timeout=60)


def ask(connection: socket.socket) -> bytes:
    connection.sendall(b"ping")
    return connection.recv(4)


def test_whole_network_forwards(network: TcpProxy) -> None:
    with connect(network) as connection:
        assert ask(connection) == b"ping"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_cut_network_resets_connections_until_healed(network: TcpProxy) -> None:
    with connect(network) as connection:
        ask(connection)
        network.cut()
        with pytest.raises(ConnectionResetError):
            ask(connection)
    with pytest.raises(ConnectionResetError), connect(network) as connection:
        connection.recv(1)
    network.heal()
    with connect(network) as connection:
        assert ask(connection) == b"ping"


def test_stalled_network_holds_everything_back(network: TcpProxy) -> None:
    with connect(network) as old:
        ask(old)
        network.stall()
        with connect(network) as new:
            for connection in (old, new):
                connection.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    ask(connection)
                connection.settimeout(60)
            network.heal()
            assert [connection.recv(4) for connection in (old, new)] == [b"ping", b"ping"]


@pytest.fixture
def bad_day(ceph: S3Place) -> Iterator[FaultyS3Proxy]:
    with FaultyS3Proxy(int(ceph.endpoint.rpartition(":")[2])) as proxy:
        yield proxy


def test_s3_proxy_without_faults_changes_nothing(bad_day: FaultyS3Proxy, ceph: S3Place) -> None:
    s3, key = client(ceph.behind(bad_day.endpoint)), f"{ceph.prefix}/large"
    s3.put_object(Bucket=ceph.bucket, Key=key, Body=bytes(3_000_000))
    assert s3.get_object(Bucket=ceph.bucket, Key=key)["Body"].read() == bytes(3_000_000)
    assert bad_day.fates == {"passed": 2}


def test_s3_proxy_makes_every_kind_of_fault(bad_day: FaultyS3Proxy, ceph: S3Place) -> None:
    s3, key = client(ceph.behind(bad_day.endpoint), attempts=1), f"{ceph.prefix}/some"
    s3.put_object(Bucket=ceph.bucket, Key=key, Body=bytes(300_000))
    bad_day.share = 0.5
    for _ in range(20):
        with contextlib.suppress(botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError):
            s3.put_object(Bucket=ceph.bucket, Key=key, Body=bytes(300_000))
            s3.get_object(Bucket=ceph.bucket, Key=key)["Body"].read()
    assert set(bad_day.fates) == {"passed", "refused", "request cut", "answer cut"}
