"""The three clients with the options that people use: docker and entrepot as they are, skopeo told to try again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.clients import ImageClient
from tests.interop.commands import Outcome
from tests.interop.docker import Docker, docker_program, engine
from tests.interop.entrepot_client import EntrepotClient
from tests.interop.skopeo import TO_HTTP, Skopeo

_RETRIES = ("--retry-times", "3")


class PatientSkopeo(Skopeo):
    def push(self, name: str) -> Outcome:
        return self.cli.try_run("copy", *_RETRIES, TO_HTTP, self.local(name), f"docker://{name}")

    def pull(self, name: str, *, platform: str | None = None) -> Outcome:
        return self._pull(name, "copy", *_RETRIES)


@contextmanager
def clients(folder: Path) -> Iterator[list[ImageClient]]:
    """docker with an engine of its own, skopeo, and our own client."""
    homes = {title: folder / title for title in ("docker", "skopeo", "entrepot")}
    for home in homes.values():
        home.mkdir(parents=True)
    with engine(homes["docker"]):
        docker = Docker(docker_program(), homes["docker"])
        yield [docker, PatientSkopeo(homes["skopeo"]), EntrepotClient(homes["entrepot"])]
