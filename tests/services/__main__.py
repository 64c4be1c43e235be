"""``python -m tests.services FOLDER``: PostgreSQL and Ceph to try things with, until the standard input ends.

Prints one line of JSON when both answer: how to reach them, and their process ids. FOLDER is made, and stays.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from pathlib import Path

import pytest

from .ceph import CephServer
from .postgresql import PostgresqlServer
from .s3 import REGION

# Here a power cut must lose nothing: what is measured with these servers shall hold for others.
_DURABLE = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "256MB"}


def main(folder: Path) -> None:
    folder.mkdir(mode=0o755, parents=True)
    with contextlib.ExitStack() as running:
        postgresql, ceph = PostgresqlServer(folder / "postgresql", settings=_DURABLE), CephServer(folder / "ceph")
        for server in (postgresql, ceph):
            running.callback(server.stop)
            server.start()
        print(json.dumps(_description(postgresql, ceph)), flush=True)
        sys.stdin.read()


def _description(postgresql: PostgresqlServer, ceph: CephServer) -> dict[str, dict[str, object]]:
    """PostgreSQL's ``url`` lacks the name of a database; ``superuser_url`` works without a password."""
    return {
        "postgresql": {
            "url": postgresql.url(""),
            "superuser_url": f"postgresql://postgres@/postgres?host={postgresql.socket_folder}&port={postgresql.port}",
            "port": postgresql.port,
            "pids": [postgresql.program.pid],
        },
        "s3": {
            "endpoint": ceph.endpoint,
            "access_key": ceph.access_key,
            "secret_key": ceph.secret_key,
            "region": REGION,
            "port": ceph.port,
            "pids": ceph.pids,
        },
    }


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the servers are stopped
    try:
        main(Path(sys.argv[1]))
    except pytest.skip.Exception as missing:
        sys.exit(str(missing))
