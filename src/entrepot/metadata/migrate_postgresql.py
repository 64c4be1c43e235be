"""Brings a PostgreSQL database to the tables this version needs.

Replicas that start together do it once: the first one holds an advisory lock, and the others find nothing left to do.
All that is missing is one transaction. It waits for a table only briefly, because everybody else queues up behind it,
and tries again later.

The statements are made from Alembic's migrations beforehand (``new_database.py``).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files

from entrepot.errors import ConfigInvalid
from entrepot.metadata.postgres_connection import PostgresConnection
from entrepot.metadata.postgres_errors import FOREIGN, code_of, is_conflict, misconfigured, translated, unreachable
from entrepot.metadata.postgres_options import PostgresOptions
from entrepot.metadata.versions import Version

FILE = "postgresql_migrations.sql"
OLDEST_SERVER = 12

_ATTEMPTS = 20
_PAUSE_SECONDS = 0.5
_TURN_SECONDS = 300  # to wait for another replica that migrates
_TABLE_LOCK_SECONDS = 2
_LOCK = 0x656E747265706F74  # "entrepot"; any number will do that all versions share

_REVISION = re.compile(r"^-- revision (\w+)$", re.MULTILINE)
_BEGIN = f"""
    BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL statement_timeout = 0;
    SET LOCAL lock_timeout = '{_TURN_SECONDS}s';
    SELECT pg_advisory_xact_lock({_LOCK});
    SET LOCAL lock_timeout = '{_TABLE_LOCK_SECONDS}s'
"""
# Not by to_regclass: it may answer from a cache of the time before the lock.
_ARE_THERE = """
    SELECT relname FROM pg_class WHERE relname IN ('alembic_version', 'compatibility') AND pg_table_is_visible(oid)
"""
# By CASE, because conditions are looked at in any order, and what is no sequence may not be asked about as one.
_LACKING = """
    SELECT relname, string_agg(rights.name, ', ' ORDER BY rights.number) FROM pg_class
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS rights (name, number)
    WHERE relname = ANY($1::text[]) AND relkind = 'r' AND pg_table_is_visible(pg_class.oid)
    AND NOT has_table_privilege(pg_class.oid, rights.name) GROUP BY relname
    UNION ALL
    SELECT relname, 'USAGE' FROM pg_class
    WHERE relname = ANY($2::text[]) AND pg_table_is_visible(pg_class.oid)
    AND CASE relkind WHEN 'S' THEN NOT has_sequence_privilege(pg_class.oid, 'USAGE') ELSE false END
    ORDER BY 1
