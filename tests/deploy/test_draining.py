"""Replicas that drain, behind a load balancer that can do nothing but ask ``/readyz``: it never tries again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.proxies import Haproxy
from tests.deploy.replicas import Replicas, load, wait_until

pytestmark = pytest.mark.interop

DRAIN_SECONDS = 4.0  # it takes the load balancer a tenth of one to notice, if the machine is not busy
_CONFIGURATION = """
defaults
    mode {mode}
    retries 0
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout check 20s

frontend admin
    mode http
    bind {admin}
    stats enable
    stats uri /

listen registry
    bind {host}
    balance roundrobin
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter 100ms fall 1 rise 1
"""


class Plain(Haproxy):
    """``mode``: ``http`` keeps connections to replicas and uses them again; ``tcp`` does not know what it carries."""

    def __init__(self, folder: Path, replicas: list[str], mode: str) -> None:
        super().__init__(folder, replicas)
        file = folder / "plain.cfg"
        servers = [f"    server replica{number} {host}\n" for number, host in enumerate(replicas, 1)]
        file.write_text(_CONFIGURATION.format(mode=mode, host=self.host, admin=self.admin) + "".join(servers))
        self._files = [file]

    def sees_all_replicas(self) -> bool:
        return list(self.states().values()) == ["UP"] * 3


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    replicas = Replicas(tmp_path_factory.mktemp("draining"), drain_seconds=DRAIN_SECONDS)
    try:
        replicas.start()
        yield replicas
    finally:
        replicas.kill()


@pytest.fixture(params=["http", "tcp"])
def plain(request: pytest.FixtureRequest, replicas: Replicas, tmp_path: Path) -> Iterator[Plain]:
    balancer = Plain(tmp_path, replicas.hosts, request.param)
    balancer.start()
    yield balancer
    balancer.stop()


def test_rolling_restart_is_seen_by_nobody(plain: Plain, replicas: Replicas) -> None:
    """Not one connection is refused or broken off, neither a kept one nor a new one."""
    wait_until("the load balancer sees all replicas", plain.sees_all_replicas)
    with load(plain.host, clients=2) as (done, failed):
        replicas.restart(plain.sees_all_replicas)
    assert not failed, f"{failed}, beside {done}"
    assert done["GET"] > 50
    assert done["push"] > 20
