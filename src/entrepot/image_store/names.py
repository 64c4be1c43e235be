"""The names of the images there are, read at once and without a trace: for the shell, which waits for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from entrepot.errors import Invalid
from entrepot.folders import DATABASE_FILE
from entrepot.reference import ImageReference, Tag

MOST_NAMES = 10_000
_PATIENCE_SECONDS = 0.2

_SELECT = """
    SELECT r.name, t.name FROM repositories r JOIN tags t ON t.repository_id = r.id
    WHERE r.name LIKE '%/%' ORDER BY r.name, t.name LIMIT ?
"""


def names_beginning_with(text: str, root: Path) -> list[str]:
    """Names with tags, as ``images`` shows them or in full if that is what was begun. Nothing when in doubt."""
    return [name for reference in _references(root) for name in _spellings(reference) if name.startswith(text)]


def _spellings(reference: ImageReference) -> Iterator[str]:
    yield reference.familiar
    if reference.familiar != str(reference):
        yield str(reference)


def _references(root: Path) -> Iterator[ImageReference]:
    try:
        address = f"{(root / DATABASE_FILE).absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE_SECONDS)) as connection:
            rows = connection.execute(_SELECT, (MOST_NAMES,)).fetchall()
    except sqlite3.Error:
        return
    for name, tag in rows:
        try:
            yield ImageReference.from_stored_name(name, Tag(tag))
        except Invalid:
            continue
