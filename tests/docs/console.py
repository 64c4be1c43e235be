"""Pages whose console blocks are run: every ``$ command`` in them, from the top, in one home.

``rewrite`` returns the page with the output that the commands have now; a test compares it with the page there is.
"""

from __future__ import annotations

import io
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from entrepot.cli.main import run

_PROMPT = "$ "
_LAYER = re.compile(r"[0-9a-f]{12}: ")
_HOW_FAR = re.compile(r"(Downloading|Pushing|Copying): ")  # every five seconds, on computers that are busy
_AGES = re.compile(r"\d+ years ago")
_ORDER = ("Preparing", "Pulling fs layer", "Waiting", "Verifying", "Download complete", "Pull complete")


@dataclass
class Shell:
    """Runs ``entrepot`` here and now, stdout and stderr together, and says what it printed as the page has it.

    ``layers`` are digests: side by side their lines may come in any order, the page has one. ``shown`` replaces what
    is different each time, ``specials`` stand for commands that cannot be run here.
    """

    captured: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    layers: tuple[str, ...] = ()
    shown: dict[str, str] = field(default_factory=dict)
    specials: dict[str, Callable[[], str]] = field(default_factory=dict)
    code: int = 0

    def run(self, line: str) -> str:
        """The output of one command line, without the last newline."""
        if line in self.specials:
            return self._as_shown(self.specials[line]())
        if line == "echo $?":
            return str(self.code)
        words, stdin = _split(line)
        assert words[0] == "entrepot", f"the page may only run entrepot, got: {line}"
        self.patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        self.captured.readouterr()
        self.patch.setattr("sys.stderr", sys.stdout)  # in the order of things
        self.code = run(words[1:])
        return self._as_shown(self.captured.readouterr().out)

    def _as_shown(self, output: str) -> str:
        for text, stand_in in self.shown.items():
            output = output.replace(text, stand_in)
        output = _AGES.sub("3 years ago", output)
        lines = [line.rstrip() for line in output.splitlines() if not _HOW_FAR.match(line)]
        return "\n".join(self._in_order(lines))

    def _in_order(self, lines: list[str]) -> Iterator[str]:
        waiting: list[str] = []
        for line in lines:
            if _LAYER.match(line):
                waiting.append(line)
                continue
            yield from sorted(waiting, key=self._place)
            waiting.clear()
            yield line
        yield from sorted(waiting, key=self._place)

    def _place(self, line: str) -> tuple[int, int]:
        layer, _, state = line.partition(": ")
        short = [digest.partition(":")[2][:12] for digest in self.layers]
        rank = next((rank for rank, words in enumerate(_ORDER) if state.startswith(words)), len(_ORDER))
        return rank, short.index(layer) if layer in short else len(short)


def _split(line: str) -> tuple[list[str], str]:
    """The words of a command, and what it reads: ``echo TEXT | command``."""
    before, pipe, after = line.partition(" | ")
    if not pipe:
        return shlex.split(line), ""
    echo, *text = shlex.split(before)
    assert echo == "echo", f"only echo may come before a pipe, got: {line}"
    return shlex.split(after), " ".join(text) + "\n"


def rewrite(page: str, shell: Shell) -> str:
    """``page`` with the output in its console blocks as it is now."""
    result: list[str] = []
    in_block = False
    for line in page.splitlines():
        if line.startswith("```"):
            in_block = line == "```console"
            result.append(line)
        elif not in_block:
            result.append(line)
        elif line.startswith(_PROMPT):
            result.append(line)
            if output := shell.run(line.removeprefix(_PROMPT)):
                result.append(output)
    return "\n".join(result) + "\n"
