"""The text that SQLite gets for each named statement; ``compiled.py`` makes it from what is in ``sql/``.

It is kept in ``sqlite_texts.json``, which ``make docs`` writes and a test holds against the statements.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from entrepot.metadata.named import Named

FILE = "sqlite_texts.json"


@dataclass(frozen=True, slots=True)
class Text:
    """A statement with question marks."""

    text: str
    names: tuple[str, ...]  # of the parameters, in the order of the text
    defaults: Mapping[str, Any]  # constants of the statement

    def with_values(self, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        """The text and its parameters."""
        if self.defaults:
            values = {**self.defaults, **values}
        return self.text, [values[name] for name in self.names]


@cache
def texts() -> Mapping[str, Text]:
    """Every text by its name."""
    entries = json.loads(files("entrepot.metadata").joinpath(FILE).read_text("utf-8"))
    return {name: Text(entry["text"], tuple(entry["names"]), entry["defaults"]) for name, entry in entries.items()}


def with_values(statement: Named, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
    """What to run for a statement and its values by name."""
    return texts()[statement].with_values(values)
