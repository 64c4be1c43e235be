"""Fixtures of the real services: each server is started by the first test that asks for it, and lives to the end.

::

    postgresql              the URL of a new database with our tables
    empty_postgresql        the URL of a new database with nothing in it
    postgresql_server       the server of both; to freeze or restart one, take a ``private_postgresql``
    s3                      a place for one test (``S3Place``), in Ceph and in SeaweedFS
    ceph, seaweedfs         a place for one test in this one
    ceph_server             the server; to stop or freeze a gateway, take a ``private_ceph``
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from entrepot.metadata.migrate_postgresql import upgrade_postgresql
from entrepot.metadata.postgres_options import PostgresOptions

from .ceph import CephServer
from .postgresql import PostgresqlServer
from .s3 import S3Place, S3Places
from .seaweedfs import SeaweedfsServer

Server = TypeVar("Server", PostgresqlServer, CephServer, SeaweedfsServer)


@pytest.fixture(scope="session")
def services_folder() -> Iterator[Path]:
    """Not in pytest's own folder, which is kept after the run, and which PostgreSQL's user may not enter."""
    with tempfile.TemporaryDirectory(prefix="services-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def postgresql_server(services_folder: Path) -> Iterator[PostgresqlServer]:
    yield from _running(PostgresqlServer(services_folder / "postgresql"))


@pytest.fixture
def private_postgresql() -> Iterator[PostgresqlServer]:
    """A server that the test may stop, kill and freeze."""
    with tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield from _running(PostgresqlServer(Path(name) / "server"))


@pytest.fixture
def empty_postgresql(postgresql_server: PostgresqlServer) -> Iterator[str]:
    yield from _database(postgresql_server, "template0")


@pytest.fixture
def postgresql(postgresql_server: PostgresqlServer, _postgresql_template: str) -> Iterator[str]:
    yield from _database(postgresql_server, _postgresql_template)


@pytest.fixture(scope="session")
def _postgresql_template(postgresql_server: PostgresqlServer) -> str:
    name = postgresql_server.new_database()
    upgrade_postgresql(PostgresOptions(postgresql_server.url(name)))
    return name


@pytest.fixture(params=["ceph", "seaweedfs"])
def s3(request: pytest.FixtureRequest) -> S3Place:
    place: S3Place = request.getfixturevalue(request.param)
    return place


@pytest.fixture
def ceph(_ceph_places: S3Places) -> S3Place:
    return _ceph_places.new_prefix()


@pytest.fixture
def seaweedfs(_seaweedfs_places: S3Places) -> S3Place:
    return _seaweedfs_places.new_prefix()


@pytest.fixture(params=["ceph", "seaweedfs"])
def s3_without_bucket(request: pytest.FixtureRequest) -> S3Place:
    """A place whose bucket is still to be made."""
    places: S3Places = request.getfixturevalue(f"_{request.param}_places")
    return places.new_bucket()


@pytest.fixture(scope="session")
def ceph_server(services_folder: Path) -> Iterator[CephServer]:
    yield from _running(CephServer(services_folder / "ceph"))


@pytest.fixture(scope="session")
def _private_ceph(services_folder: Path) -> Iterator[CephServer]:
    yield from _running(CephServer(services_folder / "private-ceph"))


@pytest.fixture
def private_ceph(_private_ceph: CephServer) -> Iterator[CephServer]:
    """A server whose gateway the test may stop, kill and freeze."""
    yield _private_ceph
    _private_ceph.gateway.resume()
    if not _private_ceph.gateway.is_running:
        _private_ceph.start_gateway()


@pytest.fixture(scope="session")
def seaweedfs_server(services_folder: Path) -> Iterator[SeaweedfsServer]:
    yield from _running(SeaweedfsServer(services_folder / "seaweedfs"))


@pytest.fixture(scope="session")
def _ceph_places(ceph_server: CephServer) -> S3Places:
    return S3Places(ceph_server)


@pytest.fixture(scope="session")
def _seaweedfs_places(seaweedfs_server: SeaweedfsServer) -> S3Places:
    return S3Places(seaweedfs_server)


def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _database(server: PostgresqlServer, template: str) -> Iterator[str]:
    name = server.new_database(template)
    yield server.url(name)
    server.drop_database(name)
