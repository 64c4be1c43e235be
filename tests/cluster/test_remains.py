"""A replica is killed just when the bytes of a push are an object, and nothing tells of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import Wire, request
from tests.hostile.waiting import eventually
from tests.services.postgresql import PostgresqlServer
from tests.services.s3 import S3Place
from tests.services.s3_proxy import HoldingS3Proxy

CONTENT = b"0123456789abcdef" * (9 * 1024 * 1024 // 16)  # more than a part
_SOON = {"ENTREPOT_UPLOADS__EXPIRE_AFTER_SECONDS": "1", "ENTREPOT_UPLOADS__EXPIRE_INTERVAL_SECONDS": "1"}


def push(port: int) -> None:
    """In one request; nobody will answer it."""
    target = f"/v2/team/app/blobs/uploads/?digest={Digest.of(CONTENT)}"
    with Wire(port, timeout=120) as wire:
        wire.send(request("POST", target, {}, CONTENT))
        wire.reply()


def kill_before_the_record(replica: RegistryProcess, proxy: HoldingS3Proxy) -> None:
    with replica:
        pushing = threading.Thread(target=_push_in_vain, args=(replica.port,))
        pushing.start()
        asyncio.run(proxy.met())
        replica.kill()
        pushing.join()


def _push_in_vain(port: int) -> None:
    with contextlib.suppress(OSError, EOFError):
        push(port)


def test_bytes_of_a_killed_replica_that_no_listing_shows_are_removed_by_another(
    postgresql_server: PostgresqlServer, ceph: S3Place, tmp_path: Path
) -> None:
    database = postgresql_server.new_database()
    flags = ("--database", postgresql_server.url(database), "--store", ceph.url)
    with HoldingS3Proxy(int(ceph.endpoint.rpartition(":")[2]), b"/blobs/sha256/") as proxy:
        environment = {**ceph.behind(proxy.endpoint).environment, **_SOON}
        kill_before_the_record(RegistryProcess(tmp_path / "killed", flags=flags, environment=environment), proxy)
    assert [key.partition("/")[0] for key in list(ceph.keys())] == ["data", "store-id"]
    assert ceph.open_uploads() == []
    with RegistryProcess(tmp_path / "other", flags=flags, environment={**ceph.environment, **_SOON}):
        postgresql_server.sql("UPDATE leases SET expires_at = 1 WHERE name LIKE 'upload:%'", database)
        eventually(lambda: list(ceph.keys()) == ["store-id"], seconds=90)
        eventually(lambda: _traces(postgresql_server, database) == "0", seconds=60)
    postgresql_server.drop_database(database)


def _traces(server: PostgresqlServer, database: str) -> str:
    return server.sql("SELECT count(*) FROM leases WHERE name LIKE 'upload:%'", database)
