"""Three replicas behind HAProxy, on PostgreSQL and Ceph, with networks in between that can be broken.

::

    docker, skopeo, entrepot -> HAProxy (deploy/haproxy.cfg) -> replica 1 -> network 1 -> PostgreSQL
                                                                replica 2 -> network 2 ->
                                                                replica 3 -> network 3 ->
                                                                all       -> storage   -> Ceph
"""

from __future__ import annotations

import csv
import shutil
import sys
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from entrepot.testing.server import RegistryProcess, free_port
from tests.interop.commands import Outcome, run
from tests.services.ceph import CephServer
from tests.services.haproxy import HAProxy
from tests.services.postgresql import PostgresqlServer
from tests.services.s3 import S3Place
from tests.services.s3_proxy import FaultyS3Proxy
from tests.services.tcp_proxy import TcpProxy

HAPROXY_CONFIG = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
REPLICAS = 3
_SETTINGS = {
    "ENTREPOT_SERVER__DRAIN_SECONDS": "4",  # HAProxy notices within 2.5
    "ENTREPOT_SERVER__GRACEFUL_STOP_SECONDS": "10",
    "ENTREPOT_UPLOADS__EXPIRE_INTERVAL_SECONDS": "5",
    "ENTREPOT_LOG__FORMAT": "json",
}


class Cluster:
    """``folder`` is made; ``place`` is where blobs go, in ``ceph``; ``settings`` are variables of the replicas."""

    def __init__(
        self,
        folder: Path,
        postgresql: PostgresqlServer,
        ceph: CephServer,
        place: S3Place,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.postgresql, self.ceph, self.place = postgresql, ceph, place
        self.database = postgresql.new_database()
        self.networks = [TcpProxy(postgresql.port) for _ in range(REPLICAS)]
        self.storage = FaultyS3Proxy(ceph.port)
        self._settings = {**_SETTINGS, **(settings or {})}
        self.replicas = [self.new_replica(f"replica-{number}", network.port) for number, network in self._numbered()]
        self.admin = f"127.0.0.1:{free_port()}"
        self.balancer = self._balancer()
        self._stack = ExitStack()

    @property
    def host(self) -> str:
        """Where clients go."""
        return self.balancer.host

    def new_replica(self, title: str, database_port: int, settings: Mapping[str, str] | None = None) -> RegistryProcess:
        """One more, which is not behind the balancer; start and stop it yourself."""
        environment = {**self._settings, **self._storage_environment(), **(settings or {})}
        flags = ("--database", self.postgresql.url(self.database, port=database_port), "--store", self.place.url)
        return RegistryProcess(self.folder / title, flags=(*flags, "--behind-proxy"), environment=environment)

    def check(self) -> Outcome:
        """``entrepot admin check``, past the networks."""
        command = [sys.executable, "-m", "entrepot", "admin", "check", "--root", str(self.folder / "check")]
        command += ["--database", self.postgresql.url(self.database), "--store", self.place.url]
        return run(command, environment=dict(self.place.environment), timeout=600)

    def heal(self) -> None:
        """Everything runs and is connected again."""
        self.storage.share = 0.0
        for network in self.networks:
            network.heal()
        self.postgresql.resume()
        if not self.postgresql.program.is_running:
            self.postgresql.start()
        self.ceph.gateway.resume()
        if not self.ceph.gateway.is_running:
            self.ceph.start_gateway()
        for replica in self.replicas:
            if not replica.is_running:
                replica.start()

    def servers(self) -> list[dict[str, str]]:
        """What HAProxy has counted for each replica in each backend; ``status`` is what it takes it for."""
        with urllib.request.urlopen(f"http://{self.admin}/;csv", timeout=30) as answer:
            rows = csv.DictReader(answer.read().decode().removeprefix("# ").splitlines())
        return [row for row in rows if row["svname"].startswith("replica")]

    def logs(self) -> dict[str, str]:
        """What replicas, proxy and database have written."""
        texts = {replica.root.name: replica.log_text() for replica in self.replicas}
        haproxy = self.balancer.program.log.read_text("utf-8", "replace")
        return texts | {"haproxy": haproxy, "postgresql": self.postgresql.log_text}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for proxy in (*self.networks, self.storage):
                stack.enter_context(proxy)
            for replica in self.replicas:
                stack.callback(_stop, replica)
            with ThreadPoolExecutor() as pool:  # all at once, as an orchestrator does: the tables are made only once
                list(pool.map(RegistryProcess.start, self.replicas))
            stack.callback(self.balancer.stop)
            self.balancer.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        shutil.rmtree(self.folder / "check", ignore_errors=True)

    def _numbered(self) -> list[tuple[int, TcpProxy]]:
        return list(enumerate(self.networks, 1))

    def _storage_environment(self) -> Mapping[str, str]:
        return self.place.behind(self.storage.endpoint).environment

    def _balancer(self) -> HAProxy:
        port = free_port()
        environment = {
            "REGISTRY_LISTEN": f"127.0.0.1:{port}",
            "REGISTRY_ADMIN": self.admin,
            "REGISTRY_SOCKET": str(self.folder / "haproxy.sock"),
            **{f"REGISTRY_REPLICA_{number}": replica.host for number, replica in enumerate(self.replicas, 1)},
        }
        return HAProxy(self.folder / "haproxy", HAPROXY_CONFIG, port=port, environment=environment)


def _stop(replica: RegistryProcess) -> None:
    if replica.is_running:
        replica.kill()
