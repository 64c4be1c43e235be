"""``entrepot ls`` against a registry."""

from __future__ import annotations

import json
import uuid

import pytest

from entrepot.reference import ImageReference
from entrepot.testing.images import build_image
from tests.cli.conftest import Entrepot, Publish
from tests.cli.scripted import Reply, scripted

ONE, TWO = build_image(1, seed=41), build_image(1, seed=42)
TAGS = ["1.0.0", "1.2.0", "1.10.0", "2.0.0", "2.1.0-rc.1", "latest"]


@pytest.fixture
def repository(publish: Publish) -> ImageReference:
    name = f"team/ls-{uuid.uuid4().hex[:8]}"
    publish(ONE, name, *TAGS[:-1])
    return publish(TWO, name, "latest")


def test_ls_prints_every_tag_on_a_line(entrepot: Entrepot, repository: ImageReference) -> None:
    done = entrepot("ls", repository.name)
    assert (done.code, done.lines, done.err) == (0, sorted(TAGS), "")


def test_ls_reads_all_pages(entrepot: Entrepot, publish: Publish) -> None:
    name = f"team/many-{uuid.uuid4().hex[:8]}"
    tags = [f"t{number:04}" for number in range(1205)]
    reference = publish(ONE, name, *tags)
    assert entrepot("ls", reference.name).lines == tags


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--filter", "1.*"), ["1.0.0", "1.10.0", "1.2.0"]),
        (("--filter", "1.*", "--filter", "latest"), ["1.0.0", "1.10.0", "1.2.0", "latest"]),
        (("--semver", "^1"), ["1.0.0", "1.2.0", "1.10.0"]),
        (("--semver", ">=1.2"), ["1.2.0", "1.10.0", "2.0.0"]),
        (("--semver", ">=2-0"), ["2.0.0", "2.1.0-rc.1"]),
        (("--semver", ">=1", "--limit", "2"), ["1.10.0", "2.0.0"]),
        (("--limit", "2"), ["1.0.0", "1.10.0"]),
        (("--filter", "9*"), []),
    ],
    ids=["glob", "two globs", "caret", "from", "prereleases", "newest of versions", "limit", "nothing"],
)
def test_ls_with_conditions_prints_those_tags(
    entrepot: Entrepot, repository: ImageReference, flags: tuple[str, ...], expected: list[str]
) -> None:
    done = entrepot("ls", repository.name, *flags)
    assert (done.code, done.lines) == (0, expected)


def test_ls_with_digests_prints_a_table(entrepot: Entrepot, repository: ImageReference) -> None:
    rows = [line.split() for line in entrepot("ls", repository.name, "--digests", "--filter", "[1l]*").lines]
    assert rows[0] == ["TAG", "DIGEST"]
    assert rows[1:] == [[tag, ONE.digest] for tag in ("1.0.0", "1.10.0", "1.2.0")] + [["latest", TWO.digest]]


def test_ls_as_json_prints_objects(entrepot: Entrepot, repository: ImageReference) -> None:
    done = entrepot("ls", repository.name, "--json", "--digests", "--filter", "latest")
    assert json.loads(done.out) == [{"tag": "latest", "name": str(repository), "digest": TWO.digest}]


def test_ls_with_format_fills_the_template(entrepot: Entrepot, repository: ImageReference) -> None:
    done = entrepot("ls", repository.name, "--filter", "latest", "--format", "{{.Name}} {{.Digest}}")
    assert done.out == f"{repository} {TWO.digest}\n"


def test_ls_with_full_names_prints_what_pull_takes(entrepot: Entrepot, repository: ImageReference) -> None:
    assert entrepot("ls", repository.name, "--full-ref", "--filter", "latest").lines == [str(repository)]


def test_ls_repository_that_is_absent_is_not_found(entrepot: Entrepot, repository: ImageReference) -> None:
    done = entrepot("ls", f"{repository.domain}/no/such")
    assert (done.code, done.out) == (2, "")
    assert "no/such" in done.err


def test_ls_makes_no_image_store(entrepot: Entrepot, repository: ImageReference, store_root: object) -> None:
    entrepot("ls", repository.name)
    assert not store_root.exists()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("nginx:1.23",), "expected a repository, got 'nginx:1.23'"),
        (("localhost:5000",), "Hint: entrepot catalog localhost:5000\n"),
        (("nginx", "--semver", "newest"), "invalid range of versions"),
        (("Nginx",), "must be lowercase"),
    ],
    ids=["tag", "registry", "range", "name"],
)
def test_ls_of_what_cannot_be_is_refused(entrepot: Entrepot, arguments: tuple[str, ...], text: str) -> None:
    done = entrepot("ls", *arguments)
    assert (done.code, done.out) == (1, "")
    assert text in done.err


def test_ls_of_a_list_without_end_stops(entrepot: Entrepot) -> None:
    page = Reply(200, b'{"name":"x","tags":["a"]}', {"link": '</v2/x/tags/list?n=1000&last=a>; rel="next"'})
    with scripted(lambda method, path, query: page) as registry:
        done = entrepot("ls", f"{registry.host}/x")
    assert done.code == 1
    assert "the same page again and again" in done.err


def test_ls_of_tags_that_are_none_is_refused(entrepot: Entrepot) -> None:
    page = Reply(200, b'{"name":"x","tags":["a","\\u001b[31mred"]}')
    with scripted(lambda method, path, query: page) as registry:
        done = entrepot("ls", f"{registry.host}/x")
    assert done.code == 1
    assert "sent a list of tags that is none" in done.err
    assert "\x1b" not in done.err
