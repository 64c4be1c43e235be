"""What the pages say of commands, files and each other is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import click
import pytest

import entrepot
from entrepot.cli.main import COMMANDS
from entrepot.cli.main import entrepot as root_command

ROOT = Path(__file__).parents[2]
SOURCE = Path(entrepot.__file__).parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_END = ("|", "<", ">", "&", "&&", "#")  # of what the shell gives to a command
_OMITTED = ("...", "…")
_PREFIXES = ("$ ", ".venv/bin/")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def command_lines(page: Path) -> Iterator[str]:
    """Every command of ours that a box of the page begins a line with."""
    for language, content in _FENCED.findall(page.read_text("utf-8")):
        if language in ("", "sh", "console"):
            for line in content.splitlines():
                for prefix in _PREFIXES:
                    line = line.removeprefix(prefix)
                if (
                    line.startswith("entrepot ")
                    and "[OPTIONS]" not in line
                    and (language != "console" or f"$ {line}" in content)
                ):
                    yield line


def inline_commands(page: Path) -> Iterator[str]:
    """Commands in the text, e.g. `entrepot rmi`."""
    text = _FENCED.sub("", page.read_text("utf-8"))
    yield from (found for found in _INLINE.findall(text) if re.match(r"entrepot [a-z]", found))


def is_right(line: str) -> bool:
    """The pages show one that is not."""
    return not re.match(r"entrepot (pul\b|pull$|pull --bogus|listens)", line)


LINES = sorted({(name_of(page), line) for page in PAGES for line in command_lines(page) if is_right(line)})
INLINE = sorted({(name_of(page), line) for page in PAGES for line in inline_commands(page) if is_right(line)})


def words_of(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>&")
    lexer.whitespace_split = True
    return list(takewhile(lambda word: word not in _END, lexer))


def find(words: list[str]) -> tuple[click.Command, list[str], click.Context]:
    """The command that the words call, and what is left of them. Raises click.UsageError."""
    context, rest = click.Context(root_command, info_name="entrepot"), words
    command: click.Command | None = root_command
    while isinstance(command, click.Group) and rest:
        _, command, rest = command.resolve_command(context, list(rest))
    assert command is not None
    return command, list(rest), context


@pytest.mark.parametrize(("page", "line"), LINES, ids=lambda value: value)
def test_command_line_in_a_box_is_understood(page: str, line: str) -> None:
    command, rest, context = find(words_of(line)[1:])
    with command.make_context("entrepot", rest, parent=context) as made:
        assert made.args == []


@pytest.mark.parametrize(("page", "line"), INLINE, ids=lambda value: value)
def test_command_in_the_text_is_there(page: str, line: str) -> None:
    words = [word for word in words_of(line)[1:] if word not in _OMITTED]
    assert words[0] in COMMANDS
    command, rest, _ = find(words)
    flags = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    flags |= {"--help", "-h"}
    given = {word.partition("=")[0] for word in rest if word.startswith("-")}
    assert given <= flags


def links(page: Path) -> Iterator[str]:
    yield from _LINK.findall(_FENCED.sub("", page.read_text("utf-8")))


LINKS = sorted({(name_of(page), link) for page in PAGES for link in links(page) if "://" not in link})


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(("page", "link"), LINKS, ids=lambda value: value)
def test_link_leads_somewhere(page: str, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
    assert target.exists()
    if anchor:
        assert anchor in anchors(target)


def source_files() -> set[str]:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    return set(re.findall(r"`((?:[a-z_]+/)*[a-z_0-9]+\.py)`", text))


@pytest.mark.parametrize("file", sorted(source_files()))
def test_file_that_the_architecture_names_is_there(file: str) -> None:
    assert (SOURCE / file).is_file() or (ROOT / "src" / file).is_file()


@pytest.mark.parametrize("folder", sorted(path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()))
def test_architecture_names_every_package(folder: str) -> None:
    assert re.search(rf"\b{folder}\b", (ROOT / "ARCHITECTURE.md").read_text("utf-8"))


def test_every_page_is_linked_from_the_first() -> None:
    linked = {link.partition("#")[0] for link in links(ROOT / "README.md")}
    pages = {name_of(page) for page in PAGES if page.parent != ROOT / "docs" / "adr"}
    assert pages - linked == {"README.md"}
