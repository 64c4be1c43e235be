"""Names in a PostgreSQL database, which any number of replicas share."""

from __future__ import annotations

from entrepot.config import Settings
from entrepot.metadata.migrate_postgresql import upgrade_postgresql
from entrepot.metadata.postgres import PostgresMetadata
from entrepot.metadata.postgres_options import PostgresOptions


def prepare_database(settings: Settings) -> None:
    """Make the tables, or bring them to this version. Raises ConfigInvalid, Unavailable."""
    upgrade_postgresql(options(settings))


def open_metadata(settings: Settings) -> PostgresMetadata:
    return PostgresMetadata(options(settings))


def options(settings: Settings) -> PostgresOptions:
    """The settings in the driver's words."""
    postgresql = settings.postgresql
    return PostgresOptions(
        settings.database,
        pool_size=postgresql.pool_size,
        connect_timeout_seconds=postgresql.connect_timeout_seconds,
        statement_timeout_seconds=postgresql.statement_timeout_seconds,
        lock_timeout_seconds=postgresql.lock_timeout_seconds,
        wait_seconds=postgresql.wait_seconds,
    )
