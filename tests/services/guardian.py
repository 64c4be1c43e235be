"""Ends what a test run has started, should the run die without doing so itself, by SIGKILL or a crash.

Run as a program it waits for the end of its standard input, which comes with the end of the process that started it.
Then it ends every process that has the mark in its environment, as all have that were started by that process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

MARK = "TEST_RUN_OF"


@functools.cache
def watch() -> None:
    """Have this process watched from now on."""
    os.environ[MARK] = mark = uuid.uuid4().hex
    command = [sys.executable, "-I", "-S", __file__, mark]
    guardian = subprocess.Popen(command, stdin=subprocess.PIPE, env={}, start_new_session=True)
    atexit.register(guardian.communicate)


def _marked(mark: str) -> Iterator[int]:
    sought = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if sought in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


def main(mark: str) -> None:
    sys.stdin.buffer.read()
    while pids := list(_marked(mark)):  # again and again, because one may have started another meanwhile
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1])
