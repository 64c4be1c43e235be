"""The contract between what metadata operations mean and the database that runs them.

An *operation* is a generator: it yields a statement with its parameters, is sent the rows, and returns a
result. It does no I/O itself, so the same operation runs on a synchronous and on an asynchronous driver::

    def find_repository(name: RepositoryName) -> Operation[int | None]:
        rows = yield SELECT_REPOSITORY, {"name": name}
        return rows[0][0] if rows else None

A statement is the name of one of SQLAlchemy's, compiled beforehand (``named.py``), or plain SQL with ``:name``
parameters that SQLite and PostgreSQL both understand (``docs/adr/0009-sql-without-sqlalchemy-at-run-time.md``).

All that an operation changes is changed in one transaction, or not at all when it raises.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

Row = Sequence[Any]
Statement = tuple[str, Mapping[str, Any]]  # a Named, or SQL with :name parameters
Operation = Generator[Statement, list[Row], T]


class Metadata(Protocol):
    """A database that runs operations. Every method may raise DatabaseBusy, StorageFull or Unavailable."""

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation that changes nothing and is quick: a few rows by their key."""

    async def read_much(self, operation: Operation[T]) -> T:
        """Run an operation that changes nothing and may look at many rows, away from the event loop."""

    async def write(self, operation: Operation[T], *, durable: bool = True) -> T:
        """Run an operation in a transaction of its own.

        When this returns, the changes are visible to every process and, if ``durable``, survive a power cut.
        Without, they survive the end of every process, but may be lost in a power cut.
        """

    async def check(self) -> None:
        """Whether the database can be read. Raises Unavailable with the reason when it cannot."""

    async def close(self) -> None:
        """Finish what was begun and let go of the database."""