"""


def upgrade_postgresql(options: PostgresOptions) -> None:
    """Run the migrations that the database lacks. Not to be called from a running event loop.

    Raises ConfigInvalid when somebody has to change something first, Unavailable when the database cannot be reached
    within ``wait_seconds``, or when its tables are of a later version that this one cannot work with.
    """
    asyncio.run(upgrade(options))


async def upgrade(options: PostgresOptions) -> None:
    """As ``upgrade_postgresql``."""
    async with _connected(options) as connection:
        await _require_server(connection, options)
        await _require_rights(connection, options)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await _upgrade(connection, options)
                break
            except FOREIGN as error:
                if attempt == _ATTEMPTS or not (is_conflict(error) or code_of(error) == "55P03"):
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)
        await _require_rights(connection, options)


@cache
def scripts() -> Mapping[str, str]:
    """What each migration does, by its revision, in order."""
    parts = _REVISION.split(files("entrepot.metadata").joinpath(FILE).read_text("utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


async def run_migrations(connection: PostgresConnection, current: str | None, *, to: str | None = None) -> None:
    """Bring the tables from one revision to another, in the transaction that is open."""
    for revision, script in scripts().items():
        if (current is None or revision > current) and (to is None or revision <= to):
            await connection.execute(script)


async def _upgrade(connection: PostgresConnection, options: PostgresOptions) -> None:
    if await _is_done(connection, options):
        return
    try:
        await connection.execute(_BEGIN)
        if not await _is_done(connection, options):  # another replica has had its turn
            await run_migrations(connection, (await _version(connection)).revision)
        await connection.execute("COMMIT")
    except BaseException:
        if not connection.is_closed:
            await connection.execute("ROLLBACK")
        raise


async def _is_done(connection: PostgresConnection, options: PostgresOptions) -> bool:
    version = await _version(connection)
    version.require_known(f"the database {options.shown}")
    return version.is_usable


async def _version(connection: PostgresConnection) -> Version:
    tables = {row[0] for row in await connection.fetch(_ARE_THERE)}
    if "alembic_version" not in tables:
        return Version()
    revisions = await connection.fetch("SELECT version_num FROM alembic_version")
    least = await connection.fetch("SELECT least FROM compatibility") if "compatibility" in tables else []
    return Version(revisions[0][0] if revisions else None, least[0][0] if least else None)


@asynccontextmanager
async def _connected(options: PostgresOptions) -> AsyncIterator[PostgresConnection]:
    connection = await _connect(options)
    try:
        yield connection
    except FOREIGN as error:
        raise misconfigured(error, options.shown, options.user, options.database) or translated(error) from error
    finally:
        await connection.close()


async def _connect(options: PostgresOptions) -> PostgresConnection:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + options.wait_seconds
    while True:
        try:
            connection = await PostgresConnection.open(options)
            if await _takes_writes(connection):
                return connection
            connection.terminate()
            if loop.time() >= deadline:
                raise _read_only(options)
        except (*FOREIGN, ValueError, OverflowError) as error:
            wrong = misconfigured(error, options.shown, options.user, options.database)
            if wrong is not None:
                raise wrong from error
            if loop.time() >= deadline:
                raise unreachable(error, options.shown) from error
        await asyncio.sleep(_PAUSE_SECONDS)


async def _takes_writes(connection: PostgresConnection) -> bool:
    """A standby does not; after a failover it may soon."""
    [[answer]] = await connection.fetch("SHOW transaction_read_only")
    return bool(answer == "off")


def _read_only(options: PostgresOptions) -> ConfigInvalid:
    return ConfigInvalid(
        f"the database {options.shown} can only be read: it is a standby, or its user may not write",
        key="database",
        got=options.shown,
        hint="name the primary in the URL, or all servers with ?target_session_attrs=primary; or look for "
        "default_transaction_read_only",
    )


async def _require_server(connection: PostgresConnection, options: PostgresOptions) -> None:
    major, minor = connection.server_version
    if major < OLDEST_SERVER:
        raise ConfigInvalid(
            f"the database {options.shown} is PostgreSQL {major}.{minor}; {OLDEST_SERVER} or later is needed",
            key="database",
            got=f"{major}.{minor}",
            expected=f"{OLDEST_SERVER} or later",
        )
    [[encoding]] = await connection.fetch("SHOW server_encoding")
    if encoding != "UTF8":
        raise ConfigInvalid(
            f"the database {options.shown} keeps text as {encoding}; UTF8 is needed",
            key="database",
            got=encoding,
            hint=f"CREATE DATABASE \"{options.database}\" ENCODING 'UTF8' TEMPLATE template0",
        )


async def _require_rights(connection: PostgresConnection, options: PostgresOptions) -> None:
    """Tables that another user has made may be closed to this one."""
    tables = sorted(set(re.findall(r"CREATE TABLE (\w+)", "".join(scripts().values()))))
    lacking = await connection.fetch(_LACKING, tables, [f"{table}_id_seq" for table in tables])
    if not lacking:
        return
    relations: dict[str, list[str]] = {}
    for relation, rights in lacking:
        relations.setdefault(rights, []).append(relation)
    told = "; ".join(f"{rights} on {', '.join(each)}" for rights, each in relations.items())
    [[schema]] = await connection.fetch("SELECT current_schema()")
    raise ConfigInvalid(
        f"the user {options.user} lacks rights in the database {options.shown}: {told}",
        key="database",
        got=told,
        hint=f"as the owner of the tables: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} "
        f'TO "{options.user}"; GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO "{options.user}"',
    )
