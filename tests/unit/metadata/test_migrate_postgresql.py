"""Tables in PostgreSQL: made once, by whoever comes first; and what is said when that cannot be."""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it comes without types
import pytest
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.schema import CreateIndex, CreateTable

from entrepot.errors import ConfigInvalid, Unavailable
from entrepot.metadata import migrate_postgresql
from entrepot.metadata.migrate_postgresql import scripts, upgrade, upgrade_postgresql
from entrepot.metadata.new_database import postgresql_scripts
from entrepot.metadata.postgres import PostgresMetadata
from entrepot.metadata.postgres_options import PostgresOptions
from entrepot.metadata.schema import METADATA
from entrepot.metadata.versions import HEAD
from entrepot.testing.metadata_suite import put
from entrepot.testing.server import free_port
from tests.services.postgresql import PostgresqlServer
from tests.services.tcp_proxy import TcpProxy

COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, collation_name, column_default
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
    ORDER BY table_name, column_name
"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1"
CONSTRAINTS = """
    SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version' ORDER BY 1, 2
"""
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'entrepot%' AND wait_event_type = 'Lock'"


async def rows(url: str, *statements: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return [await connection.fetch(statement) for statement in statements]
    finally:
        await connection.close()


async def revision(url: str) -> str:
    [[[found]]] = await rows(url, "SELECT version_num FROM alembic_version")
    return str(found)


def tables_of_the_schema() -> Iterator[str]:
    dialect = PGDialect()  # type: ignore[no-untyped-call]  # it comes without types
    for table in METADATA.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect))
        yield from (str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes)


def test_scripts_are_those_of_the_migrations() -> None:
    kept = files("entrepot.metadata").joinpath(migrate_postgresql.FILE).read_text("utf-8")
    assert kept == postgresql_scripts(), "make docs writes the file"
    assert list(scripts())[-1] == HEAD


async def test_upgrade_makes_the_tables_of_the_schema(
    empty_postgresql: str, postgresql_server: PostgresqlServer
) -> None:
    await upgrade(PostgresOptions(empty_postgresql))
    assert await revision(empty_postgresql) == HEAD
    expected = postgresql_server.url(postgresql_server.new_database())
    await rows(expected, *tables_of_the_schema())
    assert await rows(empty_postgresql, COLUMNS, INDEXES, CONSTRAINTS) == await rows(
        expected, COLUMNS, INDEXES, CONSTRAINTS
    )


async def test_upgrade_of_an_older_version_keeps_what_is_there(empty_postgresql: str) -> None:
    first = next(iter(scripts()))
    connection = await asyncpg.connect(empty_postgresql)
    await connection.execute(scripts()[first])
    await connection.execute("INSERT INTO repositories (name, created_at) VALUES ('team/app', 1)")
    await connection.close()
    await upgrade(PostgresOptions(empty_postgresql))
    assert await revision(empty_postgresql) == HEAD
    assert await rows(empty_postgresql, "SELECT name FROM repositories") == [[("team/app",)]]


def test_upgrade_by_ten_processes_at_once_is_done_once(
    empty_postgresql: str, postgresql_server: PostgresqlServer
) -> None:
    options = PostgresOptions(empty_postgresql)
    processes = [
        multiprocessing.get_context("spawn").Process(target=upgrade_postgresql, args=(options,)) for _ in range(10)
    ]
    before = postgresql_server.log_text.count("ERROR")
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 10
    assert asyncio.run(revision(empty_postgresql)) == HEAD
    assert postgresql_server.log_text.count("ERROR") == before


async def test_upgrade_waits_for_another_and_then_has_nothing_to_do(empty_postgresql: str) -> None:
    await asyncio.gather(*(upgrade(PostgresOptions(empty_postgresql)) for _ in range(10)))
    assert await revision(empty_postgresql) == HEAD


async def test_upgrade_again_writes_nothing(postgresql: str) -> None:
    select = "SELECT xmin::text FROM alembic_version"
    before = await rows(postgresql, select)
    await upgrade(PostgresOptions(postgresql))
    assert await rows(postgresql, select) == before


async def test_upgrade_lets_others_through_while_a_table_is_in_use(
    empty_postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate_postgresql, "_BEGIN", migrate_postgresql._BEGIN.replace("'2s'", "'100ms'"))
    options = PostgresOptions(empty_postgresql)
    await upgrade(options)
    script = "ALTER TABLE blobs ADD COLUMN more TEXT; UPDATE alembic_version SET version_num = '9998'"
    later = {**scripts(), "9998": script}
    monkeypatch.setattr(migrate_postgresql, "scripts", lambda: later)
    monkeypatch.setattr("entrepot.metadata.versions.HEAD", "9998")
    user = await asyncpg.connect(empty_postgresql)
    async with user.transaction():
        await user.execute("SELECT 1 FROM blobs")
        upgrading = asyncio.ensure_future(upgrade(options))
        while not (await rows(empty_postgresql, SESSIONS))[0][0][0]:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(60):  # the one who waits for the table is not in their way for long
            await rows(empty_postgresql, "SELECT 1 FROM blobs")
    await user.close()
    await upgrading
    assert await revision(empty_postgresql) == "9998"


