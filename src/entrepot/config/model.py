"""The settings: every key with its meaning, its default and its bounds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from entrepot import folders
from entrepot.byte_size import KIB, MIB
from entrepot.config.scale import PostgresqlSettings, S3Settings
from entrepot.config.section import Section
from entrepot.config.values import (
    Address,
    Bytes,
    DatabaseUrl,
    Flag,
    Folder,
    OptionalFile,
    Patterns,
    Seconds,
    StoreUrl,
    Whole,
    bucket_and_prefix,
    folder_path,
    is_postgresql,
    split_address,
    sqlite_path,
)


def default_root() -> Path:
    """The platform's folder for a user's data, and ``entrepot`` in it."""
    return folders.default_root(os.environ)


def _usable_cpus() -> int:
    usable = getattr(os, "sched_getaffinity", None)  # absent on macOS and Windows
    return len(usable(0)) if usable else os.cpu_count() or 1


class ServerSettings(Section):
    """Where the server listens, and how it treats connections."""

    listen: Annotated[Address, Flag("--listen")] = Field(
        default="127.0.0.1:5000", description="Address and port, `HOST:PORT`; IPv6 in brackets: `[::1]:5000`."
    )
    workers: Annotated[Whole, Flag("--workers")] = Field(
        default=0, ge=0, le=256, description="Worker processes; 0 means one for each CPU, at most 4."
    )
    tls_certificate: Annotated[OptionalFile, Flag("--tls-certificate")] = Field(
        default=None, description="PEM file with the certificate chain; turns TLS on."
    )
    tls_key: Annotated[OptionalFile, Flag("--tls-key")] = Field(
        default=None, validate_default=True, description="PEM file with the private key of the certificate."
    )
    tls_minimum: Literal["1.2", "1.3"] = Field(default="1.2", description="Oldest TLS version that clients may use.")
    behind_proxy: Annotated[bool, Flag("--behind-proxy")] = Field(
        default=False,
        description="A proxy in front checks who may do what, and its `X-Forwarded-*` headers are trusted. "
        "Allows listening beyond this computer.",
    )
    allow_anonymous_push: Annotated[bool, Flag("--allow-anonymous-push")] = Field(
        default=False,
        description="Everybody who reaches the server may pull, push and delete. "
        "Allows listening beyond this computer.",
    )
    absolute_urls: bool = Field(
        default=False, description="Send `Location` headers with scheme and host instead of the path alone."
    )
    read_only: Annotated[bool, Flag("--read-only")] = Field(
        default=False, description="Refuse every write with 405 UNSUPPORTED."
    )
    drain_seconds: Seconds = Field(
        default=0,
        ge=0,
        le=3600,
        description="Time that the server serves on after SIGTERM while `/readyz` says 503, so that a load balancer "
        "notices before the port is closed; `graceful_stop_seconds` begin after it. 0 closes the port at once.",
    )
    graceful_stop_seconds: Seconds = Field(
        default=30,
        ge=0,
        le=3600,
        description="Time that running transfers have to finish when the server is stopped.",
    )
    header_timeout_seconds: Seconds = Field(
        default=30, gt=0, le=3600, description="Time a client has to send the headers of a request."
    )
    idle_timeout_seconds: Seconds = Field(
        default=60, gt=0, le=86400, description="A transfer that makes no progress at all for this long is ended."
    )

    @field_validator("tls_key")
    @classmethod
    def _key_comes_with_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if "tls_certificate" in info.data and (key is None) != (info.data["tls_certificate"] is None):
            raise ValueError("expected both server.tls_certificate and server.tls_key, or neither")
        return key

    @property
    def host(self) -> str:
        """The host to listen on, without brackets."""
        return split_address(self.listen)[0]

    @property
    def port(self) -> int:
        return split_address(self.listen)[1]

    @property
    def worker_count(self) -> int:
        """How many worker processes to start: ``workers``, or one for each usable CPU up to 4."""
        return self.workers or min(4, _usable_cpus())


class LimitSettings(Section):
    """How much one request or one repository may ask for."""

    manifest_bytes: Bytes = Field(
        default=4 * MIB, ge=4 * MIB, le=1024 * MIB, description="Largest manifest; more is refused with 413."
    )
    upload_bytes: Bytes = Field(
        default=0, ge=0, description="Largest blob; more is refused with 413. 0 means no limit."
    )
    uploads_per_repository: Whole = Field(
        default=1000, ge=1, le=1_000_000, description="Open uploads in one repository; more are refused with 429."
    )
    page_size: Whole = Field(
        default=10_000, ge=1, le=100_000, description="Entries on a page of tags, repositories or referrers, at most."
    )
    tags_per_push: Whole = Field(
        default=100, ge=10, le=10_000, description="`tag` parameters in one manifest push, at most."
    )


class UploadSettings(Section):
    """What becomes of uploads that nobody finishes."""

    expire_after_seconds: Whole = Field(
        default=7 * 86400, ge=1, description="An upload that received nothing for this long is removed."
    )
    expire_interval_seconds: Whole = Field(
        default=300, ge=1, le=86400, description="Time between two searches for such uploads."
    )


class ManifestSettings(Section):
    """Which manifests are accepted."""

    allow_missing_children: Patterns = Field(
        default=(),
        description="Repositories that take manifests whose layers or platforms are not there: patterns such "
        "as `mirror/*`, where `*` stands for any characters.",
    )
    allow_unknown_types: bool = Field(
        default=False, description="Store manifests of media types that the registry does not know, unread."
    )
    require_artifact_type: bool = Field(
        default=False, description="Refuse manifests that have an empty config and no `artifactType`."
    )


class DeleteSettings(Section):
    """What clients may delete."""

    enabled: bool = Field(default=True, description="Let clients delete tags, manifests and blobs.")
    protect_used_blobs: bool = Field(
        default=False, description="Refuse with 403 DENIED to delete a blob that a manifest of the repository names."
    )


class CacheSettings(Section):
    """Small blobs that are kept in memory."""

    blob_bytes: Bytes = Field(
        default=32 * MIB, ge=0, description="Memory for small blobs in each worker process; 0 turns the cache off."
    )
    blob_max_bytes: Bytes = Field(default=256 * KIB, ge=0, description="Largest blob that is kept in memory.")


class LogSettings(Section):
    """What the server writes about itself, and how."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Flag("--log-level")] = Field(
        default="info", description="Least important messages that are written."
    )
    format: Annotated[Literal["text", "json"], Flag("--access-log")] = Field(
        default="text", description="One line of text or one JSON object for each message."
    )
    access: Annotated[bool, Flag("--access-log")] = Field(
        default=True, description="Write one message for each request. Off is faster."
    )


