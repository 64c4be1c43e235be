"""Starting servers with settings of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from entrepot.testing.server import RegistryProcess


class Starter:
    """Starts registries below ``folder``, and stops them with the fixture."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._roots = (folder / f"registry-{number}" for number in itertools.count())
        self._stack = stack

    def __call__(self, *flags: str, workers: int = 1, root: Path | None = None, **settings: object) -> RegistryProcess:
        """``settings`` are written with two underscores: ``limits__page_size=2``."""
        environment = {f"ENTREPOT_{key.upper()}": str(value) for key, value in settings.items()}
        process = RegistryProcess(
            root or next(self._roots), workers=workers, flags=flags, environment={**QUICK_STOP, **environment}
        )
        return self._stack.enter_context(process)


QUICK_STOP = {"ENTREPOT_SERVER__GRACEFUL_STOP_SECONDS": "5"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    with ExitStack() as stack:
        yield Starter(tmp_path, stack)


@pytest.fixture(scope="module")
def start_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """For servers that the tests of a module share."""
    with ExitStack() as stack:
        yield Starter(tmp_path_factory.mktemp("process"), stack)
