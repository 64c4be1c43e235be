"""Starting servers with settings of their own."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from entrepot.backends import prepare
from entrepot.config import load
from entrepot.testing.server import RegistryProcess
from tests.hostile.conftest import PATIENT


class Starter:
    """Starts registries below ``folder``, and stops them with the fixture. A new one gets a copy of ``database``."""

    def __init__(self, folder: Path, database: Path, stack: ExitStack) -> None:
        self._roots = (folder / f"registry-{number}" for number in itertools.count())
        self._database = database
        self._stack = stack

    def __call__(self, *flags: str, workers: int = 1, root: Path | None = None, **settings: object) -> RegistryProcess:
        """``settings`` are written with two underscores: ``limits__page_size=2``."""
        environment = {f"ENTREPOT_{key.upper()}": str(value) for key, value in settings.items()}
        process = RegistryProcess(
            root or self._new_root(), workers=workers, flags=flags, environment={**PATIENT, **QUICK_STOP, **environment}
        )
        return self._stack.enter_context(process)

    def _new_root(self) -> Path:
        root = next(self._roots)
        root.mkdir()
        shutil.copy(self._database, root)
        return root


# Where something has to be finished while the server stops, a test sets more.
QUICK_STOP = {"ENTREPOT_SERVER__GRACEFUL_STOP_SECONDS": "5"}
LONG = 600.0  # seconds that no test waits for


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once, because making one takes as long as all the rest of a start."""
    settings = load(overrides={"root": str(tmp_path_factory.mktemp("empty"))})
    prepare(settings)
    return settings.database_path


@pytest.fixture
def start(tmp_path: Path, empty_database: Path) -> Iterator[Starter]:
    with ExitStack() as stack:
        yield Starter(tmp_path, empty_database, stack)


@pytest.fixture(scope="module")
def start_for_all(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Starter]:
    """For servers that the tests of a module share."""
    with ExitStack() as stack:
        yield Starter(tmp_path_factory.mktemp("process"), empty_database, stack)
