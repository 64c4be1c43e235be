"""Blobs that a layout fetches over several runs: what is kept, what is left, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.errors import ClientGone, DigestInvalid
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.base import Fetching
from entrepot.repositories.layout import LayoutRepository
from entrepot.testing.images import build_image
from entrepot.testing.repository_suite import push, require_whole
from entrepot.testing.repository_upload_suite import pieces, read
from entrepot.transfer.copy import copy

CONTENT = bytes(range(256)) * 4000
IMAGE = build_image(3, seed=5, size=200_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "layout"


@pytest.fixture
def layout(folder: Path) -> LayoutRepository:
    return LayoutRepository(folder, RepositoryName("layout"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_fetch_blob_puts_it_under_its_digest_and_leaves_nothing_else(
    layout: LayoutRepository, folder: Path, algorithm: str
) -> None:
    digest = Digest.of(CONTENT, algorithm)
    async with layout.fetch_blob(digest, len(CONTENT)) as fetch:
        await fetch.write(500, pieces(CONTENT[500:]))
        await fetch.write(0, pieces(CONTENT[:500]))
        blob = await fetch.commit()
    assert (blob.digest, blob.size, await read(blob)) == (digest, len(CONTENT), CONTENT)
    assert await read(await layout.find_blob(digest)) == CONTENT
    assert names(folder) == ["blobs", "index.json", "oci-layout"]


async def test_fetch_blob_that_breaks_off_goes_on_where_it_was(layout: LayoutRepository, folder: Path) -> None:
    digest = Digest.of(CONTENT)
    async with layout.fetch_blob(digest, len(CONTENT)) as fetch:
        await fetch.set_validator('"etag"')
        with pytest.raises(ClientGone):
            await fetch.write(0, pieces(CONTENT[:300_000], then=ClientGone("gone")))
    again = LayoutRepository(folder, RepositoryName("layout"))
    async with again.fetch_blob(digest, len(CONTENT)) as fetch:
        assert (fetch.prefix(), fetch.validator) == (300_000, '"etag"')
        await fetch.write(300_000, pieces(CONTENT[300_000:]))
        assert await read(await fetch.commit()) == CONTENT
    assert names(folder) == ["blobs", "index.json", "oci-layout"]


async def test_fetch_blob_that_is_there_takes_no_bytes(layout: LayoutRepository) -> None:
    await push(layout, IMAGE)
    async with layout.fetch_blob(IMAGE.layers[0].digest, IMAGE.layers[0].size) as fetch:
        assert (fetch.blob is not None, fetch.missing()) == (True, [])
        with pytest.raises(RuntimeError, match="is there already"):
            await fetch.write(0, pieces(b"more"))


async def test_fetch_blob_whose_file_is_too_short_brings_it_anew(layout: LayoutRepository, folder: Path) -> None:
    await push(layout, IMAGE)
    layer = IMAGE.layers[0]
    (folder / "blobs" / "sha256" / layer.digest.encoded).write_bytes(b"short")
    async with layout.fetch_blob(layer.digest, layer.size) as fetch:
        await fetch.write(0, pieces(layer.data))
        await fetch.commit()
    await require_whole(layout, IMAGE, IMAGE.digest)


async def test_fetch_blob_with_wrong_bytes_is_refused_and_leaves_no_blob(
    layout: LayoutRepository, folder: Path
) -> None:
    async with layout.fetch_blob(Digest.of(CONTENT), 5) as fetch:
        await fetch.write(0, pieces(b"wrong"))
        with pytest.raises(DigestInvalid):
            await fetch.commit()
    assert list((folder / "blobs").rglob("*")) in ([], [folder / "blobs" / "sha256"])
    assert names(folder) == ["blobs", "index.json", "oci-layout"]


async def test_copy_between_layouts_fetches_each_blob(layout: LayoutRepository, tmp_path: Path) -> None:
    assert isinstance(layout, Fetching)
    source = LayoutRepository(tmp_path / "source", RepositoryName("source"))
    await push(source, IMAGE, Tag("v1"))
    assert (await copy(source, layout, Tag("v1"), tags=[Tag("v2")])).moved
    await require_whole(layout, IMAGE, Tag("v2"))
    assert not (await copy(source, layout, Tag("v1"), tags=[Tag("v2")])).moved
