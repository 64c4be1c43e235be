"""Fixtures for every test."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from entrepot.metadata.migrate import upgrade_sqlite
from tests.services import guardian

pytest_plugins = ["tests.services.fixtures"]

# no limits of time: other work may hold the processor
settings.register_profile("entrepot", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("entrepot")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as shells start what runs in the background; what we start would ignore the Ctrl-C that tests send as well
    signal.signal(signal.SIGINT, signal.default_int_handler)

_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy"}


@pytest.fixture(scope="session", autouse=True)
def _clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the developer's shell says must not change a result, and no test may touch the user's own registry."""
    guardian.watch()
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("ENTREPOT_") or name.lower() in _PROXIES:
                patch.delenv(name)
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def _new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "entrepot.db"
    upgrade_sqlite(path)
    return path


@pytest.fixture
def database(_new_database: Path, tmp_path: Path) -> Path:
    """A database with its tables and nothing in them: a copy, because migrations take their time."""
    return Path(shutil.copy(_new_database, tmp_path))
