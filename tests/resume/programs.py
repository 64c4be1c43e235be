"""``entrepot`` as a process of its own, to be stopped in the middle of what it does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_SECONDS = 100


class Program:
    """``entrepot ARGUMENTS`` over the image store at ``root``; killed when the block ends, if it has not ended."""

    def __init__(self, root: Path, *arguments: str) -> None:
        command = [sys.executable, "-u", "-m", "entrepot", *arguments, "--root", str(root)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for_line(self, text: str) -> None:
        """Return when it has printed a line with ``text``; raises AssertionError when it ends without."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if text in line:
                return
        raise AssertionError(f"it never said {text!r}: {self._process.communicate()}")

    def wait_until_idle(self, port: int) -> None:
        """Return when it has read all that came from ``port``, and none of its threads runs."""
        until(lambda: not _is_anything_unread(port) and self._sleeps() and self._sleeps(), "the program to be idle")

    def end(self, how: signal.Signals) -> tuple[int, str]:
        """Send a signal; its exit code, and what it has said to stderr."""
        self._process.send_signal(how)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Its exit code, and what it has said to stderr."""
        _, errors = self._process.communicate(timeout=_SECONDS)
        return self._process.returncode, errors

    def _sleeps(self) -> bool:
        time.sleep(0.02)  # how often it is looked at
        return all(_state(task) == "S" for task in Path(f"/proc/{self.pid}/task").iterdir())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def until(condition: Callable[[], bool], what: str) -> None:
    """Poll until it holds. Raises TimeoutError."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {_SECONDS} s for {what}")
        time.sleep(0.01)


def _state(task: Path) -> str:
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it has ended
        return "S"


def _is_anything_unread(port: int) -> bool:
    """Whether bytes wait in the receive queue of a socket connected to this port; proc(5), /proc/net/tcp."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        remote, queues = line.split()[2], line.split()[4]
        if int(remote.rpartition(":")[2], 16) == port and int(queues.partition(":")[2], 16):
            return True
    return False
