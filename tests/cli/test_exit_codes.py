"""The exit codes of docs/cli.md, as a shell sees them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.cli import failures
from entrepot.testing.server import RegistryProcess

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "entrepot", *arguments]


def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


def test_page_lists_all_exit_codes() -> None:
    listed = re.findall(r"^\| (\d+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    codes = {
        value for name, value in vars(failures).items() if name.isupper() and name[0] != "_" and isinstance(value, int)
    }
    assert sorted(map(int, listed)) == sorted(codes)


def test_done_is_0(store_root: Path) -> None:
    done = shell("images")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["images", "--format", "{{"], "Error: template parsing error: template: :1: unclosed action\n"),
        (["tag", "Bad", "x"], "must be lowercase"),
        (["pull", "127.0.0.1:1/x"], "connection refused"),
        (["images", "--root", "/dev/null/x"], "/dev/null"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_failed_is_1(store_root: Path, arguments: list[str], message: str) -> None:
    done = shell(*arguments, *(["--retries", "0"] if arguments[0] == "pull" else []))
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


def test_absent_image_is_2(store_root: Path) -> None:
    done = shell("tag", "nosuch:1", "other:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: No such image: nosuch:1\n")


def test_absent_repository_of_a_registry_is_2(store_root: Path, registry: RegistryProcess) -> None:
    done = shell("pull", f"{registry.host}/nosuch/repository:1")
    assert done.returncode == 2
    assert "nosuch/repository" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pul"], "entrepot: 'pul' is not an entrepot command\n\nDid you mean entrepot pull?"),
        (["pull"], "entrepot: 'entrepot pull' requires 1 argument\n"),
        (["pull", "a", "b"], "entrepot: 'entrepot pull' requires 1 argument\n"),
        (["pull", "--bogus", "a"], "unknown flag: --bogus\n"),
        (["pull", "--progress", "loud", "a"], 'invalid argument for "--progress" flag: '),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_125(arguments: list[str], message: str) -> None:
    done = shell(*arguments)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(message)


@pytest.fixture
def silence() -> Iterator[socket.socket]:
    """A registry that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)
        yield server


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, "Terminated")]
)
@pytest.mark.parametrize("verb", ["pull", "login"])
def test_signal_ends_a_command_that_waits(
    store_root: Path, silence: socket.socket, number: signal.Signals, code: int, word: str, verb: str
) -> None:
    host = f"127.0.0.1:{silence.getsockname()[1]}"
    arguments = {"pull": ["pull", "--plain-http", f"{host}/x"], "login": ["login", "-u", "a", "-p", "b", host]}
    running = subprocess.Popen(
        command(*arguments[verb]), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    with running, silence.accept()[0]:
        running.send_signal(number)
        _, errors = running.communicate(timeout=120)
    kept = ": what has arrived is kept; the next pull goes on from there" if verb == "pull" else ""
    assert errors.splitlines()[-1] == word + kept
    assert "Traceback" not in errors
    assert running.returncode == code