async def test_database_of_a_later_version_that_only_added_is_used_as_it_is(postgresql: str) -> None:
    await rows(postgresql, "UPDATE alembic_version SET version_num = '9999'", "ALTER TABLE blobs ADD COLUMN more TEXT")
    await upgrade(PostgresOptions(postgresql))
    assert await revision(postgresql) == "9999"
    metadata = PostgresMetadata(PostgresOptions(postgresql))
    await metadata.write(put(b"x"))
    await metadata.close()


async def test_database_of_a_later_version_that_took_away_is_refused(postgresql: str) -> None:
    await rows(postgresql, "UPDATE alembic_version SET version_num = '9999'", "UPDATE compatibility SET least = '9998'")
    with pytest.raises(Unavailable, match="written by a later version of entrepot") as caught:
        await upgrade(PostgresOptions(postgresql))
    assert (caught.value.detail["revision"], caught.value.detail["known"]) == ("9999", HEAD)
    assert await revision(postgresql) == "9999"


async def test_server_in_use_goes_on_while_columns_are_added(postgresql: str) -> None:
    """The statements that it has prepared return other columns than before."""

    metadata = PostgresMetadata(PostgresOptions(postgresql, pool_size=1))
    for content in (b"x", b"y"):
        await metadata.write(put(content))
        await rows(postgresql, f"ALTER TABLE blobs ADD COLUMN more_{content.decode()} TEXT")
    await metadata.write(put(b"z"))
    await metadata.close()


@pytest.mark.parametrize(
    ("modules", "libraries"),
    [
        ("entrepot.backends.postgresql", {"sqlalchemy", "alembic"}),
        ("entrepot.backends.embedded", {"sqlalchemy", "alembic", "asyncpg"}),
    ],
)
def test_what_needs_no_library_does_not_import_it(modules: str, libraries: set[str]) -> None:
    program = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert libraries & set(done.stdout.split()) == set()


# what to do when it cannot be


@pytest.mark.parametrize(
    ("change", "what", "hint"),
    [
        (
            lambda url: url.replace("not-secret", "wrong-one"),
            "password authentication failed",
            "check user and password",
        ),
        (lambda url: url + "_absent", "does not exist", 'CREATE DATABASE "'),
        (lambda url: url.replace("127.0.0.1", "no-such-host.invalid"), "the host is unknown", "check the host"),
        (lambda url: url.rpartition(":")[0] + ":port/name", "the URL is wrong", "postgresql://USER:PASSWORD@HOST"),
        (lambda url: url.rpartition(":")[0] + ":99999/name", "the URL is wrong", "postgresql://USER:PASSWORD@HOST"),
        (lambda url: url + "?no_such_setting=1", "no_such_setting", "check the parameters"),
        (lambda url: url + "?search_path=nowhere", "no schema", "GRANT USAGE, CREATE ON SCHEMA public"),
    ],
    ids=["password", "database", "host", "port", "large port", "parameter", "schema"],
)
async def test_url_that_is_wrong_says_what_to_change(
    empty_postgresql: str, change: Callable[[str], str], what: str, hint: str
) -> None:
    with pytest.raises(ConfigInvalid, match=what) as caught:
        await upgrade(PostgresOptions(change(empty_postgresql)))
    assert hint in caught.value.detail["hint"]
    told = f"{caught.value.message} {caught.value.detail}"
    assert "not-secret" not in told
    assert "wrong-one" not in told


async def test_server_that_cannot_be_reached_is_unavailable_after_a_while() -> None:
    options = PostgresOptions(f"postgresql://me:secret@127.0.0.1:{free_port()}/name", wait_seconds=0)
    with pytest.raises(Unavailable, match=r"postgresql://me@127\.0\.0\.1:\d+/name cannot be reached") as caught:
        await upgrade(options)
    assert "secret" not in str(caught.value.detail)


async def test_server_whose_socket_is_not_there_is_unavailable(tmp_path: Path) -> None:
    options = PostgresOptions(f"postgresql://me@/name?host={tmp_path}", wait_seconds=0)
    with pytest.raises(Unavailable, match=r"postgresql://me@/name cannot be reached: the socket, or another file"):
        await upgrade(options)


async def test_server_that_comes_a_little_later_is_waited_for(
    empty_postgresql: str, postgresql_server: PostgresqlServer
) -> None:
    with TcpProxy(postgresql_server.port) as network:
        network.cut()
        through = empty_postgresql.replace(str(postgresql_server.port), str(network.port))
        upgrading = asyncio.ensure_future(upgrade(PostgresOptions(through, wait_seconds=60)))
        await asyncio.sleep(0.1)
        network.heal()
        await upgrading
    assert await revision(empty_postgresql) == HEAD


