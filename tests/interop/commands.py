"""Run a client's command and look at what it printed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_SECONDS = 250  # below pytest's own limit, so that the command's output is shown


@dataclass(frozen=True)
class Outcome:
    """A finished command: how it ended and what it printed."""

    command: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout + self.stderr

    def checked(self) -> Outcome:
        """Itself, if the command ended well."""
        assert self.status == 0, f"{' '.join(self.command)} ended with {self.status}:\n{self.text}"
        return self


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Outcome:
    """Run to the end, in ``folder``, with ``environment`` added to our own."""
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Outcome(tuple(command), done.returncode, done.stdout, done.stderr)


def begin(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start and return at once; the caller waits for it or kills it."""
    return subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
