"""A PostgreSQL server of our own: one for the whole run, a database for each test."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from entrepot.testing.server import free_port

from .program import Program, find_program

USER = "entrepot"
PASSWORD = "not-secret"
_SUPERUSER = "postgres"
_SETTINGS = {
    "fsync": "off",  # faster; a SIGKILL loses nothing all the same, only a power cut would
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_lock_waits": "on",
    "log_line_prefix": "%m %p %a %d ",
    "log_error_verbosity": "terse",
}


class PostgresqlServer:
    """``folder`` is made. The user of ``url`` may make databases and is no superuser."""

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        """``settings`` win over those that make tests fast."""
        newest = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda path: int(path.parent.name))
        self._bin = newest[-1:]
        self._user = _SUPERUSER if os.geteuid() == 0 else None  # PostgreSQL refuses to be run by root
        self._data = folder / "data"
        self._folder = folder
        self.port = free_port()
        self._numbers = itertools.count()
        command = [find_program("postgres", *self._bin), "-D", str(self._data), "-k", str(folder)]
        command += ["-h", "127.0.0.1", "-p", str(self.port)]
        command += [
            word for name, value in {**_SETTINGS, **(settings or {})}.items() for word in ("-c", f"{name}={value}")
        ]
        # SIGINT: tell the clients, roll back, end; SIGTERM would wait for them to go
        self.program = Program(command, log=folder / "log", user=self._user, stop_signal=signal.SIGINT)

    def start(self) -> None:
        """Return when it answers."""
        is_new = not self._data.exists()
        if is_new:
            self._make_data()
        (self._data / "postmaster.pid").unlink(missing_ok=True)  # left by a SIGKILL
        self.program.start(self.answers)
        if is_new:
            self.sql(f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{PASSWORD}'")

    def stop(self) -> None:
        self.program.stop()

    def kill(self) -> None:
        self.program.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        self.program.freeze()

    def resume(self) -> None:
        self.program.resume()

    @property
    def socket_folder(self) -> Path:
        """Where the superuser gets in without a password."""
        return self._folder

    @property
    def log_text(self) -> str:
        return self.program.log.read_text("utf-8", "replace")

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD, port: int | None = None) -> str:
        """``port``: that of a proxy in front."""
        return f"postgresql://{user}:{password}@127.0.0.1:{port or self.port}/{database}"

    def new_database(self, template: str = "template0") -> str:
        """The name of a new database, which belongs to the user of ``url``."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} OWNER {USER} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as superuser; rows come back as lines."""
        command = [find_program("psql", *self._bin), "-h", str(self._folder), "-p", str(self.port)]
        command += ["-U", _SUPERUSER, "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement]
        return self._run(command)

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            self.sql("SELECT 1")
        except (OSError, RuntimeError):
            return False
        return True

    def _make_data(self) -> None:
        self._folder.mkdir(parents=True)
        self._folder.chmod(0o755)
        if self._user:
            shutil.chown(self._folder, self._user, self._user)
        command = [find_program("initdb", *self._bin), "-D", str(self._data), "-U", _SUPERUSER, "--no-sync"]
        command += ["--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
        self._run(command)

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd="/",
            user=self._user,
            group=self._user,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout.strip()
