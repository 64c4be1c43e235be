from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import entrepot
from entrepot.cli.main import COMMANDS, run
from entrepot.cli.main import entrepot as root_command
from entrepot.errors import BlobUnknown, RegistryErrors


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command below ``command`` that does something, by the words that call it."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child, (*path, name))


ALL = dict(commands(root_command))


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"entrepot {entrepot.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]], ids=["nothing", "--help", "-h"])
def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run(arguments) == 0
    output = capsys.readouterr().out
    assert all(entry.summary in output for entry in COMMANDS.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_summary_in_the_list_is_the_command_s_own(name: str) -> None:
    assert ALL[name].get_short_help_str(200) == COMMANDS[name].summary


@pytest.mark.parametrize("words", ALL)
def test_every_command_has_help_with_an_example(words: str) -> None:
    help_text = ALL[words].help or ""
    assert "Example:\n" in help_text
    assert f"entrepot {words}".strip() in help_text


@pytest.mark.parametrize("words", ALL)
def test_every_option_has_help(words: str) -> None:
    options = [option for option in ALL[words].params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["--frobnicate"], ["config", "show", "--frobnicate"], ["config", "check", "extra"]],
    ids=" ".join,
)
def test_wrong_usage_ends_with_125(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run(arguments) == 125
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Usage: entrepot" in captured.err
    assert "Error: " in captured.err


@click.command()
def interrupted() -> None:
    raise KeyboardInterrupt


@click.command()
def refused() -> None:
    raise BlobUnknown("no such blob", hint="push it first")


@click.command()
def refused_twice() -> None:
    raise RegistryErrors([BlobUnknown("no blob a"), BlobUnknown("no blob b")])


@click.command()
def denied_by_system() -> None:
    raise PermissionError(13, "Permission denied", "/srv")


@pytest.mark.parametrize(
    ("command", "code", "output"),
    [
        pytest.param(interrupted, 130, "", id="interrupted"),
        pytest.param(refused, 1, "Error: no such blob\nHint: push it first\n", id="registry error"),
        pytest.param(refused_twice, 1, "Error: no blob a\nError: no blob b\n", id="registry errors"),
        pytest.param(denied_by_system, 1, "Error: [Errno 13] Permission denied: '/srv'\n", id="system error"),
    ],
)
def test_failure_becomes_exit_code_and_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: click.Command, code: int, output: str
) -> None:
    monkeypatch.setattr(root_command, "get_command", lambda context, name: command)
    assert run(["anything"]) == code
    assert capsys.readouterr().err.strip("\n") == output.strip("\n")


def test_module_can_be_run() -> None:
    done = subprocess.run([sys.executable, "-m", "entrepot", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"entrepot {entrepot.__version__}\n"


def test_output_into_a_closed_pipe_fails_without_traceback(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "entrepot", "config", "show", "--root", str(tmp_path)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
