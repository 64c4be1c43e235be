"""What is opened for which settings, and what is not imported for the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from entrepot.backends import is_shared
from entrepot.config import load

POSTGRESQL = "postgresql://127.0.0.1:1/names"


def run(program: str) -> str:
    """The last line that a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_embedded_server_needs_no_driver_of_a_shared_database_or_store(tmp_path: Path) -> None:
    modules = run(
        "import sys, entrepot.assembly as a; from entrepot.config import load\n"
        f"settings = load(overrides={{'root': {str(tmp_path)!r}}})\n"
        "a.prepare(settings); a.create_app(settings); print(*sys.modules)"
    ).split()
    assert "entrepot.backends.embedded" in modules
    assert {"asyncpg", "aiobotocore", "botocore", "sqlalchemy", "alembic"} & set(modules) == set()


@pytest.mark.parametrize(
    ("key", "url", "library", "extra"),
    [
        ("database", POSTGRESQL, "asyncpg", "postgresql"),
        ("store", "s3://bucket/prefix", "aiobotocore", "s3"),
    ],
)
def test_backend_whose_library_is_not_installed_says_what_to_install(
    tmp_path: Path, key: str, url: str, library: str, extra: str
) -> None:
    said = run(
        "import sys; from entrepot.backends import prepare; from entrepot.config import load\n"
        f"sys.modules[{library!r}] = None\n"
        f"try: prepare(load(overrides={{'root': {str(tmp_path)!r}, {key!r}: {url!r}}}))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    scheme = url.partition(":")[0]
    assert said.startswith("ConfigInvalid")
    assert f"{scheme}:// {key} needs the library {library}, which is not installed" in said
    assert f'pip install "entrepot[{extra}]"' in said


def test_postgresql_is_shared_and_sqlite_is_not() -> None:
    assert is_shared(load(overrides={"database": POSTGRESQL}))
    assert not is_shared(load())
