"""docs/transcript.md shows what the commands print.

``make docs`` writes it anew: this test does, when WRITE_DOCS is set.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.testing.images import Image, Layer, build_image, build_layers, write_docker_archive
from entrepot.testing.server import RegistryProcess
from entrepot.testing.token_guard import Rules
from entrepot.testing.token_server import GuardedRegistry
from tests.docs.console import Shell, rewrite
from tests.docs.publishing import publish

PAGE = Path(__file__).parents[2] / "docs" / "transcript.md"
TAR = "application/vnd.oci.image.layer.v1.tar"


def build(layers: int, seed: int) -> Image:
    """An image whose layers are not compressed: zlib's output is not the same everywhere."""
    packed = build_layers(layers, seed=seed, size=1_000_000)
    return build_image([Layer(TAR, gzip.decompress(each.data), each.diff_id) for each in packed], seed=seed)


IMAGES = {"1.23.3": build(3, seed=1), "1.22.1": build(2, seed=2)}
MINE = build(2, seed=3)
_ELSEWHERE = ("DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_HOST")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    write_docker_archive(home / "myapp.tar", {"myapp:latest": MINE})
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / ".local" / "share"))
    for name in _ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def hub(home: Path, registry: RegistryProcess) -> Iterator[GuardedRegistry]:
    """What the page has for docker.io: everybody may pull, myusername may push, nobody to library/myapp."""
    for tag, image in IMAGES.items():
        publish(image, registry.host, "library/nginx", tag)
    rules = Rules(users={"myusername": "hunter2"}, anonymous=frozenset({"pull"}), denied=frozenset({"library/myapp"}))
    with GuardedRegistry(registry.host, rules) as hub:
        stand_in(home, "docker.io", hub.host)
        yield hub


def stand_in(home: Path, domain: str, host: str) -> None:
    """Let a registry be reached elsewhere: what hosts.toml is for."""
    folder = home / ".config" / "containers" / "certs.d" / domain
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(f'server = "http://{host}"\n')


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RegistryProcess]:
    """What the page has for the reader's own registry; the page starts it."""
    process = RegistryProcess(tmp_path / "served", flags=["--access-log", "off"])
    yield process
    if process.is_running:
        process.stop()


@pytest.fixture
def shell(
    home: Path,
    hub: GuardedRegistry,
    served: RegistryProcess,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    stand_in(home, "localhost:5000", served.host)
    login = base64.b64encode(b"myusername:hunter2").decode()
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {hub.host: {"auth": login}}}))

    def serve() -> str:
        served.start()
        return "\n".join(served.log_text().splitlines()[:2])

    layers = tuple(layer.digest for image in (*IMAGES.values(), MINE) for layer in image.layers)
    shown = {
        str(served.root): "/home/you/.local/share/entrepot",
        served.host: "127.0.0.1:5000",
        f"localhost:{served.port}": "localhost:5000",
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
