"""``verify``, ``diff`` and ``export`` of images that are still at their registry; nothing is kept of them."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from entrepot.testing.images import build_image, build_index

from .conftest import Entrepot, Publish

INDEX = build_index(["linux/amd64", "linux/arm64"], seed=31)
IMAGE = build_image(2, seed=30)


def test_verify_looks_at_all_platforms_of_a_registry(entrepot: Entrepot, publish: Publish) -> None:
    name = publish(INDEX, "read/multi", "v1")
    done = entrepot("verify", f"docker://{name}")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"docker://{name}: ok; read 3 manifests, 6 blobs, ")


def test_diff_pulled_image_with_registry_shows_what_has_changed_since(entrepot: Entrepot, publish: Publish) -> None:
    name = publish(IMAGE, "read/app", "v1")
    assert entrepot("pull", "-q", str(name)).code == 0
    publish(build_image(list(IMAGE.layers[:1]), seed=30), "read/app", "v1")  # type: ignore[arg-type]
    done = entrepot("diff", str(name), f"docker://{name}")
    assert done.code == 0
    assert f"  - {IMAGE.layers[1].digest}" in done.out
    assert "  D /data/30-1.bin 1.02kB" in done.lines


@pytest.mark.parametrize(("platform", "place"), [("linux/amd64", 0), ("linux/arm64", 1)])
def test_export_takes_platform_from_registry(
    entrepot: Entrepot, publish: Publish, tmp_path: Path, platform: str, place: int
) -> None:
    name = publish(INDEX, "read/multi", "v1")
    file = tmp_path / "out.tar"
    done = entrepot("export", "--platform", platform, "-o", str(file), f"docker://{name}")
    assert (done.code, done.err) == (0, "")
    with tarfile.open(file) as archive:
        assert f"data/{3100 + place}-0.bin" in archive.getnames()
    assert entrepot("images", "-q").out == ""


def test_export_of_platform_that_registry_lacks_is_not_found(entrepot: Entrepot, publish: Publish) -> None:
    name = publish(INDEX, "read/multi", "v1")
    done = entrepot("export", "--platform", "linux/s390x", "-o", "never.tar", f"docker://{name}")
    assert done.code == 2
    assert "no matching manifest for linux/s390x" in done.err


def test_verify_absent_image_of_registry_is_not_found(entrepot: Entrepot, publish: Publish) -> None:
    name = publish(IMAGE, "read/app", "v1")
    done = entrepot("verify", f"docker://{name.familiar_name}:absent")
    assert done.code == 2
    assert done.out == ""


def test_commands_without_an_image_store_make_none(entrepot: Entrepot, publish: Publish, store_root: Path) -> None:
    name = publish(IMAGE, "read/app", "v1")
    assert entrepot("verify", f"docker://{name}").code == 0
    assert not (store_root / "blobs").exists()
