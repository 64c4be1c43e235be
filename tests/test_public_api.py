"""What other people's code and shells rely on, and what starting the command line costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import entrepot
from entrepot import config
from entrepot.testing.server import RegistryProcess

PROJECT = Path(__file__).parent.parent / "pyproject.toml"

# Slow to import, and of no use to `entrepot --version` or to a client.
HEAVY = {
    "alembic",
    "asyncio",
    "granian",
    "prometheus_client",
    "pydantic",
    "pydantic_settings",
    "sqlalchemy",
    "structlog",
}
HEAVY |= {f"entrepot.{part}" for part in ("assembly", "config", "jobs", "metadata", "repositories", "server", "store")}


def modules_after(statement: str) -> set[str]:
    """What a new interpreter has imported after ``statement``, each with the packages above it."""
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return set(output.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("import entrepot.cli.main", id="import"),
        pytest.param("from entrepot.cli.main import run; run(['--version'])", id="version"),
        pytest.param("from entrepot.cli.main import run; run(['--help'])", id="help"),
    ],
)
def test_command_line_starts_without_heavy_modules(statement: str) -> None:
    assert modules_after(statement) & HEAVY == set()


def test_pytest_plugin_imports_nothing_heavy() -> None:
    before = modules_after("import pytest")
    assert (modules_after("import entrepot.testing.pytest_plugin") - before) & HEAVY == set()


def test_pytest_plugin_is_registered() -> None:
    plugins = {entry.name: entry.value for entry in entry_points(group="pytest11")}
    assert plugins["entrepot"] == "entrepot.testing.pytest_plugin"


def test_console_script_is_registered() -> None:
    [script] = entry_points(group="console_scripts", name="entrepot")
    assert script.value == "entrepot.cli.main:main"


def test_version_is_the_same_everywhere() -> None:
    assert tomllib.loads(PROJECT.read_text("utf-8"))["project"]["version"] == entrepot.__version__


def test_config_exports_what_is_documented() -> None:
    assert sorted(config.__all__) == [
        "FIELDS",
        "Loaded",
        "SECTIONS",
        "Settings",
        "check_exposure",
        "flag_of",
        "load",
        "read",
        "variable_of",
    ]


def test_registry_process_offers_what_suites_use() -> None:
    public = {name for name in dir(RegistryProcess) if not name.startswith("_")}
    assert public == {
        "host",
        "is_running",
        "kill",
        "log_text",
        "pid",
        "start",
        "stop",
        "url",
        "worker_pids",
    }
