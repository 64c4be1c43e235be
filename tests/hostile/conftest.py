"""One registry for all tests that only want to be refused, and what must hold of it before and after each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.assembly import check_store
from entrepot.config import load
from entrepot.testing.server import RegistryProcess

from .raw import ask
from .stored import look

_NAMES = (f"hostile/test-{number}" for number in itertools.count())
PATIENT = {
    "ENTREPOT_SERVER__HEADER_TIMEOUT_SECONDS": "600",
    "ENTREPOT_SERVER__IDLE_TIMEOUT_SECONDS": "600",
}
_SIGNS_OF_A_FAULT = ("Traceback", "unexpected error", "panicked", "request failed", "[ERROR]")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """So patient that no time limit of its own ends a connection while a test waits for that."""
    root = tmp_path_factory.mktemp("hostile") / "registry"
    with RegistryProcess(root, workers=2, environment=PATIENT) as process:
        yield process
        assert_sound(process)


@pytest.fixture
def port(server: RegistryProcess) -> int:
    return server.port


@pytest.fixture
def unchanged(server: RegistryProcess) -> Iterator[None]:
    """Nothing may be stored, and the server lives on."""
    before = look(server.root)
    yield
    assert look(server.root) == before
    assert ask(server.port, "GET", "/v2/").status == 200


@pytest.fixture
def name() -> str:
    """A repository that no other test uses."""
    return next(_NAMES)


def assert_sound(process: RegistryProcess) -> None:
    """The server lives, has met nothing it did not expect, and ``admin check`` finds everything in order."""
    assert process.is_running
    assert faults(process) == []
    check_stored(process.root)


def faults(process: RegistryProcess) -> list[str]:
    """Lines of the log that tell of something unexpected, each with those that follow it."""
    lines = process.log_text().splitlines()
    return [
        "\n".join(lines[number : number + 30])
        for number, line in enumerate(lines)
        if any(sign in line for sign in _SIGNS_OF_A_FAULT)
    ]


def check_stored(root: Path, *, may_lack_children: bool = False) -> None:
    """Nothing is damaged or left over; manifests lack what they name only where blobs were deleted on purpose."""
    report = check_store(load(overrides={"root": str(root)}), repair=False)
    assert (report.missing, report.corrupt, report.orphaned) == ([], [], [])
    assert may_lack_children or report.incomplete == []
