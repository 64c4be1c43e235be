"""The text that PostgreSQL gets for a statement: numbered parameters instead of named ones.

Named statements are in ``postgresql_texts.json``, which ``make docs`` writes and a test holds against ``sql/``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from entrepot.metadata.named import Named

FILE = "postgresql_texts.json"
_NAME = re.compile(r"(?<![:\w]):([a-z]\w*)")


@dataclass(frozen=True, slots=True)
class NumberedText:
    """``$1`` is the value of ``names[0]``, and so on."""

    text: str
    names: tuple[str, ...]

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        return [values[name] for name in self.names]


@cache
def texts() -> Mapping[str, str]:
    """Every named statement, with ``:name`` parameters."""
    found: dict[str, str] = json.loads(files("entrepot.metadata").joinpath(FILE).read_text("utf-8"))
    return found


def text_of(statement: str) -> NumberedText:
    """What to run for a Named, or for plain SQL with ``:name`` parameters."""
    return _numbered(texts()[statement] if isinstance(statement, Named) else statement)


@cache
def _numbered(text: str) -> NumberedText:
    names = tuple(dict.fromkeys(_NAME.findall(text)))
    return NumberedText(_NAME.sub(lambda found: f"${names.index(found[1]) + 1}", text), names)
