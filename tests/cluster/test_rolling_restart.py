"""Replicas are restarted one after the other, and nobody notices, not even the load balancer."""

from __future__ import annotations

import pytest

from tests.deploy.replicas import load
from tests.hostile.waiting import eventually

from .cluster import Cluster

MISHAPS = ("econ", "eresp", "wretr", "wredis")  # refused, broken off, tried again, tried again elsewhere


def mishaps(cluster: Cluster) -> dict[str, int]:
    return {name: sum(int(server[name] or 0) for server in cluster.servers()) for name in MISHAPS}


@pytest.mark.slow
def test_rolling_restart_loses_no_request_and_balancer_never_tries_again(cluster: Cluster) -> None:
    eventually(lambda: sees_all(cluster), seconds=60)
    before = mishaps(cluster)
    with load(cluster.host, clients=3) as (done, failed):
        for replica in cluster.replicas:
            replica.stop()
            replica.start()
            eventually(lambda: sees_all(cluster), seconds=60)
    assert not failed, f"{failed}, beside {done}"
    assert mishaps(cluster) == before
    assert done["GET"] > 50
    assert done["push"] > 10


def sees_all(cluster: Cluster) -> bool:
    return {server["status"] for server in cluster.servers()} == {"UP"}
