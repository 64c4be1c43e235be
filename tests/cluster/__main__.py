"""``python -m tests.cluster [--short] [--seed N] [--logs DIR]``: the fault run with its report, for ``make faults``."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from tests.services.ceph import CephServer
from tests.services.postgresql import PostgresqlServer
from tests.services.s3 import S3Places

from .cluster import Cluster
from .faults import FAULTS, SHORT
from .run import HEADER, Report, run_faults, summary


def main() -> int:
    """1 when something was lost, or a client had to be started again."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="Break a cluster while it is used.")
    parser.add_argument("--short", action="store_true", help="one fault of each kind")
    parser.add_argument("--seed", type=int, default=1, help="of the images and of the S3 server's bad days")
    parser.add_argument("--logs", type=Path, help="folder for the logs of all parts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cluster-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL's user has to get in
        report = _run(folder, options)
    print(summary(report))
    return 1 if report.problems else 0


def _run(folder: Path, options: argparse.Namespace) -> Report:
    postgresql, ceph = PostgresqlServer(folder / "postgresql"), CephServer(folder / "ceph")
    try:
        postgresql.start()
        ceph.start()
        with Cluster(folder / "cluster", postgresql, ceph, S3Places(ceph).new_prefix()) as cluster:
            try:
                print(HEADER, flush=True)
                faults = SHORT if options.short else FAULTS
                return run_faults(cluster, folder / "clients", faults, seed=options.seed, say=_say)
            finally:
                if options.logs:
                    _keep_logs(cluster, options.logs)
    finally:
        ceph.stop()
        postgresql.stop()


def _say(line: str) -> None:
    print(line, flush=True)


def _keep_logs(cluster: Cluster, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for title, text in cluster.logs().items():
        (folder / f"{title}.log").write_text(text)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):  # so that everything is stopped, in the background too
        signal.signal(number, lambda *_: sys.exit("stopped"))
    try:
        sys.exit(main())
    except pytest.skip.Exception as missing:
        sys.exit(str(missing))
