"""docs/client.md: its boxes show what is printed (``make docs`` writes them anew), its names and settings are right."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.reference import ImageReference
from entrepot.testing.images import Index, index_of
from entrepot.testing.server import RegistryProcess
from entrepot.transport.endpoints import Endpoints
from entrepot.transport.registries_conf import read_rules
from tests.docs.conftest import StandIn
from tests.docs.console import Shell, rewrite
from tests.docs.publishing import plain_image, publish
from tests.hostile.waiting import eventually

PAGE = Path(__file__).parents[2] / "docs" / "client.md"
TEXT = PAGE.read_text("utf-8")
_SIZE = 200_000
_NAME = re.compile(r"^\| `(\S+)` \| (\S+) \| (\S+) \| (\S+) \|$", re.MULTILINE)


def block(language: str, number: int) -> str:
    """A box of the page."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return blocks[number]


def index(seed: int) -> Index:
    platforms = ("linux/amd64", "linux/arm64")
    return index_of([plain_image(2, seed=10 * seed + n, size=_SIZE, platform=each) for n, each in enumerate(platforms)])


@pytest.fixture
def hub(tmp_path: Path, stand_in: StandIn) -> Iterator[RegistryProcess]:
    """What the page has for docker.io."""
    with RegistryProcess(tmp_path / "hub") as process:
        stand_in("docker.io", process.host)
        publish(plain_image(2, seed=1, size=_SIZE), process.host, "library/nginx", "1.23.3")
        yield process


@pytest.fixture
def store_server(home: Path, stand_in: StandIn) -> Iterator[RegistryProcess]:
    """The server that the page starts on its image store."""
    process = RegistryProcess(home / ".local" / "share" / "entrepot", flags=["--access-log", "off"])
    stand_in("localhost:5001", process.host)
    yield process
    if process.is_running:
        process.stop()


@pytest.fixture
def shell(
    home: Path,
    hub: RegistryProcess,
    local: RegistryProcess,
    store_server: RegistryProcess,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    local.start()
    publish(index(1), local.host, "team/app", "v1")
    publish(index(2), local.host, "team/app", "v2")
    for seed, tag in enumerate(("0.9.0", "1.0.0", "1.1.0", "2.0.0")):
        publish(plain_image(1, seed=30 + seed, size=_SIZE), local.host, "team/tool", tag)
    (home / "note.txt").write_text("tried on Monday\n")
    (home / "list.yaml").write_text(block("yaml", 0))

    def serve() -> str:
        store_server.start()
        eventually(lambda: store_server.log_text().count("\n") >= 2, seconds=60)
        return "\n".join(store_server.log_text().splitlines()[:2])

    shown = {
        str(home): "/home/you",
        store_server.host: "127.0.0.1:5001",
        f"localhost:{store_server.port}": "localhost:5001",
    }
    line = "entrepot serve --root ~/.local/share/entrepot --listen 127.0.0.1:5001 --workers 1 &"
    return Shell(capsys, monkeypatch, shown=shown, specials={line: serve})


def test_page_shows_what_the_commands_print(shell: Shell) -> None:
    expected = rewrite(TEXT, shell)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(expected, "utf-8")
    else:
        assert expected == TEXT, "what is printed has changed; run: make docs"


@pytest.mark.parametrize(("typed", "domain", "path", "tag"), _NAME.findall(TEXT.partition("## Names")[2]))
def test_name_leads_where_the_page_says(typed: str, domain: str, path: str, tag: str) -> None:
    reference = ImageReference.parse(typed).with_default_tag()
    assert (reference.domain, reference.path, reference.tag) == (domain, path, tag)


def test_hosts_toml_of_the_page_is_understood(tmp_path: Path) -> None:
    (tmp_path / "docker.io").mkdir()
    (tmp_path / "docker.io" / "hosts.toml").write_text(block("toml", 0))
    endpoints = Endpoints(folders=[tmp_path])
    found = [each.base_url for each in endpoints.for_pull("docker.io", "library/nginx", by_digest=True)]
    assert found == ["https://mirror.example.com", "https://registry-1.docker.io"]
    assert endpoints.for_push("docker.io").base_url == "https://registry-1.docker.io"


def test_registries_conf_of_the_page_is_understood(tmp_path: Path) -> None:
    (tmp_path / "registries.conf").write_text(block("toml", 1))
    endpoints = Endpoints(rules=read_rules(system=tmp_path / "none", user=tmp_path))
    by_digest = endpoints.for_pull("docker.io", "library/nginx", by_digest=True)
    assert [(each.base_url, each.repository("library/nginx")) for each in by_digest] == [
        ("https://mirror.example.com", "hub/library/nginx"),
        ("https://registry-1.docker.io", "library/nginx"),
    ]
    assert len(endpoints.for_pull("docker.io", "library/nginx")) == 1
    assert [each.base_url for each in endpoints.for_pull("old.example.com", "app")] == ["https://new.example.com"]
