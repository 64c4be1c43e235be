"""Where things lie on a computer when nobody says otherwise."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

DATABASE_FILE = "entrepot.db"


def default_root(environment: Mapping[str, str]) -> Path:
    """The platform's folder for a user's data, and ``entrepot`` in it."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        base = Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "entrepot"
