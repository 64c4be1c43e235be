"""The table of docs/client.md that says what is printed where, row by row."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import entrepot
from entrepot.cli.main import run
from entrepot.testing.images import Index, index_of, write_docker_archive
from entrepot.testing.server import RegistryProcess
from entrepot.testing.token_guard import Rules
from entrepot.testing.token_server import GuardedRegistry
from tests.docs.conftest import StandIn
from tests.docs.publishing import plain_image, publish

PAGE = Path(__file__).parents[2] / "docs" / "client.md"
NGINX, APP, WEB = (plain_image(2, seed=seed, size=2000) for seed in (61, 62, 63))
_ROW = re.compile(r"^\| `(entrepot [^`]*)`[^|]*\| ([^|]*) \| ([^|]*) \| (\d+) \|$", re.MULTILINE)
_QUOTED = re.compile(r"`([^`]*)`")


@dataclass(frozen=True)
class Row:
    command: str
    stdout: list[str]
    stderr: list[str]
    code: int


def rows() -> Iterator[Row]:
    table = PAGE.read_text("utf-8").partition("## Text, streams, exit codes")[2]
    for command, stdout, stderr, code in _ROW.findall(table):
        yield Row(command, _texts(stdout), _texts(stderr), int(code))


def _texts(cell: str) -> list[str]:
    texts = _QUOTED.findall(cell)
    assert bool(texts) == (cell.strip() != "–"), f"expected texts in backticks or a dash, got {cell!r}"
    return texts


ROWS = list(rows())


def index(seed: int) -> Index:
    platforms = ("linux/amd64", "linux/arm64")
    return index_of([plain_image(2, seed=seed + n, size=2000, platform=each) for n, each in enumerate(platforms)])


@dataclass(frozen=True)
class Registries:
    """By the names that the page has for them, where they really are."""

    hosts: dict[str, str]


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registries]:
    folder = tmp_path_factory.mktemp("registries")
    with (
        RegistryProcess(folder / "local") as local,
        RegistryProcess(folder / "hub") as hub,
        GuardedRegistry(local.host, Rules()) as private,
    ):
        publish(NGINX, hub.host, "library/nginx", "1.23.3", "latest")
        for tag, seed in (("1.0.0", 70), ("1.1.0", 80)):
            publish(plain_image(2, seed=seed, size=2000), local.host, "team/tool", tag)
        publish(index(90), local.host, "team/app", "v1")
        publish(index(95), local.host, "mine/part", "v1")
        yield Registries({"localhost:5000": local.host, "docker.io": hub.host, "private.example.com": private.host})


@pytest.fixture(scope="module")
def filled_store(registries: Registries, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the rows find in the image store."""
    root = tmp_path_factory.mktemp("store") / "images"
    archive = write_docker_archive(root.parent / "myapp.tar", {"myapp:latest": APP})
    part = f"{registries.hosts['localhost:5000']}/mine/part:v1"

    async def fill() -> None:
        await entrepot.copy(f"docker-archive:{archive}", "store:myapp", root=root)
        await entrepot.copy(f"{registries.hosts['docker.io']}/library/nginx:1.23.3", "store:nginx:1.23.3", root=root)
        for name in ("localhost:5000/mine/app:v1", "private.example.com/mine/app:v1"):
            await entrepot.tag("myapp", name, root=root)
        await entrepot.pull(part, platform="linux/arm64", root=root)
        await entrepot.tag(part, "localhost:5000/mine/alone:v1", root=root)

    asyncio.run(fill())
    return root


@pytest.fixture
def place(
    home: Path, registries: Registries, filled_store: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Where the rows are run."""
    for name, host in registries.hosts.items():
        stand_in(name, host)
    shutil.copytree(filled_store, home / "images")
    monkeypatch.setenv("ENTREPOT_ROOT", str(home / "images"))
    write_docker_archive(home / "web.tar", {"web:v1": WEB})
    (home / "note.txt").write_text("no archive\n")
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        yield home


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.command.removeprefix("entrepot "))
def test_row_of_the_table_is_true(place: Path, row: Row, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(shlex.split(row.command)[1:])
    out, err = capsys.readouterr()
    assert [text for text in row.stdout if text not in out] == [], out + err
    assert [text for text in row.stderr if text not in err] == [], out + err
    assert bool(out) == bool(row.stdout), out
    assert bool(err) == bool(row.stderr), err
    assert code == row.code


def test_every_line_of_the_table_is_read() -> None:
    table = PAGE.read_text("utf-8").partition("## Text, streams, exit codes")[2].partition("\n\nA name")[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    assert len(ROWS) == len(lines) > 50
    assert {row.code for row in ROWS} == {0, 1, 2, 125}
