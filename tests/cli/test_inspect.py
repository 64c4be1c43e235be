"""``entrepot inspect`` prints docker's JSON, of images here and at registries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from entrepot.testing.images import build_image, build_index
from tests.cli.conftest import Entrepot, Publish
from tests.cli.keeping import keep
from tests.unit.image_store.filling import dated

IMAGE = build_image(2, seed=1)
INDEX = build_index(["linux/amd64", "linux/arm64"], seed=2)


@pytest.fixture(autouse=True)
def _filled(store_root: Path) -> None:
    keep(store_root, IMAGE, "nginx:1.23.3", pulled=True)


def test_inspect_prints_an_array_with_four_blanks(entrepot: Entrepot) -> None:
    done = entrepot("inspect", "nginx:1.23.3")
    assert done.lines[:3] == ["[", "    {", f'        "Id": "{IMAGE.id}",']
    assert (done.lines[-1], done.code, done.err) == ("]", 0, "")
    assert json.loads(done.out)[0]["RepoTags"] == ["nginx:1.23.3"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        pytest.param("{{.Id}}", IMAGE.id, id="field"),
        pytest.param("{{json .Config.Env}}", '["PATH=/usr/bin:/bin"]', id="JSON"),
        pytest.param("{{index .RepoDigests 0}}", f"nginx@{IMAGE.digest}", id="index"),
        pytest.param('{{index .Config.Labels "seed"}}', "1", id="label"),
        pytest.param("{{range .RootFS.Layers}}x{{end}}", "xx", id="range"),
        pytest.param("{{.Os}}/{{.Architecture}} {{.Size}}", "linux/amd64 20480", id="several"),
    ],
)
def test_inspect_with_format_prints_that(entrepot: Entrepot, form: str, expected: str) -> None:
    assert entrepot("inspect", "-f", form, "nginx:1.23.3").out == f"{expected}\n"


def test_inspect_as_json_prints_one_line(entrepot: Entrepot) -> None:
    [line] = entrepot("inspect", "--format", "json", "nginx:1.23.3").lines
    assert json.loads(line)[0]["Id"] == IMAGE.id


def test_inspect_absent_image_prints_an_empty_array_and_fails(entrepot: Entrepot) -> None:
    done = entrepot("inspect", "nosuch")
    assert (done.code, done.out, done.err) == (2, "[]\n", "Error: No such object: nosuch\n")


def test_inspect_of_several_prints_those_that_are_there(entrepot: Entrepot) -> None:
    done = entrepot("inspect", "-f", "{{.Id}}", "nosuch", "nginx:1.23.3")
    assert (done.code, done.out, done.err) == (2, f"{IMAGE.id}\n", "Error: No such object: nosuch\n")


def test_inspect_of_another_type_fails(entrepot: Entrepot) -> None:
    done = entrepot("inspect", "--type", "container", "nginx:1.23.3")
    assert (done.code, done.out) == (1, "")
    assert "not a valid value for --type" in done.err


def test_inspect_platform_that_is_not_here_fails(entrepot: Entrepot, store_root: Path) -> None:
    keep(store_root, INDEX, "multi:1")
    assert entrepot("inspect", "--platform", "linux/arm64", "-f", "{{.Architecture}}", "multi:1").out == "arm64\n"
    done = entrepot("inspect", "--platform", "linux/s390x", "multi:1")
    assert (done.code, done.out) == (2, "[]\n")
    assert "it is here for linux/amd64, linux/arm64 only" in done.err


def test_inspect_remote_asks_the_registry(entrepot: Entrepot, publish: Publish) -> None:
    reference = publish(INDEX, "team/app", "v1")
    done = entrepot("inspect", "--remote", "--platform", "linux/arm64", str(reference))
    [document] = json.loads(done.out)
    child = INDEX.children[1]
    assert (document["Id"], document["Architecture"]) == (child.id, "arm64")
    assert document["RepoTags"] == [str(reference)]
    assert document["RepoDigests"] == [f"{reference.name}@{INDEX.digest}"]
    assert document["Size"] == sum(layer.size for layer in child.layers)
    assert len(entrepot("images").lines) == 2  # nothing was fetched


def test_inspect_remote_absent_image_fails(entrepot: Entrepot, publish: Publish) -> None:
    reference = publish(IMAGE, "team/app", "v1")
    done = entrepot("inspect", "--remote", f"{reference.name}:nosuch")
    assert (done.code, done.out) == (2, "[]\n")
    assert "nosuch" in done.err


def test_inspect_remote_help_lists_its_flags(entrepot: Entrepot) -> None:
    assert "--plain-http" in entrepot("inspect", "--remote", "--help").out


@pytest.mark.parametrize("flags", [[], ["-f", "json"]], ids=["array", "line"])
def test_inspect_does_not_let_images_speak_to_the_terminal(
    entrepot: Entrepot, store_root: Path, flags: list[str]
) -> None:
    labels = {"a": "\x1b[2J\x9b2Jä"}
    keep(store_root, dated(IMAGE, "2020-01-01T00:00:00Z", Labels=labels), "hostile:1")
    out = entrepot("inspect", *flags, "hostile:1").out
    assert ("\x1b" in out, "\x9b" in out, "ä" in out) == (False, False, True)
    assert json.loads(out)[0]["Config"]["Labels"] == labels
