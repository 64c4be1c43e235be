from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
import sqlite3
import threading
from pathlib import Path

import pytest

from entrepot.testing.faults import Action, DiskCall, Fault, FaultPlan, FaultyCommit, FaultyDisk, Step
from entrepot.testing.power_cut import DurableView


@pytest.fixture
def plan(tmp_path: Path) -> FaultPlan:
    return FaultPlan(tmp_path / "plan")


@pytest.fixture
def disk(plan: FaultPlan) -> FaultyDisk:
    return FaultyDisk(plan)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"")
    return path


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(tmp_path / "entrepot.db", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE numbers (number)")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO numbers VALUES (1)")
    return connection


def write(disk: FaultyDisk, file: Path, *pieces: bytes) -> None:
    with file.open("r+b") as opened:
        disk.write(opened.fileno(), pieces)


def sync(disk: FaultyDisk, file: Path) -> None:
    with file.open("r+b") as opened:
        disk.sync(opened.fileno())


def call(disk: FaultyDisk, step: Step, file: Path) -> None:
    if step == "write":
        write(disk, file, b"12", b"34")
    elif step == "sync":
        sync(disk, file)
    elif step == "rename":
        disk.rename(file, file.with_name("renamed"))
    else:
        disk.sync_folder(file.parent)


def test_disk_without_faults_does_and_records_every_call(plan: FaultPlan, disk: FaultyDisk, file: Path) -> None:
    steps: list[Step] = ["write", "sync", "sync_folder", "rename"]
    for step in steps:
        call(disk, step, file)
    assert file.with_name("renamed").read_bytes() == b"1234"
    subjects = [str(file), str(file), str(file.parent), str(file.with_name("renamed"))]
    pid = os.getpid()
    assert plan.calls() == [DiskCall(pid, step, subject) for step, subject in zip(steps, subjects, strict=True)]


@pytest.mark.parametrize(("action", "number"), [("full", errno.ENOSPC), ("error", errno.EIO)])
@pytest.mark.parametrize("step", ["write", "sync", "rename", "sync_folder"])
def test_fault_fails_the_call_before_it_is_done(
    plan: FaultPlan, disk: FaultyDisk, file: Path, step: Step, action: Action, number: int
) -> None:
    plan.set(Fault(step, action))
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        call(disk, step, file)
    assert caught.value.errno == number
    assert file.read_bytes() == b""


def test_fault_hits_its_turn_only(plan: FaultPlan, disk: FaultyDisk, file: Path) -> None:
    plan.set(Fault("write", "full", nth=2, times=2))
    outcomes = []
    for _ in range(5):
        try:
            write(disk, file, b"x")
            outcomes.append("done")
        except OSError:
            outcomes.append("failed")
    assert outcomes == ["done", "failed", "failed", "done", "done"]


def test_fault_with_subject_counts_only_such_calls(
    plan: FaultPlan, disk: FaultyDisk, file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"")
    plan.set(Fault("write", "full", nth=2, times=0, on="other"))
    write(disk, other, b"1")
    write(disk, file, b"2")
    write(disk, file, b"3")
    with pytest.raises(OSError, match="No space left"):
        write(disk, other, b"4")


def test_torn_write_writes_half(plan: FaultPlan, disk: FaultyDisk, file: Path) -> None:
    plan.set(Fault("write", "error", torn=True))
    with pytest.raises(OSError, match="error"):
        write(disk, file, b"12", b"34")
    assert file.read_bytes() == b"12"


def test_hold_waits_until_the_plan_is_changed(plan: FaultPlan, disk: FaultyDisk, file: Path) -> None:
    plan.set(Fault("write", "hold"))
    writing = threading.Thread(target=write, args=(disk, file, b"x"))
    writing.start()
    while not plan.calls():
        pass
    assert file.read_bytes() == b""
    plan.clear()
    writing.join()
    assert file.read_bytes() == b"x"


def test_delay_does_the_call_late(plan: FaultPlan, disk: FaultyDisk, file: Path) -> None:
    plan.set(Fault("write", "delay", seconds=0.001))
    write(disk, file, b"x")
    assert file.read_bytes() == b"x"


def test_kill_ends_the_process_at_once(plan: FaultPlan, disk: FaultyDisk, file: Path) -> None:
    plan.set(Fault("write", "kill", torn=True))
    process = multiprocessing.get_context("spawn").Process(target=write, args=(disk, file, b"12", b"34"))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert file.read_bytes() == b"12"
    assert [call.pid for call in plan.calls()] == [process.pid]


@pytest.mark.parametrize(("action", "code"), [("full", sqlite3.SQLITE_FULL), ("error", sqlite3.SQLITE_IOERR)])
@pytest.mark.parametrize(("step", "is_there"), [("before_commit", False), ("after_commit", True)])
def test_commit_fails_as_sqlite_does(
    plan: FaultPlan, connection: sqlite3.Connection, step: Step, is_there: bool, action: Action, code: int
) -> None:
    plan.set(Fault(step, action))
    with pytest.raises(sqlite3.OperationalError) as caught:
        FaultyCommit(plan)(connection)
    assert caught.value.sqlite_errorcode == code
    assert connection.in_transaction is not is_there
    connection.close()


def test_commit_records_its_durability(plan: FaultPlan, connection: sqlite3.Connection) -> None:
    FaultyCommit(plan)(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN")
    FaultyCommit(plan)(connection)
    assert [(call.step, call.subject) for call in plan.calls()] == [
        ("before_commit", "FULL"),
        ("after_commit", "FULL"),
        ("before_commit", "NORMAL"),
        ("after_commit", "NORMAL"),
    ]
    connection.close()


def test_plan_disk_and_commit_survive_pickling(plan: FaultPlan, tmp_path: Path, file: Path) -> None:
    view = DurableView(tmp_path / "root", tmp_path / "shadow")
    disk, commit = pickle.loads(pickle.dumps((FaultyDisk(plan, view), FaultyCommit(plan, view))))
    assert isinstance(commit, FaultyCommit)
    plan.set(Fault("write", "full"))
    with pytest.raises(OSError, match="No space left"):
        write(disk, file, b"x")
