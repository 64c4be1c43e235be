"""Operations on a move from one database to another: how writers are held off, how both ends are marked.

All marks are rows among the leases, so that databases of every version have a place for them.

Writers of the old database are held off by triggers, in SQLite's words: they bind every process that has it open, of
whichever version, and cost nothing before there are any. While the move runs, they bind until a time that it has to
put off again and again; when it is done, for good.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TypeVar

from entrepot.errors import Corrupt, Unavailable
from entrepot.metadata.base import Steps, operation
from entrepot.metadata.tables import TABLES

_ID = "move:id"  # of the old database: its name for ever
_HELD = "move:held"  # of the old one: no writers until it expires
_MOVED = "move:moved"  # of the old one: no writers any more; says where everything is
_ORIGIN = "move:origin"  # of the new one: where everything comes from, and whether it is complete

SELECT_MARK = "SELECT holder FROM leases WHERE name = :name"
INSERT_MARK = """
    INSERT INTO leases (name, holder, fence, expires_at) VALUES (:name, :holder, 1, 0) ON CONFLICT (name) DO NOTHING
"""
PUT_MARK = """
    INSERT INTO leases (name, holder, fence, expires_at) VALUES (:name, :holder, 1, :expires_at)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
"""
PROLONG_MARK = """
    UPDATE leases SET expires_at = :expires_at WHERE name = :name AND holder = :holder AND expires_at > :now
    RETURNING name
"""
DELETE_MARK = "DELETE FROM leases WHERE name = :name"
DELETE_OWN_MARK = "DELETE FROM leases WHERE name = :name AND holder = :holder RETURNING name"

# On PostgreSQL. Connections of one process have the same name, but for a number at its end.
SELECT_OTHER_USERS = """
    SELECT DISTINCT split_part(application_name, '/', 1) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'entrepot %'
    AND split_part(application_name, '/', 1) <> split_part(current_setting('application_name'), '/', 1)
    ORDER BY 1
"""

# Clients get to read these, so they do not say where to.
_MOVING = "this registry is being moved; what is here can be read, and writes are taken again soon"
_MOVED_AWAY = "this registry was moved; its server has to be restarted with the settings for the new place"

_GUARDED = {
    **{table.name: ("INSERT", "UPDATE", "DELETE") for table in TABLES if table.is_held},
    "blobs": ("INSERT", "UPDATE", "DELETE"),
    "uploads": ("INSERT", "UPDATE"),  # they stay behind, so that old ones may go
}
_TRIGGERS = [(f"move_{table}_{event}", table, event) for table, events in _GUARDED.items() for event in events]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a new database says of itself: the old one's ``id``, where bytes go, the last run that wrote rows, whether
    all is there."""

    id: str
    store: str
    run: str = ""
    is_complete: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    """What an old database says of itself: where everything has gone, as it may be shown, and by which run."""

    place: str
    run: str


_Mark = TypeVar("_Mark", Origin, Destination)


@operation
def database_id(proposal: str) -> Steps[str]:
    """The database's name for ever, which is ``proposal`` when it has none yet."""
    yield INSERT_MARK, {"name": _ID, "holder": proposal}
    rows = yield SELECT_MARK, {"name": _ID}
    found: str = rows[0][0]
    return found


@operation
def find_database_id() -> Steps[str | None]:
    """The same, when it was asked for before."""
    return (yield from find_mark(_ID))


@operation
def origin() -> Steps[Origin | None]:
    """Where everything in the database comes from, if it was moved there. Raises Corrupt."""
    text = yield from find_mark(_ORIGIN)
    return None if text is None else _parse(Origin, text)


@operation
def put_origin(of: Origin) -> Steps[None]:
    """Mark the new database."""
    yield PUT_MARK, {"name": _ORIGIN, "holder": json.dumps(asdict(of)), "expires_at": 0}


@operation
def other_users() -> Steps[list[str]]:
    """Other processes of entrepot that have the database open, each with its host and process id; PostgreSQL only."""
    rows = yield SELECT_OTHER_USERS, {}
    return [row[0].removeprefix("entrepot ") for row in rows]


@operation
def moved_to() -> Steps[Destination | None]:
    """Where everything has gone, if it was moved away. Raises Corrupt."""
    text = yield from find_mark(_MOVED)
    return None if text is None else _parse(Destination, text)


@operation
def hold_writers(holder: str, *, now: int, seconds: int) -> Steps[None]:
    """Let every write but to leases fail with Unavailable, for that long; SQLite only."""
    yield from _drop_triggers()
    for name, table, event in _TRIGGERS:
        yield _trigger(name, table, event), {}
    yield PUT_MARK, {"name": _HELD, "holder": holder, "expires_at": now + seconds}


@operation
def go_on_holding(holder: str, *, now: int, seconds: int) -> Steps[None]:
    """Put the end of ``hold_writers`` off. Raises Unavailable when it has come, so that there may be new rows."""
    rows = yield PROLONG_MARK, {"name": _HELD, "holder": holder, "now": now, "expires_at": now + seconds}
    if not rows:
        raise Unavailable(
            "the move was held up for so long that writers were let in again; start it once more", holder=holder
        )


@operation
def let_writers_in(holder: str) -> Steps[None]:
    """End ``hold_writers`` before its time, unless the move is done or another has begun."""
    rows = yield DELETE_OWN_MARK, {"name": _HELD, "holder": holder}
    if rows and (yield from find_mark(_MOVED)) is None:
        yield from _drop_triggers()


@operation
def finish_source(to: Destination, *, now: int) -> Steps[None]:
    """Let every write fail from now on. Raises Unavailable when the run's ``hold_writers`` has ended before."""
    yield from go_on_holding(to.run, now=now, seconds=1)
    yield PUT_MARK, {"name": _MOVED, "holder": json.dumps(asdict(to)), "expires_at": 0}


@operation
def undo() -> Steps[Destination | None]:
    """Let writers in again, although everything was moved: where to, or None when it was not."""
    to = yield from moved_to()
    if to is not None:
        yield from _drop_triggers()
        yield DELETE_MARK, {"name": _MOVED}
    return to


def find_mark(name: str) -> Steps[str | None]:
    """What a mark says; None when there is none."""
    rows = yield SELECT_MARK, {"name": name}
    return rows[0][0] if rows else None


def _drop_triggers() -> Steps[None]:
    for name, _, _ in _TRIGGERS:
        yield f"DROP TRIGGER IF EXISTS {name}", {}


def _trigger(name: str, table: str, event: str) -> str:
    return f"""
        CREATE TRIGGER {name} BEFORE {event} ON {table} BEGIN
            SELECT RAISE(ABORT, '{_MOVED_AWAY}') WHERE EXISTS (SELECT 1 FROM leases WHERE name = '{_MOVED}');
            SELECT RAISE(ABORT, '{_MOVING}') WHERE EXISTS (
                SELECT 1 FROM leases WHERE name = '{_HELD}' AND expires_at > CAST(strftime('%s', 'now') AS INTEGER)
            );
        END
    """  # noqa: S608 (all of it ours)


def _parse(kind: type[_Mark], text: str) -> _Mark:
    try:
        return kind(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise Corrupt(f"the mark of a move cannot be read: {text[:200]!r}") from error
