"""The servers that keep nothing themselves: entrepot on PostgreSQL and S3, and distribution on the same S3."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.content import Blob
from bench.servers import Distribution, Entrepot, Server, free_port
from bench.services import Services

ENTREPOT_S3 = "entrepot, PostgreSQL and S3"
ENTREPOT_REDIRECT = "entrepot, redirect"
DISTRIBUTION_S3 = "distribution, S3"
TUNED_S3 = "distribution GOGC=800, S3"
DISTRIBUTION_REDIRECT = "distribution, redirect"
BARE_S3 = "S3 alone"
TWO_REPLICAS = "PostgreSQL and S3, two replicas of 1 worker"

_DISTRIBUTION_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  s3:
    accesskey: {access_key}
    secretkey: {secret_key}
    region: {region}
    regionendpoint: {endpoint}
    bucket: {bucket}
    secure: false
    v4auth: true
    forcepathstyle: true
  delete: {{enabled: true}}
  redirect: {{disable: {no_redirect}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass
class Backing:
    """Where replicas keep things: servers that share one are replicas of each other. Made when first asked for."""

    services: Services
    made: dict[str, str] = field(default_factory=dict)
    s3_endpoint: str = ""
    postgresql_port: int | None = None

    @property
    def database(self) -> str:
        if "database" not in self.made:
            self.made["database"] = self.services.new_database()
        return self.services.database_url(self.made["database"], port=self.postgresql_port)

    def database_size(self) -> int:
        """In bytes."""
        return self.services.database_size(self.made["database"])

    @property
    def bucket(self) -> str:
        if "bucket" not in self.made:
            self.made["bucket"] = self.services.new_bucket()
        return self.made["bucket"]

    @property
    def endpoint(self) -> str:
        return self.s3_endpoint or self.services.endpoint


@dataclass(kw_only=True)
class Backed(Server):
    """Keeps its bytes in a bucket."""

    backing: Backing

    def keys(self) -> set[str]:
        """Of all objects."""
        return set(self.backing.services.keys(self.backing.bucket))

    def give_back(self, kept: set[str]) -> None:
        """Remove all other objects of a mebibyte and more, behind the server's back."""
        self.backing.services.delete(self.backing.bucket, kept=kept)

    def blob_files(self, digest: str) -> list[Path]:  # noqa: ARG002
        """None: see ``give_back``."""
        return []


@dataclass(kw_only=True)
class Replica(Backed, Entrepot):
    """entrepot on PostgreSQL and S3. ``root`` stays empty."""

    redirect: str = "never"

    durability = "201 after S3 has answered and the row is committed"

    def __post_init__(self) -> None:
        services = self.backing.services
        self.environment = {
            **self.environment,
            "AWS_ACCESS_KEY_ID": services.access_key,
            "AWS_SECRET_ACCESS_KEY": services.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
            "ENTREPOT_S3__REGION": services.region,
            "ENTREPOT_S3__ENDPOINT": self.backing.endpoint,
            "ENTREPOT_S3__REDIRECT": self.redirect,
        }

    def command_on(self, port: int) -> list[str]:
        where = ["--database", self.backing.database, "--store", f"s3://{self.backing.bucket}/registry"]
        return [*super().command_on(port), *where]


@dataclass(kw_only=True)
class TwoReplicas(Replica):
    """Two of them below one process; the second listens on ``second_port``."""

    second_port: int = 0

    def command(self) -> list[str]:
        self.second_port = free_port()
        first, second = (shlex.join(self.command_on(port)) for port in (self.port, self.second_port))
        script = f"trap 'kill $first $second; wait' TERM; {first} & first=$!; {second} & second=$!; wait"
        return ["sh", "-c", script]

    @property
    def ports(self) -> tuple[int, ...]:
        return self.port, self.second_port

    def start(self) -> float:
        taken = super().start()
        self.wait_ready(self.second_port)
        return taken


@dataclass(kw_only=True)
class DistributionOnS3(Backed, Distribution):
    """distribution with its S3 driver."""

    redirect: bool = False

    durability = "201 after S3 has answered"

    def command(self) -> list[str]:
        config, services = self.root.with_suffix(".yml"), self.backing.services
        config.write_text(
            _DISTRIBUTION_CONFIG.format(
                access_key=services.access_key,
                secret_key=services.secret_key,
                region=services.region,
                endpoint=self.backing.endpoint,
                bucket=self.backing.bucket,
                no_redirect=str(not self.redirect).lower(),
                port=self.port,
            )
        )
        return [self.executable, "serve", str(config)]


@dataclass(kw_only=True)
class BareS3(Backed):
    """The S3 server without a registry: a yardstick for reads of blobs."""

    executable = "radosgw"
    durability = "not applicable: pushes are not measured"

    def start(self) -> float:
        self.port = self.backing.services.s3_port
        return 0.0

    def stop(self) -> None:
        """Others still use it."""

    @property
    def pid(self) -> int:
        return self.backing.services.s3_pid

    def target(self, path: str) -> str:
        address = urlsplit(self.backing.services.presigned(self.backing.bucket, path.rpartition("/")[2]))
        return f"{address.path}?{address.query}"

    def store_blob(self, repository: str, blob: Blob) -> None:  # noqa: ARG002
        self.backing.services.put(self.backing.bucket, blob.digest, blob.content())


def embedded(workers: int) -> str:
    """The contender's name."""
    return f"SQLite and files, {workers} worker{'s' * (workers > 1)}"


def scaled(workers: int) -> str:
    """The contender's name."""
    return f"PostgreSQL and S3, {workers} worker{'s' * (workers > 1)}"


CURVE = (1, 2, 4)
EMBEDDED: Mapping[str, int] = {embedded(workers): workers for workers in CURVE}
_KINDS: Mapping[str, type[Backed]] = {
    ENTREPOT_S3: Replica,
    ENTREPOT_REDIRECT: Replica,
    **{scaled(workers): Replica for workers in CURVE},
    TWO_REPLICAS: TwoReplicas,
    DISTRIBUTION_S3: DistributionOnS3,
    TUNED_S3: DistributionOnS3,
    DISTRIBUTION_REDIRECT: DistributionOnS3,
    BARE_S3: BareS3,
}
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    ENTREPOT_REDIRECT: {"redirect": "always"},
    TWO_REPLICAS: {"workers": 1},
    TUNED_S3: {"environment": {"GOGC": "800"}},
    DISTRIBUTION_REDIRECT: {"redirect": True},
    **{scaled(workers): {"workers": workers} for workers in CURVE},
}


def replica_kind(name: str) -> type[Backed] | None:
    """None if the contender keeps its bytes in files."""
    return _KINDS.get(name)


def new_replica(name: str, root: Path, backing: Backing) -> Backed:
    """The contender, not started."""
    return _KINDS[name](name, root, backing=backing, **_OPTIONS.get(name, {}))
