"""One cluster for all tests here; after each of them everything runs and is connected again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import Reply, Wire, request
from tests.hostile.waiting import eventually
from tests.services.ceph import CephServer
from tests.services.postgresql import PostgresqlServer
from tests.services.s3 import S3Places
from tests.services.tcp_proxy import TcpProxy

from .cluster import Cluster

HURRIED = {
    "ENTREPOT_SERVER__DRAIN_SECONDS": "0",
    "ENTREPOT_POSTGRESQL__WAIT_SECONDS": "4",
    "ENTREPOT_S3__WAIT_SECONDS": "2",
    "ENTREPOT_S3__READ_TIMEOUT_SECONDS": "8",
}


@pytest.fixture(scope="session")
def _frail_postgresql(services_folder: Path) -> Iterator[PostgresqlServer]:
    server = PostgresqlServer(services_folder / "frail-postgresql")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def _cluster(
    services_folder: Path, _frail_postgresql: PostgresqlServer, _private_ceph: CephServer
) -> Iterator[Cluster]:
    place = S3Places(_private_ceph).new_prefix()
    with Cluster(services_folder / "cluster", _frail_postgresql, _private_ceph, place) as cluster:
        yield cluster


@pytest.fixture
def cluster(_cluster: Cluster) -> Iterator[Cluster]:
    yield _cluster
    _cluster.heal()
    eventually(lambda: all(is_ready(replica) for replica in _cluster.replicas), seconds=90)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository of this test's own."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")


class Hurried(NamedTuple):
    """A replica that soon says that something is away, and its way to the database."""

    replica: RegistryProcess
    network: TcpProxy


@pytest.fixture(scope="module")
def _hurried(_cluster: Cluster) -> Iterator[Hurried]:
    with (
        TcpProxy(_cluster.postgresql.port) as network,
        _cluster.new_replica("hurried", network.port, HURRIED) as replica,
    ):
        yield Hurried(replica, network)
        network.heal()


@pytest.fixture
def network(_hurried: Hurried) -> Iterator[TcpProxy]:
    """Between ``hurried`` and the database."""
    yield _hurried.network
    _hurried.network.heal()
    eventually(lambda: is_ready(_hurried.replica), seconds=90)


@pytest.fixture
def hurried(cluster: Cluster, network: TcpProxy, _hurried: Hurried) -> RegistryProcess:
    return _hurried.replica


def is_ready(replica: RegistryProcess) -> bool:
    return ask(replica.port, "GET", "/readyz").status == 200


def ask(port: int, method: str, target: str, *, body: bytes = b"", seconds: float = 60.0, **fields: str) -> Reply:
    """One request on a connection of its own, with a limit above what a replica may wait."""
    with Wire(port, timeout=seconds) as wire:
        wire.send(request(method, target, {name.replace("_", "-"): value for name, value in fields.items()}, body))
        return wire.reply(head=method == "HEAD")
