"""The servers of the other tests work as those tests expect."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.waiting import eventually

from .ceph import CephServer
from .postgresql import PostgresqlServer
from .program import is_alive
from .s3 import S3Place, S3Places, answers, client

_ROOT = Path(__file__).parents[2]


def test_new_databases_know_nothing_of_each_other(postgresql_server: PostgresqlServer) -> None:
    first, second = postgresql_server.new_database(), postgresql_server.new_database()
    postgresql_server.sql("CREATE TABLE only_here (id int)", first)
    with pytest.raises(RuntimeError, match="only_here"):
        postgresql_server.sql("SELECT * FROM only_here", second)


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_postgresql_started_again_has_its_data(private_postgresql: PostgresqlServer, how: str) -> None:
    name = private_postgresql.new_database()
    private_postgresql.sql("CREATE TABLE kept (id int)", name)
    if how == "kill":
        private_postgresql.kill()
        private_postgresql.start()
    else:
        private_postgresql.restart()
    assert private_postgresql.sql("SELECT count(*) FROM kept", name) == "0"


def test_frozen_gateway_takes_connections_and_answers_after(private_ceph: CephServer) -> None:
    private_ceph.gateway.freeze()
    with socket.create_connection(("127.0.0.1", private_ceph.port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        private_ceph.gateway.resume()
        connection.settimeout(60)
        assert connection.recv(4).startswith(b"HTTP")


def test_restarted_gateway_has_its_data(private_ceph: CephServer) -> None:
    place = S3Places(private_ceph).new_prefix()
    client(place).put_object(Bucket=place.bucket, Key=f"{place.prefix}/a", Body=b"abc")
    private_ceph.gateway.kill()
    assert not answers(private_ceph.port, "/")
    private_ceph.start_gateway()
    assert place.keys() == {"a": 3}


def test_places_are_apart(s3: S3Place) -> None:
    client(s3).put_object(Bucket=s3.bucket, Key=f"{s3.prefix}/a/b", Body=b"abc")
    client(s3).put_object(Bucket=s3.bucket, Key="elsewhere", Body=b"")
    client(s3).create_multipart_upload(Bucket=s3.bucket, Key=f"{s3.prefix}/open")
    assert s3.keys() == {"a/b": 3}
    assert s3.open_uploads() == ["open"]


def test_everything_listens_on_loopback_only(
    postgresql_server: PostgresqlServer, ceph: S3Place, seaweedfs: S3Place
) -> None:
    ports = [postgresql_server.port, *(int(place.endpoint.rpartition(":")[2]) for place in (ceph, seaweedfs))]
    address = _address_of_this_computer()
    for port in ports:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((address, port), timeout=60)


_RUN = """
import sys
from pathlib import Path
from tests.services.program import Program

server = Program(["sleep", "600"], log=Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


def test_run_that_is_killed_leaves_no_server_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _RUN, str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT) as run:
        assert run.stdout is not None
        server = int(run.stdout.readline())
        run.kill()
    eventually(lambda: not is_alive(server), seconds=60)


def _address_of_this_computer() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; tells which address would be used
        except OSError:
            pytest.skip("there is no network but loopback")
        return str(probe.getsockname()[0])
