"""``entrepot images`` prints what docker prints."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from entrepot.testing.images import build_image
from tests.cli.conftest import Entrepot
from tests.cli.keeping import keep
from tests.unit.image_store.filling import dated


def ago(**delta: float) -> str:
    return (datetime.now(UTC) - timedelta(**delta)).isoformat()


IMAGE = dated(build_image(2, seed=1), ago(days=3))
OLDER = dated(build_image(3, seed=2), ago(days=21), Labels={"team": "web"})
SHORT, SHORT_OLDER = IMAGE.id.encoded[:12], OLDER.id.encoded[:12]

HEADER = "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE"


@pytest.fixture
def root(store_root: Path) -> Path:
    """Two images, one of them pulled and under two names."""
    keep(store_root, IMAGE, "nginx:1.23.3")
    keep(store_root, OLDER, "localhost:5000/team/app:v1", "localhost:5000/team/app:v2", pulled=True)
    return store_root


def test_images_of_an_empty_store_is_the_header(entrepot: Entrepot) -> None:
    done = entrepot("images")
    assert (done.code, done.out, done.err) == (0, f"{HEADER}\n", "")


def test_images_prints_dockers_table(entrepot: Entrepot, root: Path) -> None:
    done = entrepot("images")
    assert done.lines == [
        "REPOSITORY                TAG       IMAGE ID       CREATED       SIZE",
        f"nginx                     1.23.3    {SHORT}   3 days ago    20.5kB",
        f"localhost:5000/team/app   v1        {SHORT_OLDER}   3 weeks ago   30.7kB",
        f"localhost:5000/team/app   v2        {SHORT_OLDER}   3 weeks ago   30.7kB",
    ]
    assert (done.code, done.err) == (0, "")


def test_images_with_digests_shows_those_that_are_known(entrepot: Entrepot, root: Path) -> None:
    table = [line.split() for line in entrepot("images", "--digests").lines]
    assert table[0][:4] == ["REPOSITORY", "TAG", "DIGEST", "IMAGE"]
    assert [row[2] for row in table[1:]] == ["<none>", OLDER.digest, OLDER.digest]


def test_images_without_truncation_prints_ids_in_full(entrepot: Entrepot, root: Path) -> None:
    assert f" {IMAGE.id} " in entrepot("images", "--no-trunc").lines[1]


def test_images_quietly_prints_an_id_for_each_name(entrepot: Entrepot, root: Path) -> None:
    assert entrepot("images", "-q").lines == [SHORT, SHORT_OLDER, SHORT_OLDER]
    assert entrepot("images", "-q", "--no-trunc").lines[0] == IMAGE.id


def test_images_without_name_are_shown_as_none(entrepot: Entrepot, store_root: Path) -> None:
    keep(store_root, IMAGE)
    assert entrepot("images").lines[1].split()[:3] == ["<none>", "<none>", SHORT]
    assert entrepot("images", "-a").lines[1].split()[:3] == ["<none>", "<none>", SHORT]


@pytest.mark.parametrize(
    ("argument", "tags"),
    [
        pytest.param("nginx", ["1.23.3"], id="name"),
        pytest.param("nginx:1.23.3", ["1.23.3"], id="name and tag"),
        pytest.param("nginx:1.23", [], id="another tag"),
        pytest.param("localhost:5000/team/app", ["v1", "v2"], id="registry"),
        pytest.param("localhost:5000/*/*:v2", ["v2"], id="pattern"),
        pytest.param("docker.io/library/nginx", ["1.23.3"], id="full name"),
        pytest.param("nosuch", [], id="nothing"),
    ],
)
def test_images_of_a_name_shows_those(entrepot: Entrepot, root: Path, argument: str, tags: list[str]) -> None:
    done = entrepot("images", argument)
    assert ([line.split()[1] for line in done.lines[1:]], done.code) == (tags, 0)


def test_images_with_filter_shows_what_meets_it(entrepot: Entrepot, root: Path) -> None:
    assert entrepot("images", "-q", "--filter", "label=team=web", "-f", "reference=*/*/*:v2").lines == [SHORT_OLDER]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        pytest.param("dangling", "bad format of filter (expected name=value)", id="no value"),
        pytest.param("color=red", "invalid filter 'color'", id="unknown"),
    ],
)
def test_images_with_wrong_filter_fails(entrepot: Entrepot, condition: str, message: str) -> None:
    done = entrepot("images", "--filter", condition)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"Error: {message}")


def test_images_as_json_prints_an_object_a_line(entrepot: Entrepot, root: Path) -> None:
    first = json.loads(entrepot("images", "--format", "json").lines[0])
    created_at = first.pop("CreatedAt")
    assert datetime.strptime(created_at[:25], "%Y-%m-%d %H:%M:%S %z")
    assert first == {
        "Containers": "N/A",
        "CreatedSince": "3 days ago",
        "Digest": "<none>",
        "ID": SHORT,
        "Repository": "nginx",
        "SharedSize": "N/A",
        "Size": "20.5kB",
        "Tag": "1.23.3",
        "UniqueSize": "N/A",
    }


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        pytest.param("{{.Repository}}:{{.Tag}} {{.Size}}", "nginx:1.23.3 20.5kB", id="template"),
        pytest.param("table {{.Repository}}\\t{{.Tag}}", "REPOSITORY   TAG", id="table"),
        pytest.param("table", "REPOSITORY   TAG       IMAGE ID", id="table alone"),
        pytest.param("{{json .ID}}", f'"{SHORT}"', id="function"),
    ],
)
def test_images_with_format_prints_that(entrepot: Entrepot, store_root: Path, form: str, expected: str) -> None:
    keep(store_root, IMAGE, "nginx:1.23.3")
    assert entrepot("images", "--format", form).out.startswith(expected)


def test_images_with_unknown_field_fails(entrepot: Entrepot, root: Path) -> None:
    done = entrepot("images", "--format", "{{.Nosuch}}")
    assert (done.code, done.out) == (1, "")
    assert "Nosuch" in done.err


def test_images_with_unknown_flag_is_wrong_usage(entrepot: Entrepot) -> None:
    done = entrepot("images", "--bogus")
    assert (done.code, done.out) == (125, "")
    assert done.err.startswith("unknown flag: --bogus")


def test_images_of_two_names_is_wrong_usage(entrepot: Entrepot) -> None:
    assert entrepot("images", "one", "two").code == 125


def test_images_of_root_asks_that_store(entrepot: Entrepot, root: Path, tmp_path: Path) -> None:
    assert entrepot("images", "--root", str(tmp_path / "other")).out == f"{HEADER}\n"
    assert len(entrepot("images", "--root", str(root)).lines) == 4


def test_images_is_listed_without_heavy_modules(store_root: Path) -> None:
    keep(store_root, IMAGE, "nginx:1")
    program = "import sys; from entrepot.cli.main import run; run(['images']); print(*sys.modules)"
    for _ in range(2):  # the first one may have to read configs
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"aiohttp", "alembic", "asyncio", "pydantic", "rich", "sqlalchemy", "uvloop", "yaml", "zstandard"}
    assert set(done.stdout.splitlines()[-1].split()) & heavy == set()
