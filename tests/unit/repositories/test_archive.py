"""Archives of every dialect are read as repositories; broken and hostile ones are refused, and leave nothing."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import select
import tarfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard

from entrepot.digest import Digest
from entrepot.errors import (
    ArchiveInvalid,
    BlobUnknown,
    Corrupt,
    LayerInvalid,
    LayerTooLarge,
    ManifestInvalid,
    ReadOnly,
    RegistryError,
    TooLarge,
)
from entrepot.image import image_config, image_layers, parse_config
from entrepot.layers.diff_id import measure
from entrepot.manifest import DOCKER_MANIFEST, OCI_MANIFEST, parse_manifest
from entrepot.reference import Tag
from entrepot.repositories.archive import ArchiveRepository
from entrepot.testing.images import (
    EMPTY_CONFIG,
    Content,
    Image,
    build_artifact,
    build_image,
    build_index,
    build_layers,
    index_of,
    write_docker_archive,
)
from entrepot.testing.repository_suite import require_whole
from entrepot.testing.repository_upload_suite import read

from .archives import dumps, layout_members, new_docker_members, old_docker_members, tar, unpack, write

IMAGE = build_image(3, seed=1)
OTHER = build_image(2, seed=2)


@asynccontextmanager
async def opened(content: bytes | Path, tmp_path: Path, **limits: int) -> AsyncIterator[ArchiveRepository]:
    path = content if isinstance(content, Path) else write(tmp_path, content)
    archive = await ArchiveRepository.open(path.open("rb"), path.name, spool_folder=tmp_path, **limits)
    try:
        yield archive
    finally:
        archive.close()


async def require_same_image(archive: ArchiveRepository, digest: Digest, image: Image) -> None:
    """An image made out of a docker-archive: same config, layers that unpack to the same."""
    stored = await archive.get_manifest(digest)
    manifest = parse_manifest(stored.content, stored.media_type)
    config = Digest.parse(image_config(manifest).digest)
    assert (config, await read(await archive.find_blob(config))) == (image.id, image.config.data)
    diff_ids = parse_config(image.config.data).diff_ids
    for layer, diff_id in zip(image_layers(manifest), diff_ids, strict=True):
        blob = await archive.find_blob(Digest.parse(layer.descriptor.digest))
        content = await read(blob)
        assert (Digest.of(content), len(content)) == (layer.descriptor.digest, layer.descriptor.size)
        assert content.startswith(b"\x1f\x8b")
        assert measure([content]).diff_id == diff_id


# layouts


@pytest.mark.parametrize("image", [IMAGE, build_index(), build_image(1, docker=True)], ids=["image", "index", "docker"])
async def test_read_layout_in_tar_keeps_digests(tmp_path: Path, image: Image) -> None:
    async with opened(tar(layout_members({"localhost/app:v1": image})), tmp_path) as archive:
        assert [(found.digest, found.names) for found in archive.images] == [(image.digest, ("localhost/app:v1",))]
        await require_whole(archive, image, image.digest)


async def test_read_layout_by_tag(tmp_path: Path) -> None:
    async with opened(tar(layout_members({"v1": IMAGE, "v2": OTHER})), tmp_path) as archive:
        await require_whole(archive, OTHER, Tag("v2"))
        assert (await archive.list_tags(limit=9)).items == ["v1", "v2"]
        assert [found.names for found in archive.images] == [(), ()]


async def test_read_layout_with_index_in_index(tmp_path: Path) -> None:
    inner = build_index(seed=3)
    members = layout_members({"": inner})
    outer = dumps({"schemaVersion": 2, "manifests": [inner.manifest.descriptor()]})
    digest = Digest.of(outer)
    members[f"blobs/sha256/{digest.encoded}"] = outer
    entry = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": len(outer)}
    members["index.json"] = dumps({"schemaVersion": 2, "manifests": [entry]})
    async with opened(tar(members), tmp_path) as archive:
        assert [found.digest for found in archive.images] == [digest]
        await require_whole(archive, inner, inner.digest)


async def test_read_archive_of_new_docker_keeps_digest_and_takes_both_names(tmp_path: Path) -> None:
    async with opened(tar(new_docker_members(IMAGE, "app:v1")), tmp_path) as archive:
        [found] = archive.images
        assert (found.digest, found.names) == (IMAGE.digest, ("docker.io/library/app:v1", "app:v1"))
        await require_whole(archive, IMAGE, found.digest)


async def test_read_archive_of_new_docker_with_one_platform_of_many(tmp_path: Path) -> None:
    index = build_index()
    members = layout_members({"docker.io/library/app:v1": index})
    for layer in index.children[1].layers:
        del members[f"blobs/sha256/{layer.digest.encoded}"]
    del members[f"blobs/sha256/{index.children[1].digest.encoded}"]
    names = {"RepoTags": ["app:v2"], "Layers": [], "Config": f"blobs/sha256/{index.children[0].id.encoded}"}
    async with opened(tar(members | {"manifest.json": dumps([names])}), tmp_path) as archive:
        [found] = archive.images
        assert (found.digest, found.names) == (index.digest, ("docker.io/library/app:v1", "app:v2"))


@pytest.mark.parametrize("config", [None, IMAGE.config], ids=["artifact", "as-image"])
async def test_list_referrers_of_layout_and_leave_them_out_of_images(tmp_path: Path, config: Content | None) -> None:
    note = build_artifact(b"note", artifact_type="a/note", subject=IMAGE, config=config or EMPTY_CONFIG)
    async with opened(tar(layout_members({"x:v1": IMAGE, "": note})), tmp_path) as archive:
        assert [found.digest for found in archive.images] == [IMAGE.digest]
        [referrer] = (await archive.list_referrers(IMAGE.digest, "a/note")).items
        assert referrer["digest"] == note.digest


# docker-archives


@pytest.mark.parametrize("linked", [False, True], ids=["docker", "skopeo"])
async def test_read_old_archive_compresses_layers_and_keeps_the_id(tmp_path: Path, *, linked: bool) -> None:
    members = old_docker_members(IMAGE, "app:v1", "localhost:5000/app:v2", linked=linked)
    async with opened(tar(members), tmp_path) as archive:
        [found] = archive.images
        assert found.names == ("app:v1", "localhost:5000/app:v2")
        assert (await archive.head_manifest(found.digest)).media_type == DOCKER_MANIFEST
        await require_same_image(archive, found.digest, IMAGE)


async def test_read_old_archive_twice_gives_the_same_digest(tmp_path: Path) -> None:
    digests = set()
    for _ in range(2):
        async with opened(tar(old_docker_members(IMAGE)), tmp_path) as archive:
            digests.add(archive.images[0].digest)
    assert len(digests) == 1


async def test_read_archive_without_names_gives_none(tmp_path: Path) -> None:
    async with opened(tar(old_docker_members(IMAGE)), tmp_path) as archive:
        assert [found.names for found in archive.images] == [()]


async def test_read_archive_with_compressed_layers_keeps_them(tmp_path: Path) -> None:
    image = build_image(2, seed=1, docker=True)
    path = write_docker_archive(tmp_path / "docker.tar", {"app:v1": image})
    async with opened(path, tmp_path) as archive:
        [found] = archive.images
        layers = image_layers(parse_manifest((await archive.get_manifest(found.digest)).content, None))
        assert [layer.descriptor.digest for layer in layers] == [layer.digest for layer in image.layers]
        await require_same_image(archive, found.digest, image)


async def test_read_archive_with_zstd_layers_makes_an_oci_manifest(tmp_path: Path) -> None:
    members = old_docker_members(IMAGE, "app:v1")
    name = f"{0:064x}/layer.tar"
    members[name] = zstandard.compress(unpack(IMAGE.layers[0].data))
    async with opened(tar(members), tmp_path) as archive:
        stored = await archive.get_manifest(archive.images[0].digest)
        assert stored.media_type == OCI_MANIFEST
        layers = image_layers(parse_manifest(stored.content, None))
        assert [layer.descriptor.media_type.rpartition("+")[2] for layer in layers] == ["zstd", "gzip", "gzip"]


async def test_read_archive_of_several_images_that_share_layers(tmp_path: Path) -> None:
    layers = build_layers(3, seed=9)
    one, two = build_image(layers[:2], seed=1, docker=True), build_image(layers, seed=2, docker=True)
    path = write_docker_archive(tmp_path / "docker.tar", {"one:1": one})
    with tarfile.open(path) as first:
        members = {member.name: _content(first, member) for member in first}
    [entry] = json.loads(members["manifest.json"])
    second = {**entry, "RepoTags": ["two:1"], "Config": "two.json", "Layers": [*entry["Layers"], "third"]}
    members |= {"two.json": two.config.data, "third": layers[2].data, "manifest.json": dumps([entry, second])}
    async with opened(tar(members), tmp_path) as archive:
        assert [found.names for found in archive.images] == [("one:1",), ("two:1",)]
        await require_same_image(archive, archive.images[1].digest, two)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


async def test_read_archive_with_dots_before_names(tmp_path: Path) -> None:
    members = {f"./{name}": content for name, content in old_docker_members(IMAGE, "app:v1").items()}
    async with opened(tar({"./": None, **members}), tmp_path) as archive:
        await require_same_image(archive, archive.images[0].digest, IMAGE)


# where the archive comes from


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
async def test_read_compressed_archive(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    content = compress(tar(layout_members({"app:v1": IMAGE})))
    async with opened(content, tmp_path) as archive:
        await require_whole(archive, IMAGE, IMAGE.digest)
        assert os.listdir(tmp_path) == ["archive.tar"]


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
async def test_read_archive_from_pipe(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    content = compress(tar(layout_members({"app:v1": IMAGE})))
    reading, writing = os.pipe()
    feeding = threading.Thread(target=_write_all, args=(writing, content))
    feeding.start()
    archive = await ArchiveRepository.open(os.fdopen(reading, "rb"), "standard input", spool_folder=tmp_path)
    feeding.join()
    await require_whole(archive, IMAGE, IMAGE.digest)
    archive.close()
    assert os.listdir(tmp_path) == []


def _write_all(fd: int, content: bytes) -> None:
    with os.fdopen(fd, "wb") as file:
        file.write(content)


async def test_open_of_a_silent_pipe_can_be_cancelled(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"some")
    opening = asyncio.ensure_future(ArchiveRepository.open(os.fdopen(reading, "rb"), "pipe", spool_folder=tmp_path))
    while os.listdir(tmp_path) == [] and select.select([reading], [], [], 0)[0]:
        await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    os.close(writing)
    assert os.listdir(tmp_path) == []


async def test_read_compressed_archive_over_the_limit_is_refused(tmp_path: Path) -> None:
    content = gzip.compress(tar(layout_members({"app:v1": IMAGE})) + bytes(10_000_000))
    with pytest.raises(TooLarge, match="unpacks to more than 1000000 bytes"):
        await opened(content, tmp_path, spool_limit=1_000_000).__aenter__()
    assert os.listdir(tmp_path) == ["archive.tar"]


async def test_read_archive_with_layer_over_the_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayerTooLarge):
        await opened(tar(old_docker_members(IMAGE)), tmp_path, unpacked_limit=1000).__aenter__()


async def test_read_archive_that_became_shorter_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, tar(layout_members({"app:v1": IMAGE})))
    async with opened(path, tmp_path) as archive:
        os.truncate(path, 600)
        with pytest.raises(ArchiveInvalid, match="became shorter"):
            await archive.get_manifest(IMAGE.digest)


# broken and hostile archives


def changed(**changes: Any) -> bytes:
    members = old_docker_members(IMAGE, "app:v1")
    return tar(members | {name.replace("_", "."): content for name, content in changes.items()})


def entry(**changes: Any) -> bytes:
    members = old_docker_members(IMAGE, "app:v1")
    content = members["manifest.json"]
    assert isinstance(content, bytes)
    [found] = json.loads(content)
    return tar(members | {"manifest.json": dumps([found | changes])})


def with_device() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        device = tarfile.TarInfo("dev/sda")
        device.type = tarfile.BLKTYPE
        archive.addfile(device)
    return file.getvalue()


def huge_manifest() -> bytes:
    header = tarfile.TarInfo("manifest.json")
    header.size = 2**30
    return header.tobuf()


def damaged_blob() -> bytes:
    members = layout_members({"app:v1": IMAGE})
    return tar(members | {f"blobs/sha256/{IMAGE.digest.encoded}": b"{}"})


def without(name: str) -> bytes:
    members = layout_members({"app:v1": IMAGE})
    del members[name]
    return tar(members)


BROKEN: dict[str, tuple[Callable[[], bytes], type[RegistryError], str]] = {
    "no-tar": (lambda: b"MZ" + bytes(2000), ArchiveInvalid, "no tar"),
    "empty": (lambda: b"", ArchiveInvalid, "neither index.json nor manifest.json"),
    "empty-tar": (lambda: tar({}), ArchiveInvalid, "neither index.json nor manifest.json"),
    "no-images": (lambda: tar({"readme": b"hello"}), ArchiveInvalid, "neither index.json nor manifest.json"),
    "very-old-docker": (lambda: tar({"repositories": b"{}"}), ArchiveInvalid, "docker before 1.10"),
    "cut": (lambda: changed()[:3000], ArchiveInvalid, "to end before the archive does|end of the archive"),
    "cut-gzip": (lambda: gzip.compress(changed())[:-100], ArchiveInvalid, "expected the end of its gzip data"),
    "absolute-name": (lambda: changed(**{"/etc/passwd": b""}), ArchiveInvalid, "names below one folder"),
    "parent-name": (lambda: changed(**{"a/../../b": b""}), ArchiveInvalid, "names below one folder"),
    "absolute-link": (lambda: changed(link=("symlink", "/etc/passwd")), ArchiveInvalid, "names below one folder"),
    "parent-link": (lambda: changed(link=("symlink", "../../x")), ArchiveInvalid, "names below one folder"),
    "parent-hard-link": (lambda: changed(link=("hard", "../x")), ArchiveInvalid, "names below one folder"),
    "link-circle": (
        lambda: changed(manifest_json=("symlink", "b"), b=("symlink", "c"), c=("symlink", "b")),
        ArchiveInvalid,
        "links in a circle",
    ),
    "device": (with_device, ArchiveInvalid, "a device or pipe"),
    "repeated": (lambda: tar([("a.json", b"[]"), ("./a.json", b"[]")]), ArchiveInvalid, "each member once"),
    "huge-manifest": (lambda: huge_manifest() + bytes(4096), ArchiveInvalid, "to end before the archive does"),
    "size-beyond": (lambda: huge_manifest(), ArchiveInvalid, "to end before the archive does"),
    "deep-json": (lambda: changed(manifest_json=b"[" * 100_000), ArchiveInvalid, "expected JSON"),
    "no-json": (lambda: changed(manifest_json=b"{"), ArchiveInvalid, "expected JSON"),
    "json-object": (lambda: changed(manifest_json=b"{}"), ArchiveInvalid, "expected an array"),
    "json-numbers": (lambda: changed(manifest_json=b"[1]"), ArchiveInvalid, "expected an object, got int"),
    "no-config": (lambda: entry(Config=None), ArchiveInvalid, "expected Config to be a name"),
    "config-absent": (lambda: entry(Config="x.json"), ArchiveInvalid, "'x.json' is not in it"),
    "config-outside": (lambda: entry(Config="/etc/passwd"), ArchiveInvalid, "is not in it"),
    "layers-no-array": (lambda: entry(Layers="x"), ArchiveInvalid, "Layers to be an array"),
    "layers-no-texts": (lambda: entry(Layers=[1]), ArchiveInvalid, "Layers to be an array"),
    "layers-absent": (lambda: entry(Layers=["x"] * 3), ArchiveInvalid, "'x' is not in it"),
    "layers-many": (lambda: entry(Layers=["x"] * 1001), ArchiveInvalid, "at most 1000 layers"),
    "layers-few": (lambda: entry(Layers=[]), LayerInvalid, "names 3 layers, manifest.json 0"),
    "tags-no-texts": (lambda: entry(RepoTags=[1]), ArchiveInvalid, "RepoTags to be an array"),
    "wrong-layer": (
        lambda: changed(**{f"{0:064x}/layer.tar": bytes(1024)}), LayerInvalid, "the config expects layer",
    ),
    "config-no-json": (lambda: changed(**{f"{IMAGE.id.encoded}.json": b"{"}), ManifestInvalid, "invalid image config"),
    "layout-version": (
        lambda: tar(layout_members({"a:b": IMAGE}) | {"oci-layout": b'{"imageLayoutVersion":"9"}'}),
        ArchiveInvalid,
        "imageLayoutVersion",
    ),
    "layout-index": (
        lambda: tar(layout_members({"a:b": IMAGE}) | {"index.json": b"{}"}), ManifestInvalid, "schemaVersion",
    ),
    "layout-manifest-absent": (
        lambda: without(f"blobs/sha256/{IMAGE.digest.encoded}"), ArchiveInvalid, "it is not complete",
    ),
    "layout-manifest-damaged": (damaged_blob, Corrupt, "holds something else"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
async def test_read_broken_archive_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    build, error, message = BROKEN[name]
    with pytest.raises(error, match=message):
        await opened(build(), tmp_path).__aenter__()
    assert os.listdir(tmp_path) == ["archive.tar"]


async def test_read_sparse_manifest_of_a_gigabyte_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, huge_manifest())
    os.truncate(path, 2**30 + 4096)
    with pytest.raises(ArchiveInvalid, match=r"manifest\.json may have 16777216 bytes"):
        await opened(path, tmp_path).__aenter__()


async def test_find_blob_that_is_absent_is_unknown(tmp_path: Path) -> None:
    async with opened(tar(layout_members({"app:v1": IMAGE})), tmp_path) as archive:
        with pytest.raises(BlobUnknown):
            await archive.find_blob(Digest.of(b"absent"))


async def test_change_archive_is_refused(tmp_path: Path) -> None:
    async with opened(tar(layout_members({"app:v1": IMAGE})), tmp_path) as archive:
        manifest = IMAGE.manifest
        with pytest.raises(ReadOnly, match="can only be read"):
            await archive.put_manifest(Tag("v2"), manifest.data, manifest.media_type)


async def test_list_images_of_index_gives_it_once(tmp_path: Path) -> None:
    index = index_of([IMAGE, OTHER])
    async with opened(tar(layout_members({"a/b:1": index, "a/b:2": index})), tmp_path) as archive:
        assert [found.names for found in archive.images] == [("a/b:1", "a/b:2")]