async def test_user_who_may_not_make_tables_is_told_what_to_grant(
    empty_postgresql: str, postgresql_server: PostgresqlServer
) -> None:
    user, url = other_user(postgresql_server, empty_postgresql)
    with pytest.raises(ConfigInvalid, match="permission denied for schema public") as caught:
        await upgrade(PostgresOptions(url))
    grant = caught.value.detail["hint"].partition(": ")[2]
    assert grant.startswith("GRANT USAGE, CREATE ON SCHEMA public TO")
    postgresql_server.sql(grant, empty_postgresql.rpartition("/")[2])
    await upgrade(PostgresOptions(url))
    assert user in grant


async def test_user_who_may_not_use_the_tables_is_told_what_to_grant(
    postgresql: str, postgresql_server: PostgresqlServer
) -> None:
    _, url = other_user(postgresql_server, postgresql)
    name = postgresql.rpartition("/")[2]
    with pytest.raises(ConfigInvalid, match=r"lacks .* SELECT, INSERT, UPDATE, DELETE on .*blobs"):
        await upgrade(PostgresOptions(url))
    postgresql_server.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC", name)
    with pytest.raises(ConfigInvalid, match=r"lacks .*: INSERT, UPDATE, DELETE on .*blobs.*; USAGE on blobs_id_seq"):
        await upgrade(PostgresOptions(url))
    postgresql_server.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO PUBLIC", name)
    with pytest.raises(ConfigInvalid, match=r"lacks rights in the database .*: USAGE on blobs_id_seq") as caught:
        await upgrade(PostgresOptions(url))
    postgresql_server.sql(caught.value.detail["hint"].partition(": ")[2], name)
    await upgrade(PostgresOptions(url))
    metadata = PostgresMetadata(PostgresOptions(url))
    await metadata.write(put(b"x"))
    await metadata.close()


async def test_server_that_takes_no_writes_is_refused(postgresql: str) -> None:
    with pytest.raises(ConfigInvalid, match="can only be read") as caught:
        await upgrade(PostgresOptions(f"{postgresql}?default_transaction_read_only=on", wait_seconds=0))
    assert "target_session_attrs=primary" in caught.value.detail["hint"]


async def test_server_that_takes_writes_a_little_later_is_waited_for(
    empty_postgresql: str, postgresql_server: PostgresqlServer
) -> None:
    name = empty_postgresql.rpartition("/")[2]
    postgresql_server.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    upgrading = asyncio.ensure_future(upgrade(PostgresOptions(empty_postgresql, wait_seconds=100)))
    while not postgresql_server.sql(f"SELECT 1 FROM pg_stat_database WHERE datname = '{name}' AND sessions > 1"):
        await asyncio.sleep(0.01)
    postgresql_server.sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await upgrading
    assert await revision(empty_postgresql) == HEAD


@pytest.mark.parametrize(
    ("table", "error", "what"),
    [
        ("tags AS SELECT 1", ConfigInvalid, 'another program keeps its tables there: relation "tags" already exists'),
        ("alembic_version AS SELECT 'a3f9c0d1e2b4' AS version_num", Unavailable, "holds tables of another program"),
    ],
    ids=["a table", "Alembic's table"],
)
async def test_database_of_another_program_is_left_alone(
    empty_postgresql: str, table: str, error: type[Exception], what: str
) -> None:
    await rows(empty_postgresql, f"CREATE TABLE {table}")
    with pytest.raises(error, match=what):
        await upgrade(PostgresOptions(empty_postgresql))
    assert await rows(empty_postgresql, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [[(1,)]]


def other_user(server: PostgresqlServer, url: str) -> tuple[str, str]:
    user = f"other_{url.rpartition('/')[2]}"
    server.sql(f"CREATE ROLE {user} LOGIN PASSWORD 'not-secret'")
    return user, url.replace("entrepot:", f"{user}:")


async def test_database_that_keeps_text_in_another_way_is_refused(postgresql_server: PostgresqlServer) -> None:
    name = "latin"
    postgresql_server.sql(f"CREATE DATABASE {name} OWNER entrepot ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(ConfigInvalid, match="keeps text as LATIN1; UTF8 is needed") as caught:
        await upgrade(PostgresOptions(postgresql_server.url(name)))
    assert "ENCODING 'UTF8'" in caught.value.detail["hint"]


@pytest.mark.parametrize("make", [PostgresOptions.__repr__, lambda options: options.shown], ids=["repr", "shown"])
def test_options_never_show_the_password(make: Callable[[PostgresOptions], str]) -> None:
    options = PostgresOptions("postgresql://me:sec%40ret@one:5432,two:5433/name?sslmode=require&password=secret")
    assert make(options).removeprefix("PostgresOptions(").rstrip(")") == "postgresql://me@one:5432,two:5433/name"
