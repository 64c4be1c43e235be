"""Which tables a database has, and whether this program may work with them.

Tables are named by the revision that made them. Beside it stands the least revision that a program must know: a later
version that has only added tables and columns leaves that as it is, so that the version before goes on working while
the new one is rolled out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from entrepot.errors import Unavailable

HEAD = "0005"  # what this program knows
_REVISION = re.compile(r"[0-9]{4}")


@dataclass(frozen=True, slots=True)
class Version:
    """``revision`` is None when there are no tables yet; ``least`` before there was such a thing."""

    revision: str | None = None
    least: str | None = None

    @property
    def is_usable(self) -> bool:
        """Whether nothing is left to be done."""
        if self.revision is None or self.revision < HEAD:
            return False
        return self.revision == HEAD or (self.least is not None and self.least <= HEAD)

    def require_known(self, where: str) -> None:
        """Raise Unavailable when the tables are of a later version that this program cannot work with, or not ours."""
        if self.revision is not None and not _REVISION.fullmatch(self.revision):
            raise Unavailable(
                f"{where} holds tables of another program (Alembic calls them {self.revision}); name an empty database",
                revision=self.revision,
                known=HEAD,
            )
        if self.revision is not None and self.revision > HEAD and not self.is_usable:
            raise Unavailable(
                f"{where} was written by a later version of entrepot (its tables are at {self.revision}, this version "
                f"knows up to {HEAD}); install that version",
                revision=self.revision,
                known=HEAD,
            )
