from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WriteHelper = Callable[..., None]

_HEAD = """#!{python}
import json, os, sys, time
folder = os.path.dirname(os.path.abspath(__file__))
action, message = sys.argv[1], sys.stdin.read()
with open(os.path.join(folder, "calls"), "a") as calls:
    calls.write(action + " " + message + "\\n")
file = os.path.join(folder, "kept.json")
kept = json.load(open(file)) if os.path.exists(file) else {{}}
"""
_KEEP = """
if action == "get":
    if message not in kept:
        print("credentials not found in native keychain")
        sys.exit(1)
    print(json.dumps(kept[message]))
elif action == "store":
    kept[json.loads(message)["ServerURL"]] = json.loads(message)
elif kept.pop(message, None) is None:
    print("credentials not found in native keychain")
    sys.exit(1)
json.dump(kept, open(file, "w"))
"""


@pytest.fixture
def helpers(tmp_path: Path) -> Path:
    """A folder for credential helpers."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


@pytest.fixture
def write_helper(helpers: Path) -> WriteHelper:
    """Makes ``docker-credential-NAME``: one that keeps logins in a file, or that runs the lines given."""

    def write(name: str, program: str = _KEEP) -> None:
        file = helpers / f"docker-credential-{name}"
        file.write_text(_HEAD.format(python=sys.executable) + program)
        file.chmod(0o755)

    return write


@pytest.fixture
def environment(helpers: Path) -> dict[str, str]:
    return {"PATH": f"{helpers}{os.pathsep}{os.environ['PATH']}"}
