"""Background jobs run in one replica at a time, and another one takes over from one that dies or hangs."""

from __future__ import annotations

import os
import signal
import time
from typing import NamedTuple

import pytest

from entrepot.testing.server import RegistryProcess
from tests.hostile.waiting import eventually
from tests.process.metrics import scrape

from .cluster import Cluster

_TAKEN_OVER_SECONDS = 60.0  # 30 are promised; nobody else has the processors then
_SOON = 60.0  # on a busy machine
_INTERVAL_SECONDS = 5
_LEASE_SECONDS = 20
_JOB = "expire_uploads"


class Lease(NamedTuple):
    holder: str
    fence: int
    expires_at: int


def lease(cluster: Cluster, name: str = _JOB) -> Lease | None:
    row = cluster.postgresql.sql(
        f"SELECT holder, fence, expires_at FROM leases WHERE name = '{name}'", cluster.database
    )
    if not row:
        return None
    holder, fence, expires_at = row.split("|")
    return Lease(holder, int(fence), int(expires_at))


def runs(*replicas: RegistryProcess) -> float:
    return sum(scrape(each).value("entrepot_job_runs_total", job=_JOB, outcome="done") for each in replicas)


def hold_in_first_replica(cluster: Cluster) -> Lease:
    """The lease of a run that the first replica has begun and cannot end, because the bucket does not answer."""
    first = cluster.replicas[0]
    for network in cluster.networks[1:]:
        network.stall()
    cluster.postgresql.sql("DELETE FROM leases WHERE name NOT LIKE 'store:%'", cluster.database)
    before = runs(first)
    eventually(lambda: runs(first) > before, seconds=_SOON)
    cluster.ceph.gateway.freeze()
    eventually(lambda: _is_in_the_midst(cluster), seconds=_SOON)
    for network in cluster.networks[1:]:
        network.heal()
    held = lease(cluster)
    assert held is not None
    return held


def _is_in_the_midst(cluster: Cluster) -> bool:
    """It is due, and nevertheless the lease is renewed."""
    held, done = lease(cluster), lease(cluster, f"{_JOB}:done")
    return held is not None and done is not None and held.expires_at - _LEASE_SECONDS > done.expires_at


def is_another(held: Lease, now: Lease | None) -> bool:
    return now is not None and now.holder != held.holder and now.fence > held.fence


@pytest.mark.parametrize("job", ["count", "expire_uploads", "forget_commits"])
def test_each_job_of_many_replicas_runs(cluster: Cluster, job: str) -> None:
    eventually(lambda: lease(cluster, f"{job}:done") is not None, seconds=_SOON)


def test_jobs_run_once_in_each_interval_over_all_replicas(cluster: Cluster) -> None:
    began, before = time.monotonic(), runs(*cluster.replicas)
    eventually(lambda: runs(*cluster.replicas) >= before + 3, seconds=2 * _SOON)
    done, seconds = runs(*cluster.replicas) - before, time.monotonic() - began
    assert done <= seconds / _INTERVAL_SECONDS + 2


def test_job_of_a_killed_replica_is_taken_over(cluster: Cluster) -> None:
    held = hold_in_first_replica(cluster)
    cluster.replicas[0].kill()
    cluster.ceph.gateway.resume()
    eventually(lambda: is_another(held, lease(cluster)), seconds=_TAKEN_OVER_SECONDS)


@pytest.mark.slow
def test_job_of_a_frozen_replica_is_taken_over_and_not_gone_on_with(cluster: Cluster) -> None:
    held = hold_in_first_replica(cluster)
    frozen = cluster.replicas[0]
    finished = runs(frozen)
    os.killpg(frozen.pid, signal.SIGSTOP)
    try:
        cluster.ceph.gateway.resume()
        eventually(lambda: is_another(held, lease(cluster)), seconds=_TAKEN_OVER_SECONDS)
    finally:
        os.killpg(frozen.pid, signal.SIGCONT)
    eventually(lambda: scrape(frozen).value("entrepot_job_runs_total", job=_JOB, outcome="failed") > 0, seconds=_SOON)
    assert runs(frozen) == finished
