"""Background jobs run in one replica at a time, and another one takes over from one that dies or hangs."""

from __future__ import annotations

import os
import signal
import time
from typing import NamedTuple

from tests.hostile.waiting import eventually
from tests.process.metrics import scrape

from .cluster import Cluster

_TAKEN_OVER_SECONDS = 30.0
_JOB = "expire_uploads"


class Lease(NamedTuple):
    holder: str
    fence: int
    is_held: bool


def lease(cluster: Cluster) -> Lease:
    row = cluster.postgresql.sql(
        f"SELECT holder, fence, expires_at > extract(epoch FROM now()) FROM leases WHERE name = '{_JOB}'",
        cluster.database,
    )
    holder, fence, is_held = row.split("|")
    return Lease(holder, int(fence), is_held == "t")


def runs(cluster: Cluster) -> float:
    return sum(scrape(each).value("entrepot_job_runs_total", job=_JOB, outcome="done") for each in cluster.replicas)


def hold_in_first_replica(cluster: Cluster) -> Lease:
    """The lease of a run that the first replica has begun and cannot end, because the bucket does not answer."""
    for network in cluster.networks[1:]:
        network.stall()
    cluster.ceph.gateway.freeze()
    before = lease(cluster)
    eventually(lambda: lease(cluster).is_held and lease(cluster) != before, seconds=30)
    for network in cluster.networks[1:]:
        network.heal()
    return lease(cluster)


def test_jobs_run_once_in_each_interval_over_all_replicas(cluster: Cluster) -> None:
    before, began = runs(cluster), time.monotonic()
    eventually(lambda: runs(cluster) >= before + 3, seconds=40)
    done, seconds = runs(cluster) - before, time.monotonic() - began
    assert done <= seconds / 5 + 2, "the interval is five seconds"


def test_job_of_a_killed_replica_is_taken_over(cluster: Cluster) -> None:
    held = hold_in_first_replica(cluster)
    cluster.replicas[0].kill()
    began = time.monotonic()
    cluster.ceph.gateway.resume()
    eventually(lambda: lease(cluster).holder != held.holder, seconds=_TAKEN_OVER_SECONDS)
    print(f"taken over after {time.monotonic() - began:.1f} s")


def test_job_of_a_frozen_replica_is_taken_over_and_not_gone_on_with(cluster: Cluster) -> None:
    held = hold_in_first_replica(cluster)
    frozen = cluster.replicas[0]
    finished = scrape(frozen).value("entrepot_job_runs_total", job=_JOB, outcome="done")
    os.killpg(frozen.pid, signal.SIGSTOP)
    try:
        cluster.ceph.gateway.resume()
        eventually(lambda: lease(cluster).fence > held.fence, seconds=_TAKEN_OVER_SECONDS)
    finally:
        os.killpg(frozen.pid, signal.SIGCONT)
    eventually(lambda: scrape(frozen).value("entrepot_job_runs_total", job=_JOB, outcome="failed") > 0)
    assert scrape(frozen).value("entrepot_job_runs_total", job=_JOB, outcome="done") == finished
