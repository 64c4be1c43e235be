"""What is done to a cluster while it is used: each fault begins, lasts for a while, and is mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .cluster import REPLICAS, Cluster

Step = Callable[[Cluster], None]
_OUTAGE_SECONDS = 10.0


def _nothing(_: Cluster) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Fault:
    """``begin`` returns once the fault is there, ``mend`` once it is not; ``seconds`` in between."""

    title: str
    begin: Step
    seconds: float = 3.0
    mend: Step = Cluster.heal


def _kill(number: int) -> Fault:
    return Fault(f"kill -9 of replica {number + 1}", lambda cluster: cluster.replicas[number].kill())


def _cut(cluster: Cluster) -> None:
    cluster.networks[0].cut()


def _stall(cluster: Cluster) -> None:
    cluster.networks[1].stall()


def _break_s3(cluster: Cluster) -> None:
    cluster.storage.share = 0.05


def _restart_replicas(cluster: Cluster) -> None:
    for replica in cluster.replicas:
        replica.stop()
        replica.start()


FAULTS = [
    *map(_kill, range(REPLICAS)),
    Fault("rolling restart of the replicas", _restart_replicas, 0.0, _nothing),
    Fault("restart of PostgreSQL", lambda cluster: cluster.postgresql.restart(), 0.0, _nothing),
    Fault("kill -9 of PostgreSQL", lambda cluster: cluster.postgresql.kill()),
    Fault("PostgreSQL frozen", lambda cluster: cluster.postgresql.freeze(), _OUTAGE_SECONDS),
    Fault("S3 gateway stopped", lambda cluster: cluster.ceph.gateway.stop(), _OUTAGE_SECONDS),
    Fault("S3 gateway frozen", lambda cluster: cluster.ceph.gateway.freeze(), _OUTAGE_SECONDS),
    Fault("restart of the S3 gateway", lambda cluster: cluster.ceph.restart_gateway(), 0.0, _nothing),
    Fault("5 % of S3 calls refused or cut off", _break_s3, 30.0),
    Fault("network from a replica to the database cut", _cut, _OUTAGE_SECONDS),
    Fault("network from a replica to the database stalled", _stall, _OUTAGE_SECONDS),
]
# One of each kind that differs in how it is noticed and survived.
SHORT_TITLES = {
    "kill -9 of replica 1",
    "rolling restart of the replicas",
    "restart of PostgreSQL",
    "PostgreSQL frozen",
    "S3 gateway frozen",
    "5 % of S3 calls refused or cut off",
    "network from a replica to the database cut",
}
SHORT = [fault for fault in FAULTS if fault.title in SHORT_TITLES]
