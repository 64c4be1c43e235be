"""Find programs, run daemons of our own, and skip where this machine lacks them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import pytest

STRICT = os.environ.get("ENTREPOT_INTEROP_STRICT") == "1"  # now: tests run without these variables
START_SECONDS = 120
STOP_SECONDS = 20


def lacking(reason: str) -> NoReturn:
    """Skip the test, or fail it where every client has to be there (``ENTREPOT_INTEROP_STRICT=1``)."""
    if STRICT:
        pytest.fail(reason)
    pytest.skip(reason)


def require_program(name: str, *, preferred: str | None = None) -> str:
    """The path of a program; skips when it is absent. ``preferred`` wins over the search path."""
    if preferred is not None and os.access(preferred, os.X_OK):
        return preferred
    found = shutil.which(name)
    return found if found is not None else lacking(f"{name} is not installed")


def require_root(name: str) -> None:
    if os.geteuid() != 0:
        lacking(f"{name} needs root here")


class Daemon:
    """A background program that is ready once ``is_ready`` says so, and is ended by its process id."""

    def __init__(self, command: Sequence[str], *, log: Path, is_ready: Callable[[], bool]) -> None:
        self._command = command
        self._log = log
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when ready; skips the test when that never comes."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                lacking(f"{self._command[0]} does not start here: {self._last_words()}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-600:]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
