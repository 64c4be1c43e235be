"""What ``--help`` says of every command, and the page made of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import click
import pytest

from entrepot.cli.main import COMMANDS, KEPT, SECTIONS, run, sections
from entrepot.cli.main import entrepot as root_command
from entrepot.cli.manual import as_markdown

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words that call each command below ``command``."""
    if path:
        yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from walk(child, (*path, name))


ALL = list(walk(root_command))


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run([*words, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_of_command_fits_a_terminal_and_has_an_example(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    text = help_of(capsys, *words)
    assert text.startswith(f"Usage: entrepot {' '.join(words)} ")
    assert f"entrepot {' '.join(words)}" in text.partition("Example:\n")[2]
    assert [line for line in text.splitlines() if len(line) > 110] == []


def examples(words: tuple[str, ...]) -> Iterator[list[str]]:
    """The command lines of the examples that call this command, as words."""
    command: click.Command | None = root_command
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None
    example = (command.help or "").partition("Example:\n")[2].partition("\n\n")[0]
    for line in example.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        simple = list(takewhile(lambda word: word not in ("|", "<", ">", "&&"), lexer))
        if simple[: len(words) + 1] == ["entrepot", *words]:
            yield simple[1:]


@pytest.mark.parametrize("arguments", [example for words in ALL for example in examples(words)], ids=" ".join)
def test_example_in_the_help_is_understood(arguments: list[str]) -> None:
    context, rest = click.Context(root_command, info_name="entrepot"), arguments
    command: click.Command | None = root_command
    while isinstance(command, click.Group):
        _, command, rest = command.resolve_command(context, rest)
    assert command is not None
    with command.make_context(arguments[0], list(rest), parent=context) as made:
        assert made.args == []


def test_help_lists_every_command_under_a_title(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys)
    for title, names in sections():
        assert f"\n{title}:\n" in text
        assert [name for name in names if COMMANDS[name].summary[:30] not in text] == []
    assert {name for _, names in sections() for name in names} == COMMANDS.keys()


def test_no_command_is_listed_twice() -> None:
    names = [name for section in SECTIONS.values() for name in section]
    assert sorted(set(names)) == sorted(names)


def test_what_is_kept_is_said_of_commands_only() -> None:
    assert KEPT.keys() <= {name for section in SECTIONS.values() for name in section}


def test_page_of_commands_is_up_to_date() -> None:
    expected = as_markdown(click.Context(root_command, info_name="entrepot"))
    assert PAGE.read_text("utf-8") == expected, "the help has changed; run: make docs"


def test_print_page_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["manual"]) == 0
    assert capsys.readouterr().out == as_markdown(click.Context(root_command, info_name="entrepot"))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_page_of_commands_describes_each(words: tuple[str, ...]) -> None:
    assert f"\n### entrepot {' '.join(words)}\n" in PAGE.read_text("utf-8")
