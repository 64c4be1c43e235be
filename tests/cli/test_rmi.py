"""``entrepot rmi`` prints docker's lines and follows docker's rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.testing.images import build_image, build_index
from tests.cli.conftest import Entrepot, Publish
from tests.cli.keeping import keep

IMAGE = build_image(2, seed=1)
OTHER = build_image(1, seed=2)
SHORT = IMAGE.id.encoded[:12]


@pytest.fixture(autouse=True)
def _filled(store_root: Path) -> None:
    keep(store_root, IMAGE, "nginx:1.23.3", pulled=True)
    keep(store_root, OTHER, "web:1", "localhost:5000/web:1")


def test_rmi_last_name_prints_names_and_what_was_deleted(entrepot: Entrepot) -> None:
    done = entrepot("rmi", "nginx:1.23.3")
    assert done.lines[:3] == [
        "Untagged: nginx:1.23.3",
        f"Untagged: nginx@{IMAGE.digest}",
        f"Deleted: {IMAGE.id}",
    ]
    assert all(line.startswith("Deleted: sha256:") for line in done.lines[3:])
    assert (len(done.lines), done.code, done.err) == (5, 0, "")


def test_rmi_one_of_two_names_only_untags(entrepot: Entrepot) -> None:
    done = entrepot("rmi", "web:1")
    assert (done.code, done.out, done.err) == (0, "Untagged: web:1\n", "")


def test_rmi_id_with_two_names_is_a_conflict(entrepot: Entrepot) -> None:
    short = OTHER.id.encoded[:12]
    done = entrepot("rmi", short)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"Error: conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories\n"
    )
    assert entrepot("rmi", "-f", short).lines[:2] == ["Untagged: web:1", "Untagged: localhost:5000/web:1"]


def test_rmi_absent_image_fails(entrepot: Entrepot) -> None:
    done = entrepot("rmi", "nosuch:1")
    assert (done.code, done.out, done.err) == (2, "", "Error: No such image: nosuch:1\n")


def test_rmi_absent_image_by_force_says_so_and_succeeds(entrepot: Entrepot) -> None:
    done = entrepot("rmi", "-f", "nosuch:1")
    assert (done.code, done.out, done.err) == (0, "", "Error: No such image: nosuch:1\n")


def test_rmi_of_several_removes_those_that_are_there(entrepot: Entrepot) -> None:
    done = entrepot("rmi", "nosuch", "web:1", SHORT)
    assert (done.code, done.err) == (2, "Error: No such image: nosuch\n")
    assert done.lines[0] == "Untagged: web:1"
    assert f"Deleted: {IMAGE.id}" in done.lines


def test_rmi_by_force_still_fails_for_wrong_names(entrepot: Entrepot) -> None:
    done = entrepot("rmi", "-f", "Bad")
    assert (done.code, done.out) == (1, "")
    assert "must be lowercase" in done.err


def test_rmi_without_names_is_wrong_usage(entrepot: Entrepot) -> None:
    done = entrepot("rmi")
    assert (done.code, done.out) == (125, "")
    assert "requires at least 1 argument" in done.err


def test_rmi_of_what_was_pulled_leaves_nothing(entrepot: Entrepot, publish: Publish, store_root: Path) -> None:
    index = build_index(["linux/amd64", "linux/arm64"], seed=5)
    reference = publish(index, "team/app", "v1")
    entrepot("rmi", "-f", SHORT, OTHER.id.encoded[:12])
    assert entrepot("pull", "--all-platforms", "-q", str(reference)).code == 0
    assert entrepot("rmi", str(reference)).lines[:3] == [
        f"Untagged: {reference}",
        f"Untagged: {reference.name}@{index.digest}",
        f"Deleted: {index.children[0].id}",
    ]
    assert [path for path in (store_root / "blobs").rglob("*") if path.is_file()] == []
    assert entrepot("df", "--format", "{{.Size}}").lines == ["0B", "0B", "0B"]
