"""What a power cut leaves of a registry's folder: what was synced, and nothing else.

A ``DurableView`` is told of every sync (``FaultyDisk`` and ``FaultyCommit`` do that) and keeps a copy of what
is safe from then on. ``cut`` then makes the folder what the worst disk that keeps its word would make of it:
files have the content of their last sync, folders the entries of theirs, the database its last durable commit.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

_DATABASE = "entrepot.db"


class DurableView:
    """The durable state of ``root``, kept in the folder ``shadow`` of the same file system. Can be pickled.

    ``root`` itself counts as durable, and so does the database as it is when ``database_synced`` is first called.
    """

    def __init__(self, root: Path, shadow: Path) -> None:
        self._root = root.resolve()
        self._shadow = shadow.resolve()
        self._database = self._shadow / "database.db"
        for name in ("inodes", "held", "folders"):
            (self._shadow / name).mkdir(parents=True, exist_ok=True)

    def file_synced(self, fd: int) -> None:
        """The file has now, durably, the content and size that it has."""
        with self._alone():
            path = Path(os.readlink(f"/proc/self/fd/{fd}"))
            self._hold(path)
            shutil.copyfile(path, self._content_of(os.fstat(fd).st_ino))

    def folder_synced(self, folder: Path) -> None:
        """The folder has now, durably, the entries that it has."""
        folder = folder.resolve()
        if not folder.is_relative_to(self._root):
            return
        with self._alone():
            for path in folder.iterdir():
                self._hold(path)
            entries = {path.name: path.stat().st_ino for path in folder.iterdir()}
            self._entries_of(folder).write_text(json.dumps(entries))

    def database_synced(self, connection: sqlite3.Connection | None = None) -> None:
        """The database is now, durably, what ``connection`` sees; nobody else may write to it meanwhile."""
        # never copy the file: closing it would drop the locks that SQLite holds in this process
        fresh = self._shadow / "fresh.db"
        fresh.unlink(missing_ok=True)
        source = connection or sqlite3.connect(self._root / _DATABASE)
        with closing(sqlite3.connect(fresh)) as copy:
            source.backup(copy)
        if connection is None:
            source.close()
        fresh.rename(self._database)

    def cut(self, *, names_survive: bool = False) -> None:
        """Lose everything that is not durable; nobody may use the folder meanwhile.

        With ``names_survive`` only contents are lost, and names are what they were: disks may do that too.
        """
        if not names_survive:
            self._restore_entries(self._root)
        for folder in ("blobs", "uploads", "partials", "quarantine"):
            for path in [path for path in (self._root / folder).rglob("*") if path.is_file()]:
                self._restore_content(path)
        for path in self._root.glob(f"{_DATABASE}-*"):
            path.unlink()
        shutil.copyfile(self._database, self._root / _DATABASE)

    def _restore_entries(self, folder: Path) -> None:
        file = self._entries_of(folder)
        durable: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
        for path in list(folder.iterdir()):
            if path.name.startswith(_DATABASE):
                continue
            if durable.get(path.name) != path.stat().st_ino:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, inode in durable.items():
            held = self._shadow / "held" / str(inode)
            with suppress(FileExistsError):
                if held.exists():  # it was renamed away or replaced, and that was not synced
                    os.link(held, folder / name)
        for path in folder.iterdir():
            if path.is_dir():
                self._restore_entries(path)

    def _restore_content(self, path: Path) -> None:
        durable = self._content_of(path.stat().st_ino)
        path.write_bytes(durable.read_bytes() if durable.exists() else b"")

    def _hold(self, path: Path) -> None:
        # a second name, so that the file outlives its first and its number is not given to another
        with suppress(FileExistsError, FileNotFoundError):
            if path.is_file():
                os.link(path, self._shadow / "held" / str(path.stat().st_ino))

    def _content_of(self, inode: int) -> Path:
        return self._shadow / "inodes" / str(inode)

    def _entries_of(self, folder: Path) -> Path:
        name = str(folder.relative_to(self._root)).replace("/", "+")
        return self._shadow / "folders" / f"{name}.json"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._shadow / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
