"""The contract between what metadata operations mean and the database that runs them.

An *operation* is a generator: it yields a statement with its parameters, is sent the rows, and returns a
result. It does no I/O itself, so the same operation runs on a synchronous and on an asynchronous driver::

    @operation
    def find_repository(name: RepositoryName) -> Steps[int | None]:
        rows = yield SELECT_REPOSITORY, {"name": name}
        return rows[0][0] if rows else None

A statement is the name of one of SQLAlchemy's, compiled beforehand (``named.py``), or plain SQL with ``:name``
parameters that SQLite and PostgreSQL both understand (``docs/adr/0009-sql-without-sqlalchemy-at-run-time.md``).

All that an operation changes is changed in one transaction, or not at all when it raises. A driver may run it anew
from its beginning, when the database broke off or two transactions were in each other's way; so what it works with
must not be used up by that.

SQLite has one writer at a time. PostgreSQL has many, so an operation that decides by what it reads says what must not
change meanwhile: it yields locks (``locks.py``) before it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import wraps
from typing import Any, Generic, NamedTuple, ParamSpec, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")

Row = Sequence[Any]
Parameters = Mapping[str, Any]


class Lock(NamedTuple):
    """Held to the end of the transaction: by one alone if ``exclusive``, else by many that keep such a one out."""

    name: str
    exclusive: bool


# A Named, or SQL with :name parameters. With a list of parameters it is run once for each, and all rows come back.
Statement = tuple[str, Parameters | Sequence[Parameters]] | Lock
Steps = Generator[Statement, list[Row], T]


class Operation(Generic[T_co]):
    """What to do, as often as need be: each iteration begins it anew.

    ``is_single``: it is one statement that returns rows and may as well be done twice, and has changed nothing when the
    operation raises. A driver need not put a transaction around it.
    """

    __slots__ = ("_begin", "is_single")

    def __init__(self, begin: Callable[[], Steps[T_co]], *, is_single: bool = False) -> None:
        self._begin = begin
        self.is_single = is_single

    def __iter__(self) -> Steps[T_co]:
        return self._begin()


def operation(steps: Callable[P, Steps[T]]) -> Callable[P, Operation[T]]:
    """Make a generator function one that returns an Operation."""

    @wraps(steps)
    def begin(*args: P.args, **kwargs: P.kwargs) -> Operation[T]:
        return Operation(lambda: steps(*args, **kwargs))

    return begin


def single_operation(steps: Callable[P, Steps[T]]) -> Callable[P, Operation[T]]:
    """The same, for an operation that ``is_single``."""

    @wraps(steps)
    def begin(*args: P.args, **kwargs: P.kwargs) -> Operation[T]:
        return Operation(lambda: steps(*args, **kwargs), is_single=True)

    return begin


class Metadata(Protocol):
    """A database that runs operations. Every method may raise DatabaseBusy, StorageFull or Unavailable."""

    @property
    def is_out_of_reach(self) -> bool:
        """Whether the last attempt to use the database found it gone; the next one may have to wait."""

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation that changes nothing and is quick: a few rows by their key."""

    async def read_much(self, operation: Operation[T]) -> T:
        """Run an operation that changes nothing and may look at many rows, away from the event loop.

        All its statements see one moment.
        """

    async def write(self, operation: Operation[T], *, durable: bool = True) -> T:
        """Run an operation in a transaction of its own.

        When this returns, the changes are visible to every process and, if ``durable``, survive a power cut.
        Without, they survive the end of every process of ours, but may be lost in a power cut, or when the server of
        the database dies. When it raises, nothing was changed, except that after Unavailable it may be unknown
        whether the last step was reached.
        """

    async def check(self) -> None:
        """Whether the database can be read. Raises Unavailable with the reason when it cannot."""

    async def close(self) -> None:
        """Finish what was begun and let go of the database."""
