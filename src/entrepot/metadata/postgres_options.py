"""How a PostgreSQL database is to be used."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """``url`` is ``postgresql://USER:PASSWORD@HOST:PORT/NAME``; what it leaves out comes from the usual PG* variables.

    ``pool_size``: connections of this process, at most. ``wait_seconds``: how long a request waits for a database
    that restarts or cannot be reached. ``silence_seconds``: a server that has something to do and says nothing for as
    long counts as frozen, a little later.
    """

    url: str
    pool_size: int = 10
    connect_timeout_seconds: float = 5.0
    statement_timeout_seconds: float = 30.0
    lock_timeout_seconds: float = 10.0
    wait_seconds: float = 20.0
    silence_seconds: float = 3.0

    @property
    def user(self) -> str:
        return unquote(_split(self.url)[0]) or "USER"

    @property
    def database(self) -> str:
        return unquote(_split(self.url)[2]) or self.user

    @property
    def shown(self) -> str:
        """The URL without password and parameters."""
        user, host, database = _split(self.url)
        return f"postgresql://{user}@{host}/{database}" if user else f"postgresql://{host}/{database}"

    def __repr__(self) -> str:
        return f"PostgresOptions({self.shown})"


def _split(url: str) -> tuple[str, str, str]:
    """User, hosts with their ports, and database."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    return login.partition(":")[0], host, parts.path.lstrip("/")