class Settings(BaseSettings):
    """All settings, checked and frozen. Raises pydantic.ValidationError; ``load()`` turns that into words."""

    model_config = SettingsConfigDict(
        env_prefix="ENTREPOT_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        title="entrepot.toml",
    )

    root: Annotated[Folder, Flag("--root")] = Field(
        default_factory=default_root, description="Folder with everything the registry stores."
    )
    database: Annotated[DatabaseUrl, Flag("--database")] = Field(
        default="",
        description="Where names are kept: `sqlite:///FILE` below the root folder, `sqlite:////FOLDER/FILE` "
        "elsewhere, or `postgresql://USER:PASSWORD@HOST:PORT/NAME`. Empty means `sqlite:///entrepot.db`.",
    )
    store: Annotated[StoreUrl, Flag("--store")] = Field(
        default="",
        description="Where content is kept: `file:///FOLDER` or `s3://BUCKET/PREFIX`. Empty means the root folder.",
    )
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    uploads: UploadSettings = UploadSettings()
    manifests: ManifestSettings = ManifestSettings()
    delete: DeleteSettings = DeleteSettings()
    cache: CacheSettings = CacheSettings()
    postgresql: PostgresqlSettings = PostgresqlSettings()
    s3: S3Settings = S3Settings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  (the library calls this by keyword)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # load() asks the other sources itself, to know where each value came from

    @property
    def postgresql_url(self) -> str | None:
        """The PostgreSQL database; None when names are kept in a SQLite file."""
        return self.database if is_postgresql(self.database) else None

    @property
    def database_path(self) -> Path:
        """The SQLite file, for when there is no ``postgresql_url``."""
        return sqlite_path(self.database or f"sqlite:///{folders.DATABASE_FILE}", root=self.root)

    @property
    def bucket(self) -> tuple[str, str] | None:
        """The S3 bucket and the prefix in it; None when content is kept in a folder."""
        return bucket_and_prefix(self.store)

    @property
    def store_path(self) -> Path:
        """The folder of the filesystem store, for when there is no ``bucket``: ``blobs/``, ``uploads/`` and
        ``quarantine/`` are in it."""
        return folder_path(self.store) if self.store else self.root
