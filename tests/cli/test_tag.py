"""``entrepot tag`` is silent, or says as docker does what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.testing.images import build_image
from tests.cli.conftest import Entrepot
from tests.cli.keeping import keep

IMAGE = build_image(seed=1)


@pytest.fixture(autouse=True)
def _filled(store_root: Path) -> None:
    keep(store_root, IMAGE, "nginx:1.23.3")


@pytest.mark.parametrize(
    ("source", "target", "shown"),
    [
        pytest.param("nginx:1.23.3", "localhost:5000/nginx:1", "localhost:5000/nginx 1", id="name"),
        pytest.param("nginx:1.23.3", "me/web", "me/web latest", id="without tag"),
        pytest.param(IMAGE.id.encoded[:12], "web:1", "web 1", id="ID"),
        pytest.param(f"nginx@{IMAGE.digest}", "web:1", "web 1", id="digest"),
    ],
)
def test_tag_gives_another_name_silently(entrepot: Entrepot, source: str, target: str, shown: str) -> None:
    done = entrepot("tag", source, target)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert shown in entrepot("images", "--format", "{{.Repository}} {{.Tag}}").lines


@pytest.mark.parametrize(
    ("source", "target", "code", "message"),
    [
        pytest.param("nosuch", "web", 2, "No such image: nosuch:latest", id="absent"),
        pytest.param(
            "nginx:1.23.3",
            "Bad:1",
            1,
            '"Bad:1" is not a valid repository/tag: invalid reference format: repository name (library/Bad) must be '
            "lowercase",
            id="upper case",
        ),
        pytest.param(
            "nginx:1.23.3",
            f"web@sha256:{'0' * 64}",
            1,
            "refusing to create a tag with a digest reference",
            id="digest",
        ),
        pytest.param(
            "nginx:1.23.3",
            "sha256:1",
            1,
            "refusing to create an ambiguous tag using digest algorithm as name",
            id="algorithm",
        ),
    ],
)
def test_tag_that_cannot_be_fails(entrepot: Entrepot, source: str, target: str, code: int, message: str) -> None:
    done = entrepot("tag", source, target)
    assert (done.code, done.out, done.err) == (code, "", f"Error: {message}\n")


def test_tag_with_one_argument_is_wrong_usage(entrepot: Entrepot) -> None:
    done = entrepot("tag", "nginx:1.23.3")
    assert (done.code, done.out) == (125, "")
    assert "requires 2 arguments" in done.err
