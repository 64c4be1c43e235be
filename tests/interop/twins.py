"""docker and our command side by side: the same words typed to both, and what both print made comparable."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, replace

from entrepot.testing.images import DOCKER_CONFIG, Content, Image, build_image

from .clients import CommandLine
from .commands import Outcome

_LAYER_LINE = re.compile(r"^[0-9a-f]{12}: ", re.MULTILINE)
_HOW_FAR = re.compile(r"^(Downloading|Pushing|Copying): .*\n", re.MULTILINE)  # on a machine that is busy
_PREFIX = re.compile(r"^(Error response from daemon: |Error: |Error parsing reference: )+")
_SIZE = re.compile(r"\b\d+(\.\d+)?[kM]?B\b *")


@dataclass(frozen=True)
class Twins:
    """The two command lines, for whatever both understand."""

    docker: CommandLine
    entrepot: CommandLine

    def run(self, *arguments: str) -> tuple[Outcome, Outcome]:
        """How both end: docker's outcome and ours."""
        return self.docker.try_run(*arguments), self.entrepot.try_run(*arguments)

    def output(self, *arguments: str) -> tuple[str, str]:
        """What both print on standard output; both must end well, and neither may complain."""
        theirs, ours = self.run(*arguments)
        assert (theirs.checked().stderr, ours.checked().stderr) == ("", "")
        return theirs.stdout, ours.stdout


def complaint(outcome: Outcome) -> str:
    """The first line on standard error without what tells the programs apart; hints follow below it."""
    first = outcome.stderr.partition("\n")[0]
    return _PREFIX.sub("", first).replace("'docker login", "'entrepot login")


def transfer_lines(text: str) -> tuple[list[str], Counter[str]]:
    """The lines about the whole, in order; and those about layers, whose IDs and order differ, counted."""
    lines = _HOW_FAR.sub("", text).splitlines()
    whole = [line for line in lines if not _LAYER_LINE.match(line)]
    return whole, Counter(_LAYER_LINE.sub("", line) for line in lines if _LAYER_LINE.match(line))


def without_sizes(text: str) -> str:
    """A table whose sizes, and the room they take, are left out."""
    return _SIZE.sub("SIZE ", text)


def rich_image(seed: int) -> Image:
    """An image whose config says all that a Dockerfile can say. Its manifest is not for it: load, never push it."""
    image = build_image(3, seed=seed, size=150_000, docker=True)
    config = json.loads(image.config.data)
    config |= {"author": "Ada <ada@example.com>", "docker_version": "20.10.24"}
    config["config"] |= {
        "Cmd": ["serve", "--port", "80"],
        "Entrypoint": ["/entry.sh"],
        "Env": ["PATH=/usr/bin:/bin", "GREETING=grüß <b>&</b>", "EMPTY="],
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000, "Retries": 3},
        "Labels": {"seed": str(seed), "quote": '"', "a.b": ""},
        "OnBuild": ["RUN true"],
        "Shell": ["/bin/sh", "-e"],
        "StopSignal": "SIGQUIT",
        "User": "1000:1000",
        "Volumes": {"/data": {}},
        "WorkingDir": "/srv",
    }
    config["history"] = _history(config["history"])
    return replace(image, config=Content(DOCKER_CONFIG, json.dumps(config, ensure_ascii=False).encode()))


def _history(layers: list[dict[str, object]]) -> list[dict[str, object]]:
    """The steps of the layers, and two that made none."""
    first, *others = layers
    long: dict[str, object] = {
        "created": "2023-02-03T04:05:06.789012345Z",
        "created_by": f"/bin/sh -c #(nop)  CMD {'x' * 60}",
        "comment": "buildkit.dockerfile.v0",
        "empty_layer": True,
    }
    tabs: dict[str, object] = {**long, "created_by": "COPY\tfiles / # buildkit", "comment": ""}
    return [{**first, "author": "Ada"}, tabs, *others, long]
