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
# The setting is local to the statement's own transaction, and in force when that is committed.
_WITHOUT_SYNC = (
    "WITH changed AS ({}) SELECT * FROM changed WHERE (SELECT set_config('synchronous_commit', 'off', true)) <> ''"
)
_NAME = re.compile(r"(?<![:\w]):([a-z]\w*)")


@dataclass(frozen=True, slots=True)
class NumberedText:
    """``$1`` is the value of ``names[0]``, and so on."""

    text: str
    names: tuple[str, ...]

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        return [values[name] for name in self.names]

    @property
    def without_sync(self) -> str:
        """The same change, committed without waiting until the disk has it. It has to return rows."""
        return _WITHOUT_SYNC.format(self.text)


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
