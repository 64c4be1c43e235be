"""The command line as a user runs it: a home, an image store, and registries to talk to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from entrepot.cli.main import run
from entrepot.client import Client
from entrepot.reference import ImageReference
from entrepot.testing.images import Image, Index
from entrepot.testing.repository_suite import push
from entrepot.testing.server import RegistryProcess

# every five seconds, on a machine that is busy
_HOW_FAR = re.compile(r"^(Downloading|Pushing|Copying): .*\n", re.MULTILINE)
_ELSEWHERE = ("DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_HOST")


@dataclass(frozen=True)
class Done:
    """What a command has done."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Entrepot = Callable[..., Done]
Publish = Callable[..., ImageReference]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in _ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def store_root(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the image store is; nothing is there yet."""
    root = tmp_path / "images"
    monkeypatch.setenv("ENTREPOT_ROOT", str(root))
    return root


@pytest.fixture
def entrepot(store_root: Path, capfd: pytest.CaptureFixture[str]) -> Entrepot:
    """Runs a command: ``entrepot("pull", name)``."""

    def call(*arguments: str) -> Done:
        capfd.readouterr()
        code = run(arguments)
        out, err = capfd.readouterr()
        return Done(code, _HOW_FAR.sub("", out), _HOW_FAR.sub("", err))

    return call


@pytest.fixture
def publish(registry: RegistryProcess, tmp_path: Path, home: Path) -> Publish:
    """Puts an image into the registry, ``publish(image, "team/app", "v1", "v2")``, and returns the first reference."""

    def put(image: Image | Index, name: str, *tags: str, host: str = registry.host) -> ImageReference:
        references = [ImageReference.parse(f"{host}/{name}:{tag}") for tag in tags or ("latest",)]

        async def upload() -> None:
            async with Client(tmp_path / "publisher") as client:
                named = [reference.tag for reference in references if reference.tag]
                await push(client.remote(references[0]), image, *named)

        asyncio.run(upload())
        return references[0]

    return put
