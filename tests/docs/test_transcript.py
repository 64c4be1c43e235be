"""docs/transcript.md shows what the commands print.

``make docs`` writes it anew: this test does, when WRITE_DOCS is set.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import entrepot
from entrepot.testing.server import RegistryProcess
from entrepot.testing.token_guard import Rules
from entrepot.testing.token_server import GuardedRegistry
from tests.docs.conftest import StandIn
from tests.docs.console import Shell, rewrite
from tests.docs.publishing import plain_image, publish
from tests.hostile.waiting import eventually

PAGE = Path(__file__).parents[2] / "docs" / "transcript.md"

SIZE = 1_000_000
IMAGES = {"1.23.3": plain_image(3, seed=1, size=SIZE), "1.22.1": plain_image(2, seed=2, size=SIZE)}
MINE = plain_image(2, seed=3, size=SIZE)


@pytest.fixture
def hub(home: Path, tmp_path: Path, stand_in: StandIn) -> Iterator[GuardedRegistry]:
    """What the page has for docker.io: everybody may pull, myusername may push, nobody to library/myapp."""
    rules = Rules(users={"myusername": "hunter2"}, anonymous=frozenset({"pull"}), denied=frozenset({"library/myapp"}))
    with RegistryProcess(tmp_path / "hub") as registry, GuardedRegistry(registry.host, rules) as hub:
        for tag, image in IMAGES.items():
            publish(image, registry.host, "library/nginx", tag)
        publish(MINE, registry.host, "somebody/myapp", "latest")
        write_archive = entrepot.copy(f"{registry.host}/somebody/myapp", "docker-archive:myapp.tar:myapp:latest")
        asyncio.run(write_archive)  # with digests unchanged, which is why it is not made by write_docker_archive
        stand_in("docker.io", hub.host)
        login = base64.b64encode(b"myusername:hunter2").decode()
        (home / ".docker").mkdir()
        (home / ".docker" / "config.json").write_text(json.dumps({"auths": {hub.host: {"auth": login}}}))
        yield hub


@pytest.fixture
def shell(
    home: Path,
    hub: GuardedRegistry,
    local: RegistryProcess,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    def serve() -> str:
        local.start()
        eventually(lambda: local.log_text().count("\n") >= 2, seconds=60)
        return "\n".join(local.log_text().splitlines()[:2])

    layers = tuple(layer.digest for image in (*IMAGES.values(), MINE) for layer in image.layers)
    shown = {
        str(local.root): "/home/you/.local/share/entrepot",
        local.host: "127.0.0.1:5000",
        f"localhost:{local.port}": "localhost:5000",
        str(home): "/home/you",
    }
    return Shell(capsys, monkeypatch, layers, shown, {"entrepot serve --workers 1 &": serve})


def test_page_shows_what_the_commands_print(shell: Shell) -> None:
    page = PAGE.read_text("utf-8")
    expected = rewrite(page, shell)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(expected, "utf-8")
    else:
        assert page == expected, "what is printed has changed; run: make docs"
