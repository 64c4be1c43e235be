"""docs/conformance.md is whole, and every test it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "conformance.md"

# How many items there are of each kind.
COUNTS = {
    "GEN": 14,
    "PM": 9,
    "PB": 6,
    "EX": 4,
    "UP": 7,
    "CH": 14,
    "MT": 4,
    "MF": 13,
    "SU": 2,
    "TG": 5,
    "RF": 8,
    "DL": 6,
    "FB": 2,
    "PX": 1,
    "XT": 2,
    "IM": 19,
    "DK": 6,
}
ENDS = ["1", "2", "3", "4a", "4b", "4c", "5", "6", "7a", "7b", "8a", "8b", "9", "10", "11", "12a", "12b", "13", "14"]
ITEMS = [
    *(f"end-{end}" for end in ENDS),
    "ext",
    "docker",
    *(f"{kind}-{number}" for kind, count in COUNTS.items() for number in range(1, count + 1)),
    *(f"Q{number}" for number in range(1, 21)),
    "zb",
    *(f"D-{number}" for number in range(1, 17)),
]
# Why a row may name no test: somebody else's duty, not there yet, or nothing to show.
REASONS = ("For clients", "Later", "not used", "not from a file system")

ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| item ")
]
TEST = re.compile(r"`([a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")


@cache
def names_in(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_read_page_finds_every_item_once_and_in_order() -> None:
    assert [row[0] for row in ROWS] == ITEMS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_read_page_finds_tests_that_exist(row: list[str]) -> None:
    named = TEST.findall(row[-1])
    missing = [f"{file}::{name}" for file, name in named if name not in names_in(TESTS / file)]
    assert missing == []
    assert row[-1].replace("`", "") == (", ".join(f"{file}::{name}" for file, name in named) or "–")


@pytest.mark.parametrize("row", [row for row in ROWS if row[-1] == "–"], ids=lambda row: row[0])
def test_read_row_without_test_finds_the_reason(row: list[str]) -> None:
    assert row[-2].startswith(REASONS)
