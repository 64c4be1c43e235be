"""The text that a database gets for each named statement; ``compiled.py`` makes it from what is in ``sql/``.

It is kept in ``sqlite_texts.json``, which ``make docs`` writes and a test holds against the statements.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from entrepot.metadata.named import Named

FILE = "sqlite_texts.json"
_LIST = re.compile(r"\(\[(\w+)\]\)")


@dataclass(frozen=True, slots=True)
class Text:
    """A statement with question marks. A list of any length stands in it as ``([name])``."""

    text: str
    names: tuple[str, ...]  # of the parameters, in the order of the text
    defaults: Mapping[str, Any]  # constants of the statement
    _forms: dict[tuple[int, ...], str] = field(default_factory=dict)

    @property
    def lists(self) -> list[str]:
        return _LIST.findall(self.text)

    def with_values(self, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        """The text and its parameters; lists are spread over as many question marks as they need."""
        if self.defaults:
            values = {**self.defaults, **values}
        if "([" not in self.text:
            return self.text, [values[name] for name in self.names]
        return self._spread(values)

    def _spread(self, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        lists = set(self.lists)
        lengths = tuple(len(values[name]) for name in self.lists)
        if lengths not in self._forms:
            self._forms[lengths] = _LIST.sub(lambda found: _marks(len(values[found[1]])), self.text)
        flat: list[Any] = []
        for name in self.names:
            flat += values[name] if name in lists else [values[name]]
        return self._forms[lengths], flat


@cache
def texts() -> Mapping[str, Text]:
    """Every text by its name."""
    entries = json.loads(files("entrepot.metadata").joinpath(FILE).read_text("utf-8"))
    return {name: Text(entry["text"], tuple(entry["names"]), entry["defaults"]) for name, entry in entries.items()}


def with_values(statement: Named, values: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
    """What to run for a statement and its values by name."""
    return texts()[statement].with_values(values)


def _marks(count: int) -> str:
    return f"({', '.join('?' * count)})" if count else "(NULL)"  # of an empty list nothing is a member
