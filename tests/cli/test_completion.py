"""``entrepot completion``, in bash itself where there is one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.cli.main import COMMANDS, run
from entrepot.image_store.names import names_beginning_with

NAMES = [
    ("docker.io/library/nginx", "1.23.3"),
    ("docker.io/library/nginx", "1.23.4"),
    ("localhost__5000/team/app", "v1"),
    ("pushed-to-the-server", "v1"),
    ("untagged", "x"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root whose database has these names."""
    with closing(sqlite3.connect(tmp_path / "entrepot.db")) as connection:
        connection.execute("CREATE TABLE repositories (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("CREATE TABLE tags (repository_id INTEGER, name TEXT)")
        for number, (name, tag) in enumerate(NAMES):
            connection.execute("INSERT INTO repositories VALUES (?, ?)", (number, name))
            connection.execute("INSERT INTO tags VALUES (?, ?)", (number, tag))
        connection.commit()
    return tmp_path


@pytest.mark.parametrize(
    ("begun", "names"),
    [
        ("ngi", ["nginx:1.23.3", "nginx:1.23.4"]),
        ("nginx:1.23.4", ["nginx:1.23.4"]),
        ("docker.io/library/nginx:1.23.3", ["docker.io/library/nginx:1.23.3"]),
        ("localhost:", ["localhost:5000/team/app:v1"]),
        ("pushed", []),
        ("zzz", []),
    ],
)
def test_complete_name_from_the_store(root: Path, begun: str, names: list[str]) -> None:
    assert names_beginning_with(begun, root) == names


def test_complete_name_without_a_store_leaves_no_trace(tmp_path: Path) -> None:
    assert names_beginning_with("", tmp_path / "none") == []
    assert list(tmp_path.iterdir()) == []


def test_complete_name_in_a_store_that_is_none_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "entrepot.db").write_bytes(b"no database at all" * 100)
    assert names_beginning_with("", tmp_path) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_print_script_for_each_shell(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_ENTREPOT_COMPLETE={shell}_complete" in script


def test_print_script_for_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "tcsh"]) == 125
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in capsys.readouterr().err


# What a script can do by itself when the user has typed $COMP_LINE and pressed the tabulator.
_PRESS_TAB = """
eval "$(entrepot completion bash)"
COMP_POINT=${#COMP_LINE}
_entrepot_completion entrepot
printf '%s\\n' "${COMPREPLY[@]}"
"""


def press_tab(line: str, root: Path, **environment: str) -> list[str]:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", _PRESS_TAB],
        env=os.environ | {"COMP_LINE": line, "ENTREPOT_ROOT": str(root), "PATH": path} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("entrepot pul", ["pull"]),
        ("entrepot config sh", ["show"]),
        ("entrepot images --dig", ["--digests"]),
        ("entrepot serve --log-level d", ["debug"]),
        ("entrepot tag ngi", ["nginx:1.23.3", "nginx:1.23.4"]),
        ("entrepot tag nginx:1.23.4", ["1.23.4"]),
        ("entrepot tag localhost:5", ["5000/team/app:v1"]),
        ("entrepot tag localhost:5000/team/app:", ["v1"]),
        ("entrepot images --format '{{.ID}} {{.Tag}}' lo", ["localhost:5000/team/app:v1"]),
    ],
)
def test_press_tab_in_bash_completes_what_was_begun(root: Path, line: str, answers: list[str]) -> None:
    assert press_tab(line, root) == answers


def test_press_tab_after_another_root_completes_its_names(root: Path, tmp_path: Path) -> None:
    assert press_tab(f"entrepot tag --root {root} localhost", tmp_path / "other") == ["localhost:5000/team/app:v1"]


def test_press_tab_in_bash_lists_all_commands(root: Path) -> None:
    assert press_tab("entrepot ", root) == sorted(COMMANDS)
