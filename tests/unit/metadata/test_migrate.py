from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from entrepot.errors import Corrupt, DatabaseBusy, Unavailable
from entrepot.metadata import migrate
from entrepot.metadata.migrate import NEW_DATABASE, is_current, run_migrations, upgrade_sqlite
from entrepot.metadata.new_database import script
from entrepot.metadata.schema import METADATA
from entrepot.metadata.versions import HEAD

SCRIPTS = Path(migrate.__file__).parent / "migrations"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "entrepot.db"


def schema_of(path: Path) -> dict[str, list[str]]:
    """Tables and indexes by name, each as the words of its definition, in no order: columns may be laid out anyhow."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    return {name: sorted(sql.replace(",", " ").split()) for name, sql in rows if name != "alembic_version"}


def revision_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def upgrade_and_die_after(path: Path, statements: int) -> None:
    """Upgrade, and be killed when so many statements have changed the database."""
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen > statements:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(sa.Engine, "after_cursor_execute", count)
    run_migrations(path)


def test_migrations_create_the_tables_of_the_schema(path: Path, tmp_path: Path) -> None:
    run_migrations(path)
    expected = tmp_path / "expected.db"
    engine = sa.create_engine(f"sqlite:///{expected}")
    METADATA.create_all(engine)
    engine.dispose()
    assert schema_of(path) == schema_of(expected)


def test_migrations_leave_alembic_nothing_to_add(path: Path) -> None:
    run_migrations(path)
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_head_is_the_newest_revision(path: Path) -> None:
    assert ScriptDirectory(str(SCRIPTS)).get_current_head() == HEAD
    upgrade_sqlite(path)
    assert revision_of(path) == HEAD


def test_upgrade_again_changes_nothing(path: Path) -> None:
    upgrade_sqlite(path)
    before = path.stat().st_mtime_ns
    upgrade_sqlite(path)
    assert path.stat().st_mtime_ns == before


def test_upgrade_makes_the_folder(tmp_path: Path) -> None:
    upgrade_sqlite(tmp_path / "a" / "b" / "entrepot.db")
    assert revision_of(tmp_path / "a" / "b" / "entrepot.db") == HEAD


def test_upgrade_by_several_processes_at_once_is_done_once(path: Path) -> None:
    processes = [multiprocessing.get_context("spawn").Process(target=upgrade_sqlite, args=(path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert revision_of(path) == HEAD


@pytest.mark.parametrize("statements", [1, 5, 12, 20])
def test_upgrade_that_is_killed_can_be_done_again(path: Path, tmp_path: Path, statements: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=upgrade_and_die_after, args=(path, statements))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    upgrade_sqlite(path)
    upgrade_sqlite(tmp_path / "whole.db")
    assert schema_of(path) == schema_of(tmp_path / "whole.db")


def test_database_of_a_later_version_is_refused_and_left_alone(path: Path) -> None:
    upgrade_sqlite(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("UPDATE compatibility SET least = '9998'")
    assert not is_current(path)
    with pytest.raises(Unavailable, match="written by a later version") as caught:
        upgrade_sqlite(path)
    assert caught.value.detail["revision"] == "9999"
    assert caught.value.detail["known"] == HEAD
    assert revision_of(path) == "9999"


def test_database_of_a_later_version_that_only_added_is_used_as_it_is(path: Path) -> None:
    upgrade_sqlite(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    upgrade_sqlite(path)
    assert is_current(path)
    assert revision_of(path) == "9999"


def test_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"these are not the tables you are looking for" * 100)
    with pytest.raises(Corrupt, match="file is not a database"):
        upgrade_sqlite(path)


def test_path_that_cannot_be_opened_is_reported(path: Path) -> None:
    path.mkdir()
    with pytest.raises(Unavailable, match="unable to open database file"):
        upgrade_sqlite(path)


def test_database_that_is_busy_is_not_taken_for_one_of_no_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "BUSY_SECONDS", 0.05)
    upgrade_sqlite(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseBusy):
            is_current(path)
    assert is_current(path)


def test_upgrade_of_the_first_version_goes_step_by_step(path: Path, tmp_path: Path) -> None:
    upgrade_sqlite(tmp_path / "new.db")
    run_migrations(path, to="0001")
    upgrade_sqlite(path)
    assert revision_of(path) == HEAD
    assert schema_of(path) == schema_of(tmp_path / "new.db")


def test_script_of_a_new_database_makes_what_the_migrations_make() -> None:
    kept = files("entrepot.metadata").joinpath(NEW_DATABASE).read_text("utf-8")
    assert kept == script(), "make docs writes the file"


def test_upgrade_of_an_empty_file_makes_all_tables(tmp_path: Path) -> None:
    (tmp_path / "entrepot.db").touch()
    upgrade_sqlite(tmp_path / "entrepot.db")
    upgrade_sqlite(tmp_path / "other.db")
    assert schema_of(tmp_path / "entrepot.db") == schema_of(tmp_path / "other.db") != {}
