"""A program in the background that is ended, frozen and resumed by process id, with every process it has started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.interop.programs import lacking

from . import guardian

POLL_SECONDS = 0.02
START_SECONDS = 120.0
STOP_SECONDS = 20.0
_TAIL_BYTES = 3000
_MORE_FOLDERS = (Path("/usr/sbin"), Path("/sbin"))


def find_program(name: str, *folders: Path) -> str:
    """Its path, from ``folders`` before the search path. Skips the test when it is nowhere."""
    places = os.pathsep.join([*map(str, folders), os.environ.get("PATH", ""), *map(str, _MORE_FOLDERS)])
    return shutil.which(name, path=places) or lacking(f"{name} is not installed; as root, make setup-all installs it")


class Program:
    """A command that stays in the foreground. Can be started again once it has ended."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """``environment`` is added to ours. ``user``: whose process it shall be, when we are root."""
        self.log = log
        self._command = list(command)
        self._environment = dict(environment or {})
        self._user = user
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self._command[0]} was not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, is_ready: Callable[[], bool] = lambda: True) -> None:
        """Return when it is ready. Raises RuntimeError with the end of its log when that never comes."""
        assert not self.is_running, f"{self._command[0]} runs already"
        guardian.watch()
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self._environment},
                user=self._user,
                group=self._user,
                start_new_session=True,  # a Ctrl-C in the terminal is for us; we stop it then
            )
        self._await(is_ready, time.monotonic() + START_SECONDS)

    def _await(self, is_ready: Callable[[], bool], deadline: float) -> None:
        while not is_ready():
            if not self.is_running or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self._command[0]} does not start: {self.last_words()}")
            time.sleep(POLL_SECONDS)

    def stop(self, how: signal.Signals | None = None) -> None:
        """End it in its own way, or, when that takes too long, at once. Harmless when it does not run."""
        if not self.is_running:
            return
        self.resume()
        os.kill(self.pid, how or self._stop_signal)
        assert self._process is not None
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it and all that it has started with SIGKILL."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def freeze(self) -> None:
        """Stop the clock for it and for all that it has started; connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def last_words(self) -> str:
        return self.log.read_text("utf-8", "replace")[-_TAIL_BYTES:]

    def _signal(self, number: signal.Signals) -> None:
        if not self.is_running:
            return
        family = _family(self.pid)  # looked up before the first is dead: orphans have another parent
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if number == signal.SIGKILL:
            while any(map(is_alive, family[1:])):
                time.sleep(POLL_SECONDS)


def _family(pid: int) -> list[int]:
    """The process and its descendants, the oldest first. PostgreSQL's are not in its process group."""
    parents = dict(filter(None, map(_pid_and_parent, Path("/proc").glob("[0-9]*"))))
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def _pid_and_parent(folder: Path) -> tuple[int, int] | None:
    try:
        return int(folder.name), int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it ended while we looked
        return None


def is_alive(pid: int) -> bool:
    """Whether there is such a process that has not ended yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
