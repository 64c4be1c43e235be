"""One vocabulary for six clients, so that one test speaks about all of them.

A *name* is what a user types: ``127.0.0.1:5000/team/app:v1`` or ``…@sha256:…``.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from entrepot.testing.images import Image

from .commands import TIMEOUT_SECONDS, Outcome, begin, run

CLIENTS = [
    pytest.param("entrepot_client", id="entrepot"),
    pytest.param("docker", marks=pytest.mark.root),
    pytest.param("podman", marks=pytest.mark.root),
    pytest.param("buildah", marks=pytest.mark.root),
    pytest.param("skopeo"),
    pytest.param("containerd", marks=pytest.mark.root),
]


class ImageClient(Protocol):
    """A client with an image store of its own."""

    title: str

    def load(self, image: Image, name: str) -> None:
        """Put an image into the client's store without any registry."""

    def push(self, name: str) -> Outcome: ...

    def begin_push(self, name: str) -> subprocess.Popen[bytes]:
        """Start to push, to be killed on the way."""

    def pull(self, name: str, *, platform: str | None = None) -> Outcome: ...

    def tag(self, name: str, new_name: str) -> None: ...

    def remove(self, name: str) -> None:
        """Forget one name, and the content with its last name."""

    def image_id(self, name: str) -> str:
        """The digest of the config, with its algorithm."""

    def digest(self, name: str) -> str:
        """The digest of the manifest or index that this name was pulled by."""


class CommandLine:
    """A program with the arguments and the environment that every call of it gets."""

    def __init__(self, prefix: Sequence[str], *, environment: Mapping[str, str], folder: Path | None = None) -> None:
        self._prefix = tuple(prefix)
        self._environment = environment
        self._folder = folder

    def without(self, *variables: str) -> CommandLine:
        """The same without some of its environment."""
        environment = {name: value for name, value in self._environment.items() if name not in variables}
        return CommandLine(self._prefix, environment=environment, folder=self._folder)

    def try_run(self, *arguments: str | Path, timeout: float = TIMEOUT_SECONDS) -> Outcome:
        command = [*self._prefix, *map(str, arguments)]
        return run(command, environment=self._environment, folder=self._folder, timeout=timeout)

    def run(self, *arguments: str | Path, timeout: float = TIMEOUT_SECONDS) -> str:
        """Standard output of a command that has to end well."""
        return self.try_run(*arguments, timeout=timeout).checked().stdout

    def begin(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        return begin([*self._prefix, *map(str, arguments)], environment=self._environment)


def private_environment(folder: Path) -> dict[str, str]:
    """Homes and run-time folders below ``folder``, so that no client meets another's settings or caches."""
    places = {
        "HOME": folder / "home",
        "XDG_RUNTIME_DIR": folder / "run",
        "XDG_DATA_HOME": folder / "data",
        "XDG_CONFIG_HOME": folder / "config",
        "DOCKER_CONFIG": folder / "docker",
        "TMPDIR": folder / "tmp",
    }
    for place in places.values():
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "docker" / "config.json").write_text("{}")  # podman insists on it once DOCKER_CONFIG is set
    return {name: str(place) for name, place in places.items()}
