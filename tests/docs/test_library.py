"""The examples of docs/library.md run as they stand, in the order of the page, and print what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import entrepot
from entrepot.progress import State
from entrepot.testing.images import Index, index_of
from entrepot.testing.server import RegistryProcess
from tests.docs.publishing import plain_image, publish

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
TEXT = PAGE.read_text("utf-8")
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
PLATFORMS = ("linux/amd64", "linux/arm64")


def programs() -> list[re.Match[str]]:
    return [found for found in EXAMPLE.finditer(TEXT) if "def test_" not in found[1]]


def suites() -> list[str]:
    return [found[1] for found in EXAMPLE.finditer(TEXT) if "def test_" in found[1]]


@pytest.fixture
def registry_of_page(local: RegistryProcess, monkeypatch: pytest.MonkeyPatch) -> RegistryProcess:
    """localhost:5000 as the page describes it."""
    monkeypatch.delenv("ENTREPOT_ROOT", raising=False)
    local.start()
    for seed, tag in enumerate(("v1", "v2")):
        publish(index(seed), local.host, "team/app", tag)
    return local


def index(seed: int) -> Index:
    children = [
        plain_image(2, seed=10 * seed + number, size=20_000, platform=platform)
        for number, platform in enumerate(PLATFORMS)
    ]
    return index_of(children)


def test_examples_print_what_the_page_says(
    registry_of_page: RegistryProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    rewritten = TEXT
    for program in programs():
        capsys.readouterr()
        exec(compile(program[1], str(PAGE), "exec"), {"__name__": "__main__"})
        output = capsys.readouterr().out
        if program[2] is not None:
            rewritten = rewritten.replace(program[0], f"```python\n{program[1]}```\n\n```text\n{output}```\n")
        else:
            assert output == ""
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(rewritten, "utf-8")
    else:
        assert rewritten == TEXT, "what the examples print has changed; run: make docs"


@pytest.mark.parametrize("code", suites(), ids=lambda code: re.search(r"def (test_\w+)", code)[1])  # type: ignore[index]
def test_example_of_a_suite_passes(code: str, tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_page_names_every_function() -> None:
    functions = [name for name in entrepot.__all__ if name.islower() and not name.startswith("_")]
    assert [name for name in functions if f"`{name}(" not in TEXT] == []


def test_page_names_every_field_of_access() -> None:
    table = TEXT.partition("## Who asks, and how")[2].partition("```python")[0]
    assert [name for name in entrepot.Access.__dataclass_fields__ if f"`{name}`" not in table] == []


def test_page_names_every_state() -> None:
    assert [state.name for state in State if f"| `{state.name}` |" not in TEXT] == []
