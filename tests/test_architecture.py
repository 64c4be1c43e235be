"""Rules about the source that no linter of ours knows; the layers are in pyproject.toml, for import-linter."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import entrepot

SOURCE = Path(entrepot.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80

# Each library has one home, so that it can be replaced in one place.
HOMES = {
    "aiohttp": {"transport", "store"},  # aiobotocore lets its errors out
    "aiobotocore": {"store"},
    "alembic": {"metadata"},
    "asyncpg": {"metadata"},
    "botocore": {"store"},
    "click": {"cli"},
    "granian": {"server"},
    "isal": {"layers"},
    "prometheus_client": {"server"},
    "pydantic": {"config"},
    "pydantic_core": {"config"},
    "pydantic_settings": {"config"},
    "pytest": {"testing"},
    "sqlalchemy": {"metadata"},
    "structlog": {"server", "jobs"},  # set up in server/logs.py; called where there is something to tell
    "uvloop": {"server", "cli"},
    "yaml": {"cli"},
    "yarl": {"transport"},  # the addresses of aiohttp
    "zstandard": {"layers"},
}

ENVIRONMENT_READERS = {
    "config": "finds the settings",
    "api": "a program's shell is its caller",
    "cli": "the user's shell is its caller",
    "testing": "passes the environment on to the server it starts",
}

# Each of them can run code that somebody put into the data.
SERIALISERS_THAT_RUN_CODE = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}


@cache
def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"), str(file))


def module_name(file: Path) -> str:
    parts = ("entrepot", *file.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def place(file: Path) -> str:
    """The folder directly below the package, or the module, that ``file`` belongs to."""
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def where(file: Path, node: ast.stmt | ast.expr) -> str:
    return f"{file.relative_to(SOURCE.parent)}:{node.lineno}"


MODULES = {module_name(file): file for file in FILES}


def imported(node: ast.AST) -> Iterator[str]:
    """The dotted names that an import statement names; a name taken from a package may be a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        assert node.module is not None
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if full in MODULES else node.module


def imports(file: Path) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in imported(node):
                yield node, name


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_function_imports_our_own_modules() -> None:
    assert [
        f"{where(file, inner)} imports {name}"
        for file in FILES
        for function in functions(file)
        for inner in ast.walk(function)
        if isinstance(inner, ast.Import | ast.ImportFrom)
        for name in imported(inner)
        if name.partition(".")[0] == "entrepot"
    ] == []


def test_modules_import_each_other_without_cycles() -> None:
    graph = {
        module: {name for _, name in imports(file) if name in MODULES and name != module}
        for module, file in MODULES.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def environment_reads(file: Path) -> Iterator[ast.stmt | ast.expr]:
    """Uses of the environment other than ``os.environ[NAME] = value``, by which some libraries are configured."""
    readers = {"environ", "environb", "getenv"}
    nodes = list(ast.walk(parse(file)))
    written = {id(node.value) for node in nodes if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)}
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in readers and id(node) not in written:
            yield node
        if isinstance(node, ast.ImportFrom) and any(alias.name in readers for alias in node.names):
            yield node


def test_only_configuration_reads_the_environment() -> None:
    assert [
        where(file, node)
        for file in FILES
        if place(file) not in ENVIRONMENT_READERS
        for node in environment_reads(file)
    ] == []


def test_each_library_is_imported_in_its_home_only() -> None:
    assert [
        f"{where(file, node)} imports {library}, at home in {sorted(HOMES.get(library, set())) or 'nothing yet'}"
        for file in FILES
        for node, name in imports(file)
        for library in [name.partition(".")[0]]
        if library != "entrepot"
        and library not in sys.stdlib_module_names
        and place(file) not in HOMES.get(library, set())
    ] == []


def test_no_module_imports_a_serialiser_that_runs_code() -> None:
    assert [
        f"{where(file, node)} imports {name}"
        for file in FILES
        for node, name in imports(file)
        if name.partition(".")[0] in SERIALISERS_THAT_RUN_CODE
    ] == []


def test_files_are_short() -> None:
    lengths = {str(file.relative_to(SOURCE)): len(file.read_text("utf-8").splitlines()) for file in FILES}
    assert {file: length for file, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{where(file, function)} {function.name}": (function.end_lineno or function.lineno) - function.lineno + 1
        for file in FILES
        for function in functions(file)
    }
    assert {function: length for function, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}
