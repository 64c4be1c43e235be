"""What the two halves are called where somebody reads it."""

from __future__ import annotations

from entrepot.config import Settings, without_password


def database_name(settings: Settings) -> str:
    """The database as it may be shown, always the same for the same one unless it has several addresses."""
    if settings.postgresql_url is not None:
        return without_password(settings.postgresql_url.partition("?")[0])
    return f"sqlite:///{settings.database_path.resolve()}"


def store_name(settings: Settings) -> str:
    """The store likewise."""
    if settings.bucket is not None:
        return "s3://" + "/".join(filter(None, settings.bucket))
    return f"file://{settings.store_path.resolve()}"
