"""OCI image layouts that we and skopeo or umoci write in turn: each reads what the other has written."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.layout import LayoutRepository
from entrepot.testing.images import build_image, build_index
from entrepot.testing.repository_suite import push, require_whole

from .clients import CommandLine
from .programs import require_program
from .skopeo import Skopeo

pytestmark = pytest.mark.interop

V1, V2 = Tag("v1"), Tag("v2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "layout"


@pytest.fixture
def layout(folder: Path) -> LayoutRepository:
    return LayoutRepository(folder, RepositoryName("layout"))


@pytest.fixture
def umoci() -> CommandLine:
    return CommandLine([require_program("umoci")], environment={})


async def test_skopeo_reads_what_we_write(
    skopeo: Skopeo, layout: LayoutRepository, folder: Path, seed: int, tmp_path: Path
) -> None:
    one, index = build_image(2, seed=seed), build_index(seed=seed % 1000)
    await push(layout, one, V1)
    await push(layout, index, V2)
    for tag, image in ((V1, one), (V2, index)):
        skopeo.cli.run("copy", "--all", f"oci:{folder}:{tag}", f"dir:{tmp_path / tag}")
        assert Digest.of((tmp_path / tag / "manifest.json").read_bytes()) == image.digest


async def test_skopeo_reads_the_only_image_without_a_tag(
    skopeo: Skopeo, layout: LayoutRepository, folder: Path, seed: int
) -> None:
    index = build_index(seed=seed % 1000)
    await push(layout, index, V1)
    assert index.digest == Digest.of(skopeo.cli.run("inspect", "--raw", f"oci:{folder}").encode())


async def test_read_what_skopeo_writes_beside_ours(
    skopeo: Skopeo, layout: LayoutRepository, folder: Path, seed: int
) -> None:
    ours, theirs = build_image(2, seed=seed), build_image(2, seed=seed + 1)
    await push(layout, ours, V1)
    skopeo.load(theirs, "source")
    skopeo.cli.run("copy", skopeo.local("source"), f"oci:{folder}:v2")
    await require_whole(layout, ours, V1)
    await require_whole(layout, theirs, V2)
    await push(layout, theirs, V1)
    assert (await layout.list_tags(limit=9)).items == ["v1", "v2"]


async def test_umoci_lists_tags_and_finds_nothing_to_collect(
    umoci: CommandLine, layout: LayoutRepository, folder: Path, seed: int
) -> None:
    image = build_image(2, seed=seed)
    await push(layout, image, V1, V2)
    assert sorted(umoci.run("ls", "--layout", folder).split()) == ["v1", "v2"]
    umoci.run("gc", "--layout", folder)
    await require_whole(layout, image, V2)


async def test_read_what_umoci_has_tagged_and_changed(
    umoci: CommandLine, layout: LayoutRepository, folder: Path, seed: int
) -> None:
    image = build_image(2, seed=seed)
    await push(layout, image, V1)
    umoci.run("tag", "--image", f"{folder}:v1", "v2")
    await require_whole(layout, image, V2)
    umoci.run("config", "--image", f"{folder}:v1", "--config.user", "nobody")
    assert (await layout.head_manifest(V1)).digest != image.digest
    umoci.run("rm", "--image", f"{folder}:v2")
    assert (await layout.list_tags(limit=9)).items == ["v1"]
