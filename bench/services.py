"""PostgreSQL and Ceph for a run: started by ``python -m tests.services``, so in processes that are not ours."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any

import asyncpg  # type: ignore[import-untyped]  # it comes without types
import botocore.session
from botocore.config import Config

from bench import procstat
from bench.content import MIB
from bench.servers import ServerFailed

_REPOSITORY = Path(__file__).parent.parent
_MOST_IN_ONE_DELETION = 1000
_STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Spent:
    """Processor seconds that the services have used so far."""

    postgresql: float
    s3: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.postgresql - other.postgresql, self.s3 - other.s3)


class Services:
    """One PostgreSQL and one Ceph, both with durable writes. Raises ServerFailed when they do not start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.parent.chmod(0o711)  # PostgreSQL's user has to get through
        with folder.with_suffix(".log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.services", str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=_REPOSITORY,
                start_new_session=True,  # a Ctrl-C ends them when we have stopped what uses them
            )
        line = _pipe(self._process.stdout).readline()
        if not line:
            self.stop()
            raise ServerFailed(folder.with_suffix(".log").read_text().strip().rpartition("\n")[2])
        self._found: Mapping[str, dict[str, Any]] = json.loads(line)
        self._numbers = count()

    def stop(self) -> None:
        """They end when their standard input does."""
        with contextlib.suppress(OSError):
            _pipe(self._process.stdin).close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()

    @property
    def postgresql_port(self) -> int:
        return int(self._found["postgresql"]["port"])

    @property
    def s3_port(self) -> int:
        return int(self._found["s3"]["port"])

    @property
    def s3_pid(self) -> int:
        """Of the process that clients talk to."""
        return int(self._found["s3"]["pids"][0])

    @property
    def access_key(self) -> str:
        return str(self._found["s3"]["access_key"])

    @property
    def secret_key(self) -> str:
        return str(self._found["s3"]["secret_key"])

    @property
    def region(self) -> str:
        return str(self._found["s3"]["region"])

    def spent(self) -> Spent:
        return Spent(*(sum(map(procstat.cpu_seconds, self._found[name]["pids"])) for name in ("postgresql", "s3")))

    def new_database(self) -> str:
        """The name of an empty one."""
        name = f"bench_{next(self._numbers)}"
        asyncio.run(_execute(self.database_url("postgres"), f"CREATE DATABASE {name}"))
        return name

    def database_url(self, name: str, *, port: int | None = None) -> str:
        """``port``: of a proxy in front."""
        url = str(self._found["postgresql"]["url"]) + name
        return url if port is None else url.replace(f":{self.postgresql_port}/", f":{port}/")

    def database_size(self, name: str) -> int:
        """In bytes, indexes included."""
        query = f"SELECT pg_database_size('{name}')"
        return int(asyncio.run(_execute(self.database_url("postgres"), query)))

    def new_bucket(self) -> str:
        """The name of an empty one."""
        name = f"bench-{next(self._numbers)}"
        self._client.create_bucket(Bucket=name)
        return name

    def presigned(self, bucket: str, key: str) -> str:
        """An address from which anybody can GET the object."""
        url: str = self._client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
        return url

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=bucket, Key=key, Body=content)

    def keys(self, bucket: str) -> dict[str, int]:
        """All objects, with their sizes."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", ())}

    def delete(self, bucket: str, *, kept: set[str]) -> None:
        """Remove all objects of a mebibyte and more but those ``kept``, and wait until their space is free."""
        keys = [key for key, size in self.keys(bucket).items() if size >= MIB and key not in kept]
        for start in range(0, len(keys), _MOST_IN_ONE_DELETION):
            some = keys[start : start + _MOST_IN_ONE_DELETION]
            self._client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in some]})
        if keys:
            collect = ["radosgw-admin", "-c", str(self._folder / "ceph" / "ceph.conf"), "-n", "client.rgw"]
            subprocess.run([*collect, "gc", "process", "--include-all"], check=True, capture_output=True)

    @property
    def endpoint(self) -> str:
        return str(self._found["s3"]["endpoint"])

    @property
    def _client(self) -> Any:
        return botocore.session.Session().create_client(
            "s3",
            region_name=self.region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                signature_version="s3v4",
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                proxies={},
            ),
        )


async def _execute(url: str, statement: str) -> Any:
    """The first value of the first row, if there is one."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
