"""What PostgreSQL's errors mean: broken off, in each other's way, full, misconfigured.

Codes are those of PostgreSQL's manual, appendix A.
"""

from __future__ import annotations

import asyncio

import asyncpg  # type: ignore[import-untyped]  # it comes without types

from entrepot.errors import ConfigInvalid, Corrupt, DatabaseBusy, ParameterInvalid, StorageFull, Unavailable

FOREIGN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)

# A server that ends, begins, or cuts a session off, or became a standby: the connection is of no use any more.
_LOST = {"57P01", "57P02", "57P03", "57P05", "25P03", "25006"}
# Two transactions that cannot both go on: serialization failure, deadlock, a row that was referred to and is gone,
# and a statement that was prepared before a migration changed its table.
_CONFLICTS = {"40001", "40P01", "23503", "0A000"}
_NO_CONNECTION_LEFT = {"53300", "53400"}


def code_of(error: BaseException) -> str:
    """The five characters, or nothing when the error is not the server's."""
    return getattr(error, "sqlstate", None) or ""


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, and perhaps the server."""
    if isinstance(error, asyncpg.PostgresError):
        code = code_of(error)
        return code.startswith("08") or code in _LOST
    if isinstance(error, asyncpg.DataError):
        return False
    return isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | OSError | asyncio.TimeoutError)


def is_conflict(error: BaseException) -> bool:
    """Whether another attempt may succeed at once."""
    return code_of(error) in _CONFLICTS


def is_crowded(error: BaseException) -> bool:
    """Whether the server has as many connections as it may have."""
    return code_of(error) in _NO_CONNECTION_LEFT


def reason_of(error: BaseException) -> str:
    """The error in a few words."""
    if isinstance(error, asyncio.TimeoutError) and not str(error):
        return "it does not answer"
    if isinstance(error, FileNotFoundError):
        return "the socket, or another file that the URL names, is not there"
    return str(error) or type(error).__name__


def translated(error: BaseException) -> Exception:
    """The error as one of ours; of those that are not expected, the error itself."""
    if is_lost(error) or is_crowded(error):
        return unreachable(error)
    code, text = code_of(error), reason_of(error)
    if isinstance(error, asyncpg.DataError) or code in ("22021", "22P05"):
        return ParameterInvalid(f"the database cannot keep this value: {text}", database=text)
    if code in ("55P03", "57014") or is_conflict(error):
        return DatabaseBusy(f"the database was busy for too long: {text}", database=text)
    if code == "53100":
        return StorageFull("no space left to record this; free some space and try again", database=text)
    if code.startswith("XX"):
        return Corrupt(f"the database is damaged: {text}", database=text)
    if code.startswith(("53", "58", "28", "3D", "42501", "42P01")):
        return Unavailable(f"the database cannot be read or written: {text}", database=text)
    return error if isinstance(error, Exception) else RuntimeError(text)


def unreachable(error: BaseException | None, shown: str = "") -> Unavailable:
    """For who has waited long enough. ``shown`` is the URL without password."""
    reason = reason_of(error) if error is not None else "it does not answer"
    return Unavailable(f"the database {shown}{' ' * bool(shown)}cannot be reached: {reason}", database=reason)


def misconfigured(error: BaseException, shown: str, user: str, database: str) -> ConfigInvalid | None:
    """What to change when this comes at the start; None when time may help. ``shown`` is the URL without password."""
    found = _remedy(error, user, database)
    if found is None:
        return None
    what, hint = found
    return ConfigInvalid(f"cannot use the database {shown}: {what}", key="database", got=shown, hint=hint)


def _remedy(error: BaseException, user: str, database: str) -> tuple[str, str] | None:
    code = code_of(error)
    if isinstance(error, asyncpg.ClientConfigurationError) or (
        not code and isinstance(error, ValueError | OverflowError)
    ):
        return f"the URL is wrong: {error}", "write postgresql://USER:PASSWORD@HOST:PORT/NAME"
    if code.startswith("28"):
        return reason_of(error), "check user and password, and the server's pg_hba.conf"
    if code == "3D000":
        return reason_of(error), f'as a superuser of the server: CREATE DATABASE "{database}" OWNER "{user}"'
    if code in ("42501", "3F000"):  # also what is said when no schema is open to the user
        return reason_of(error), f'as a superuser in "{database}": GRANT USAGE, CREATE ON SCHEMA public TO "{user}"'
    if code == "42P07":
        return f"another program keeps its tables there: {reason_of(error)}", "name an empty database"
    if isinstance(error, OSError) and type(error).__name__ == "gaierror":
        return f"the host is unknown: {error.strerror or error}", "check the host in the URL"
    if code.startswith(("42", "22", "0A", "08P01")):
        return reason_of(error), "check the parameters in the URL"
    return None
