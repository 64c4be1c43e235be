"""Faults on purpose: a disk and a commit that fail, die, tear or stop at the call they are told to.

::

    plan = FaultPlan(tmp_path / "faults")
    store = FilesystemBlobStore(root, disk=FaultyDisk(plan))
    metadata = SqliteMetadata(file, commit=FaultyCommit(plan))
    plan.set(Fault("rename", "full"))       # the next rename finds no space left
    plan.set(Fault("write", "kill", nth=3, torn=True))      # the third write from here writes half, then dies
    plan.clear()
    plan.calls()                            # what was called since, in which order

A plan lives in a folder. All processes that were given the same folder follow it and count their calls
together, so a test can change it while servers run: see ``faulty_server``. Every call is recorded, whether or
not a fault hits it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from entrepot.metadata import sqlite
from entrepot.store.disk import Disk
from entrepot.testing.power_cut import DurableView

Step = Literal["write", "sync", "rename", "sync_folder", "before_commit", "after_commit", "any"]
Action = Literal["kill", "kill_all", "full", "error", "hold", "delay"]

_POLL_SECONDS = 0.01
_ERRNO = {"full": errno.ENOSPC, "error": errno.EIO}
_SQLITE = {
    "full": (sqlite3.SQLITE_FULL, "database or disk is full"),
    "error": (sqlite3.SQLITE_IOERR, "disk I/O error"),
}
_DURABLE = 2  # what SQLite answers for synchronous = FULL


class DiskCall(NamedTuple):
    """A recorded call: its step, and the file's or folder's path, or the durability of a commit (FULL, NORMAL)."""

    pid: int
    step: str
    subject: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at which call of a step.

    ``kill`` ends this process with SIGKILL, ``kill_all`` its whole process group. ``full`` fails as a full
    disk does, ``error`` as a broken one. ``hold`` waits until the plan is changed, ``delay`` for ``seconds``.
    Only calls whose subject contains ``on`` are meant (see ``DiskCall``). They are counted from one since the
    plan was set; ``times`` is how many in a row are hit, 0 means all. A ``torn`` write writes the first half of
    its bytes before.
    """

    step: Step
    action: Action
    nth: int = 1
    times: int = 1
    on: str = ""
    torn: bool = False
    seconds: float = 0.0

    def hits(self, calls: Sequence[DiskCall]) -> bool:
        """Whether it hits the last of these calls."""
        meant = [call for call in calls if self.step in (call.step, "any") and self.on in call.subject]
        is_due = len(meant) >= self.nth and (not self.times or len(meant) < self.nth + self.times)
        return is_due and meant[-1] is calls[-1]


class FaultPlan:
    """The plan in ``folder``, which is made if it is absent. Can be pickled."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._file, self._journal = folder / "plan.json", folder / "calls"

    def set(self, *faults: Fault) -> None:
        """Follow these from now on; counting and recording begin anew."""
        with self._alone():
            self._journal.write_text("")
            self._file.write_text(json.dumps([asdict(fault) for fault in faults]))

    def clear(self) -> None:
        """No more faults; counting and recording begin anew."""
        self.set()

    def calls(self) -> list[DiskCall]:
        """What was called since the plan was set, in the order of its beginnings, over all processes."""
        with self._alone():
            return self._recorded()

    def strike(self, step: Step, subject: str) -> Fault | None:
        """Record a call, and tell which fault hits it."""
        with self._alone():
            with self._journal.open("a") as journal:
                journal.write(f"{os.getpid()} {step} {subject}\n")
            calls = self._recorded()
            return next((fault for fault in self._faults() if fault.hits(calls)), None)

    def contains(self, fault: Fault) -> bool:
        """Whether the plan still says so."""
        with self._alone():
            return fault in self._faults()

    def _faults(self) -> list[Fault]:
        return [Fault(**values) for values in json.loads(self._file.read_text())] if self._file.exists() else []

    def _recorded(self) -> list[DiskCall]:
        lines = self._journal.read_text().splitlines() if self._journal.exists() else []
        fields = [line.split(" ", 2) for line in lines]
        return [DiskCall(int(pid), step, subject) for pid, step, subject in fields]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class FaultyDisk(Disk):
    """A disk that follows a plan, and keeps ``view`` up to date if there is one."""

    def __init__(self, plan: FaultPlan, view: DurableView | None = None) -> None:
        self._plan = plan
        self._view = view

    def write(self, fd: int, pieces: Sequence[bytes]) -> None:
        fault = self._plan.strike("write", _path_of(fd))
        if fault is not None and fault.torn:
            content = b"".join(pieces)
            super().write(fd, [content[: len(content) // 2]])
        self._suffer(fault)
        super().write(fd, pieces)

    def write_at(self, fd: int, pieces: Sequence[bytes], position: int) -> None:
        fault = self._plan.strike("write", _path_of(fd))
        if fault is not None and fault.torn:
            content = b"".join(pieces)
            super().write_at(fd, [content[: len(content) // 2]], position)
        self._suffer(fault)
        super().write_at(fd, pieces, position)

    def sync(self, fd: int) -> None:
        self._suffer(self._plan.strike("sync", _path_of(fd)))
        super().sync(fd)
        if self._view is not None:
            self._view.file_synced(fd)

    def rename(self, source: Path, target: Path) -> None:
        self._suffer(self._plan.strike("rename", str(target)))
        super().rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._suffer(self._plan.strike("sync_folder", str(folder)))
        super().sync_folder(folder)
        if self._view is not None:
            self._view.folder_synced(folder)

    def _suffer(self, fault: Fault | None) -> None:
        if fault is None:
            return
        _end_or_wait(self._plan, fault)
        if fault.action in _ERRNO:
            number = _ERRNO[fault.action]
            raise OSError(number, os.strerror(number))


class FaultyCommit:
    """Commits to SQLite as a plan has it. A fault ``after_commit`` strikes when all is durable and nobody knows."""

    def __init__(self, plan: FaultPlan, view: DurableView | None = None) -> None:
        self._plan = plan
        self._view = view

    def __call__(self, connection: sqlite3.Connection) -> None:
        is_durable = connection.execute("PRAGMA synchronous").fetchone()[0] >= _DURABLE
        word = "FULL" if is_durable else "NORMAL"
        self._suffer(self._plan.strike("before_commit", word))
        sqlite.commit(connection)
        if self._view is not None and is_durable:
            self._view.database_synced(connection)
        self._suffer(self._plan.strike("after_commit", word))

    def _suffer(self, fault: Fault | None) -> None:
        if fault is None:
            return
        _end_or_wait(self._plan, fault)
        if fault.action in _SQLITE:
            code, message = _SQLITE[fault.action]
            error = sqlite3.OperationalError(message)
            error.sqlite_errorcode = code
            raise error


def _end_or_wait(plan: FaultPlan, fault: Fault) -> None:
    if fault.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault.action == "kill_all":
        os.killpg(os.getpgid(0), signal.SIGKILL)
    elif fault.action == "delay":
        time.sleep(fault.seconds)
    while fault.action == "hold" and plan.contains(fault):
        time.sleep(_POLL_SECONDS)


def _path_of(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")
