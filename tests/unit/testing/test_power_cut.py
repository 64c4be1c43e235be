from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from entrepot.testing.faults import FaultPlan, FaultyCommit, FaultyDisk
from entrepot.testing.power_cut import DurableView


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "blobs").mkdir(parents=True)
    return folder


@pytest.fixture
def view(root: Path, tmp_path: Path) -> DurableView:
    view = DurableView(root, tmp_path / "shadow")
    sqlite3.connect(root / "entrepot.db").close()
    view.database_synced()
    return view


@pytest.fixture
def disk(tmp_path: Path, view: DurableView, root: Path) -> FaultyDisk:
    disk = FaultyDisk(FaultPlan(tmp_path / "plan"), view)
    disk.sync_folder(root)
    return disk


def write(disk: FaultyDisk, path: Path, content: bytes, *, sync: bool) -> None:
    with path.open("wb") as file:
        disk.write(file.fileno(), [content])
        if sync:
            disk.sync(file.fileno())


def test_cut_keeps_what_was_synced(disk: FaultyDisk, view: DurableView, root: Path) -> None:
    write(disk, root / "blobs" / "a", b"content", sync=True)
    disk.sync_folder(root / "blobs")
    view.cut()
    assert (root / "blobs" / "a").read_bytes() == b"content"


def test_cut_loses_bytes_that_were_not_synced(disk: FaultyDisk, view: DurableView, root: Path) -> None:
    write(disk, root / "blobs" / "a", b"content", sync=False)
    disk.sync_folder(root / "blobs")
    view.cut()
    assert (root / "blobs" / "a").read_bytes() == b""


def test_cut_brings_back_the_bytes_of_the_last_sync(disk: FaultyDisk, view: DurableView, root: Path) -> None:
    with (root / "blobs" / "a").open("wb") as file:
        disk.write(file.fileno(), [b"safe"])
        disk.sync(file.fileno())
        disk.write(file.fileno(), [b" and not"])
    disk.sync_folder(root / "blobs")
    view.cut()
    assert (root / "blobs" / "a").read_bytes() == b"safe"


@pytest.mark.parametrize(("names_survive", "expected"), [(False, []), (True, ["a"])])
def test_cut_loses_names_that_were_not_synced(
    disk: FaultyDisk, view: DurableView, root: Path, names_survive: bool, expected: list[str]
) -> None:
    write(disk, root / "blobs" / "a", b"content", sync=True)
    view.cut(names_survive=names_survive)
    assert [path.name for path in (root / "blobs").iterdir()] == expected


def test_cut_undoes_a_rename_that_was_not_synced(disk: FaultyDisk, view: DurableView, root: Path) -> None:
    write(disk, root / "blobs" / "old", b"good", sync=True)
    disk.sync_folder(root / "blobs")
    write(disk, root / "new", b"newer", sync=True)
    disk.rename(root / "new", root / "blobs" / "old")
    view.cut()
    assert (root / "blobs" / "old").read_bytes() == b"good"


def test_cut_loses_a_folder_whose_parent_was_not_synced(disk: FaultyDisk, view: DurableView, root: Path) -> None:
    (root / "blobs" / "aa").mkdir()
    write(disk, root / "blobs" / "aa" / "a", b"content", sync=True)
    disk.sync_folder(root / "blobs" / "aa")
    view.cut()
    assert list((root / "blobs").iterdir()) == []


def test_cut_keeps_the_last_durable_commit(disk: FaultyDisk, view: DurableView, root: Path, tmp_path: Path) -> None:
    commit = FaultyCommit(FaultPlan(tmp_path / "plan"), view)
    connection = sqlite3.connect(root / "entrepot.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE numbers (number)")
    for number, mode in enumerate(("FULL", "FULL", "NORMAL")):
        connection.execute(f"PRAGMA synchronous = {mode}")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO numbers VALUES (?)", [number])
        commit(connection)
    connection.close()
    view.cut()
    connection = sqlite3.connect(root / "entrepot.db")
    assert connection.execute("SELECT number FROM numbers").fetchall() == [(0,), (1,)]
    connection.close()
