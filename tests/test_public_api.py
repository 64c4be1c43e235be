"""What other people's code and shells rely on, and what starting the command line costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
import typing
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import entrepot
from entrepot import api, config
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


PUBLIC = [
    "Access",
    "Copied",
    "Credentials",
    "Digest",
    "Event",
    "ImageReference",
    "ImageRow",
    "ImageStore",
    "Listener",
    "NotFound",
    "Pulled",
    "RegistryError",
    "RegistryErrors",
    "RemoteRegistry",
    "RepositoryName",
    "Secret",
    "State",
    "Tag",
    "copy",
    "list_images",
    "list_repositories",
    "list_tags",
    "open_registry",
    "open_store",
    "pull",
    "push",
    "resolve",
    "tag",
]


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


def test_import_of_the_package_imports_next_to_nothing() -> None:
    new = modules_after("import entrepot") - modules_after("import importlib, typing")
    assert {name for name in new if name.startswith("entrepot")} == {"entrepot", "entrepot.version"}
    assert {name.partition(".")[0] for name in new} - sys.stdlib_module_names == {"entrepot"}
    assert new & HEAVY == set()


def test_library_does_not_import_the_server_or_the_command_line() -> None:
    new = modules_after("import entrepot; entrepot.pull")
    assert "entrepot.api" in new
    assert new & {"click", "granian", "prometheus_client", "pydantic", "structlog", "sqlalchemy", "yaml"} == set()
    assert new & {"entrepot.assembly", "entrepot.cli", "entrepot.config", "entrepot.jobs", "entrepot.server"} == set()


def test_package_exports_what_is_documented() -> None:
    assert sorted(entrepot.__all__) == sorted([*PUBLIC, "__version__"])
    assert sorted(api.__all__) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_exported_name_is_found_and_described(name: str) -> None:
    value = getattr(entrepot, name)
    assert value is getattr(api, name)
    assert name in dir(entrepot)
    assert name == "Listener" or inspect.getdoc(value)  # which is an alias


def test_name_that_is_not_exported_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'entrepot' has no attribute 'nosuch'"):
        entrepot.nosuch  # noqa: B018


@pytest.mark.parametrize("name", [name for name in PUBLIC if inspect.isfunction(getattr(api, name))])
def test_exported_function_says_its_types(name: str) -> None:
    function = getattr(api, name)
    hints = typing.get_type_hints(function)
    assert hints.keys() == inspect.signature(function).parameters.keys() | {"return"}


@pytest.mark.parametrize("name", [name for name in PUBLIC if inspect.isfunction(getattr(api, name))])
def test_exported_function_takes_its_options_by_name_only(name: str) -> None:
    common = {"root", "platform", "referrers", "access", "listener"}
    for parameter in inspect.signature(getattr(api, name)).parameters.values():
        if parameter.name in common and name != "open_store":
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY


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
        "without_password",
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
