"""A home for pages to run in, where the registries they name are registries of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from entrepot.testing.server import RegistryProcess

_ELSEWHERE = ("DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_HOST")

StandIn = Callable[[str, str], None]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and the folder that commands run in."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / ".local" / "share"))
    for name in _ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def stand_in(home: Path) -> StandIn:
    """Lets a registry be reached elsewhere, which is what hosts.toml is for: ``stand_in("docker.io", host)``."""

    def write(domain: str, host: str) -> None:
        folder = home / ".config" / "containers" / "certs.d" / domain
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(f'server = "http://{host}"\n')

    return write


@pytest.fixture
def local(tmp_path: Path, stand_in: StandIn) -> Iterator[RegistryProcess]:
    """A registry that the pages call localhost:5000; it is not started yet."""
    process = RegistryProcess(tmp_path / "served", flags=["--access-log", "off"])
    stand_in("localhost:5000", process.host)
    yield process
    if process.is_running:
        process.stop()
