from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import entrepot
from entrepot.cli.main import COMMANDS, run
from entrepot.cli.main import entrepot as root_command
from entrepot.errors import BlobUnknown, RegistryErrors, TagInvalid


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
    ("arguments", "lines"),
    [
        (["--frobnicate"], ["unknown flag: --frobnicate", "Usage: entrepot [OPTIONS]", "See 'entrepot --help'"]),
        (["frobnicate"], ["entrepot: 'frobnicate' is not an entrepot command", "See 'entrepot --help'"]),
        (
            ["completon"],
            [
                "entrepot: 'completon' is not an entrepot command",
                "Did you mean entrepot completion?",
                "See 'entrepot --help'",
            ],
        ),
        (["image", "ls"], ["Did you mean entrepot images, inspect, history, rmi or prune?"]),
        (["admin"], ["Usage: entrepot admin [OPTIONS] COMMAND [ARGS]...", "Commands:"]),
        (["sync"], ['required flag "--file" not set', "Usage: entrepot sync [OPTIONS] [DESTINATION]"]),
        (["help"], ["Did you mean entrepot --help?"]),
        (
            ["run", "app"],
            ["'run' is not an entrepot command", "Images are kept and moved here, but neither built nor run."],
        ),
        (["config", "shw"], ["'shw' is not an entrepot config command", "Did you mean entrepot config show?"]),
        (
            ["config", "show", "--bogus"],
            ["unknown flag: --bogus", "Usage: entrepot config show [OPTIONS]", "See 'entrepot config show --help'"],
        ),
        (["config", "show", "--databas"], ["unknown flag: --databas", "Did you mean --database?"]),
        (["serve", "-z"], ["unknown shorthand flag: 'z' in -z"]),
        (["serve", "--root"], ["flag needs an argument: --root", "See 'entrepot serve --help'"]),
        (["serve", "--workers", "x"], ["invalid argument for \"--workers\" flag: 'x' is not a valid integer"]),
        (
            ["config", "check", "extra"],
            ["entrepot: 'entrepot config check' accepts no arguments", "Usage: entrepot config check [OPTIONS]"],
        ),
        (["\x1b[2J"], ["'\\x1b[2J' is not an entrepot command"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_ends_with_125_in_docker_s_words(
    capsys: pytest.CaptureFixture[str], arguments: list[str], lines: list[str]
) -> None:
    assert run(arguments) == 125
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line for line in lines if line not in captured.err] == []


@click.command()
@click.argument("first")
@click.argument("second")
def two(first: str, second: str) -> None: ...


@click.command()
@click.argument("names", nargs=-1, required=True)
def some(names: tuple[str, ...]) -> None: ...


@click.command()
@click.argument("name", required=False)
def perhaps(name: str | None) -> None: ...


@pytest.mark.parametrize(
    ("command", "arguments", "requirement"),
    [
        (two, [], "requires 2 arguments"),
        (two, ["a"], "requires 2 arguments"),
        (two, ["a", "b", "c"], "requires 2 arguments"),
        (some, [], "requires at least 1 argument"),
        (perhaps, ["a", "b"], "requires at most 1 argument"),
    ],
)
def test_wrong_number_of_arguments_is_said_as_docker_does(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: click.Command,
    arguments: list[str],
    requirement: str,
) -> None:
    monkeypatch.setattr(root_command, "get_command", lambda context, name: command)
    assert run(["anything", *arguments]) == 125
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"entrepot: 'entrepot anything' {requirement}"
    assert lines[-1] == "See 'entrepot anything --help'"


class Failing(click.Command):
    def __init__(self, error: BaseException) -> None:
        super().__init__("failing")
        self.error = error

    def invoke(self, ctx: click.Context) -> None:
        raise self.error


FULL = OSError(errno.ENOSPC, "No space left on device", "/srv/blobs")


@pytest.mark.parametrize(
    ("error", "code", "output"),
    [
        pytest.param(KeyboardInterrupt(), 130, "Interrupted\n", id="interrupted"),
        pytest.param(click.Abort(), 130, "Interrupted\n", id="interrupted in a prompt"),
        pytest.param(
            BlobUnknown("no such blob", hint="push it"), 2, "Error: no such blob\nHint: push it\n", id="not found"
        ),
        pytest.param(TagInvalid("no tag: x"), 1, "Error: no tag: x\n", id="registry error"),
        pytest.param(TagInvalid("\x1b]0;x\x07", hint=3), 1, "Error: ?]0;x?\n", id="control characters"),
        pytest.param(RegistryErrors([BlobUnknown("a"), BlobUnknown("b")]), 2, "Error: a\nError: b\n", id="two absent"),
        pytest.param(RegistryErrors([BlobUnknown("a"), TagInvalid("b")]), 1, "Error: a\nError: b\n", id="two kinds"),
        pytest.param(ExceptionGroup("", [ExceptionGroup("", [TagInvalid("b")])]), 1, "Error: b\n", id="group"),
        pytest.param(
            RegistryErrors([TagInvalid("a")] * 30), 1, "Error: a\n" * 20 + "... and 10 more errors\n", id="thirty"
        ),
        pytest.param(PermissionError(13, "Permission denied", "/srv"), 1, "Error: Permission denied: /srv\n", id="os"),
        pytest.param(TimeoutError(), 1, "Error: TimeoutError\n", id="os without words"),
        pytest.param(
            FULL,
            1,
            "Error: No space left on device: /srv/blobs\nHint: make room and run it again; what is there is kept\n",
            id="full disk",
        ),
        pytest.param(click.FileError("x", "gone"), 1, "Error: Could not open file 'x': gone\n", id="file"),
        pytest.param(
            KeyError("x"),
            1,
            "Error: this should not happen: KeyError: 'x'\nHint: run it again with ENTREPOT_DEBUG=1 to see where\n",
            id="mistake of ours",
        ),
    ],
)
def test_failure_becomes_exit_code_and_message(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    output: str,
) -> None:
    monkeypatch.delenv("ENTREPOT_DEBUG", raising=False)
    monkeypatch.setattr(root_command, "get_command", lambda context, name: Failing(error))
    assert run(["anything"]) == code
    assert capsys.readouterr() == ("", output)


@pytest.mark.parametrize("error", [KeyError("x"), BlobUnknown("no such blob")], ids=repr)
def test_failure_with_debugging_on_shows_where(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setenv("ENTREPOT_DEBUG", "1")
    monkeypatch.setattr(root_command, "get_command", lambda context, name: Failing(error))
    run(["anything"])
    captured = capsys.readouterr()
    assert "Traceback" in captured.err
    assert "in invoke" in captured.err


class Signalled(click.Command):
    """A command that gets a signal while asyncio runs."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__("signalled")
        self.number = number
        self.was_closed = False

    def invoke(self, ctx: click.Context) -> None:
        asyncio.run(self._wait())

    async def _wait(self) -> None:
        signal.raise_signal(self.number)
        try:
            await asyncio.Event().wait()
        finally:
            self.was_closed = True


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, "Terminated")]
)
def test_signal_closes_what_is_open_and_says_what_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int, word: str
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    command = Signalled(number)
    monkeypatch.setattr(root_command, "get_command", lambda context, name: command)
    assert run(["pull"]) == code
    assert capsys.readouterr().err == f"{word}: what has arrived is kept; the next pull goes on from there\n"
    assert command.was_closed
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_ends_a_command_that_ignores_sigint(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(root_command, "get_command", lambda context, name: Signalled(signal.SIGTERM))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run(["pull"]) == 143
    finally:
        signal.signal(signal.SIGINT, before)


def test_server_handles_signals_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = []
    before = signal.getsignal(signal.SIGTERM)

    @click.command()
    def look() -> None:
        handlers.append(signal.getsignal(signal.SIGTERM))

    monkeypatch.setattr(root_command, "get_command", lambda context, name: look)
    assert [run(["serve"]), run(["pull"])] == [0, 0]
    assert handlers[0] is before
    assert handlers[1] is not before


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


def test_output_onto_a_full_disk_is_an_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "entrepot", "config", "show", "--root", str(tmp_path)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "Error: No space left on device")


def test_output_in_a_locale_without_its_letters_does_not_fail(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "entrepot", "config", "show", "--root", str(tmp_path / "é")]
    environment = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert done.stdout
