"""``entrepot digest`` against a registry."""

from __future__ import annotations

import uuid

import pytest

from entrepot.reference import ImageReference
from entrepot.testing.images import build_index
from tests.cli.conftest import Entrepot, Publish

INDEX = build_index(["linux/amd64", "linux/arm64"], seed=44)


@pytest.fixture
def name(publish: Publish) -> ImageReference:
    return publish(INDEX, f"team/digest-{uuid.uuid4().hex[:8]}", "latest")


def test_digest_prints_that_of_the_index(entrepot: Entrepot, name: ImageReference) -> None:
    done = entrepot("digest", name.name)
    assert (done.code, done.out, done.err) == (0, f"{INDEX.digest}\n", "")


def test_digest_of_platform_prints_that_of_its_image(entrepot: Entrepot, name: ImageReference) -> None:
    done = entrepot("digest", "--platform", "linux/arm64", "--full-ref", str(name))
    assert done.out == f"{name.name}@{INDEX.children[1].digest}\n"


def test_digest_of_platform_that_is_not_there_names_those_that_are(entrepot: Entrepot, name: ImageReference) -> None:
    done = entrepot("digest", "--platform", "linux/s390x", str(name))
    assert (done.code, done.out) == (2, "")
    assert "linux/amd64, linux/arm64" in done.err


def test_digest_of_tag_that_is_absent_is_not_found(entrepot: Entrepot, name: ImageReference) -> None:
    done = entrepot("digest", f"{name.name}:other")
    assert (done.code, done.out) == (2, "")
    assert f"{name.name}:other not found" in done.err
    assert f"entrepot ls {name.name}" in done.err
