"""The memory of a replica is bounded, however many push at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from entrepot.digest import Digest

from .cluster import Cluster
from .conftest import ask

MIB = 1024 * 1024
_PUSHES_AT_ONCE = 30
_MOST = 170 * MIB  # 135 when measured


def test_push_thirty_blobs_at_once_keeps_the_worker_small(cluster: Cluster, name: str) -> None:
    with cluster.new_replica("pushed-to", cluster.postgresql.port, {}) as replica:
        [worker] = replica.worker_pids()

        def push(number: int) -> int:
            content = number.to_bytes(2, "big") * (32 * MIB // 2)
            target = f"/v2/{name}/blobs/uploads/?digest={Digest.of(content)}"
            return ask(replica.port, "POST", target, body=content, seconds=240).status

        with ThreadPoolExecutor(_PUSHES_AT_ONCE) as pool:
            assert set(pool.map(push, range(_PUSHES_AT_ONCE))) == {201}
        assert _peak(worker) < _MOST


def _peak(pid: int) -> int:
    """The most bytes that a process had in memory."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
