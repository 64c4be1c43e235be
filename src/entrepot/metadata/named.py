"""A statement by its name, e.g. ``blobs.SELECT_LINKED``: the operations' side of the folder ``sql/``.

Running an operation does not take SQLAlchemy that way, which needs longer to be imported than many a command to run: a
driver looks the text up by the name, in ``texts.py``.
"""

from __future__ import annotations


class Named(str):
    """``MODULE.NAME`` of a statement in ``entrepot.metadata.sql``."""

    __slots__ = ()
