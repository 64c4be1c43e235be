"""What is written is a layout and a docker-archive at once, the same bytes for the same images, and reads back."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.errors import ArchiveInvalid, Corrupt
from entrepot.manifest import Descriptor
from entrepot.reference import RepositoryName
from entrepot.repositories.archive import ArchiveRepository
from entrepot.repositories.archive_writer import ArchiveWriter, NamedImage
from entrepot.repositories.layout import LayoutRepository
from entrepot.repositories.layout_index import REF_NAME
from entrepot.store.threads import DiskThreads
from entrepot.testing.images import Image, build_artifact, build_image, write_layout
from entrepot.testing.repository_suite import require_whole
from entrepot.testing.repository_upload_suite import pieces

IMAGE = build_image(2, seed=1)
OTHER = build_image(2, seed=2)


def named(image: Image, *tags: str, is_image: bool = True) -> NamedImage:
    manifest = image.manifest
    return NamedImage(
        Descriptor(manifest.media_type, manifest.digest, manifest.size),
        tuple(("app", "docker.io/library/app", tag) for tag in tags),
        image.id if is_image else None,
        tuple(layer.digest for layer in image.layers) if is_image else (),
    )


async def write(folder: Path, *images: tuple[Image, tuple[str, ...]], docker: bool = True) -> bytes:
    write_layout(folder, {f"v{number}": image for number, (image, _) in enumerate(images)})
    source = LayoutRepository(folder, RepositoryName("layout"))
    file = io.BytesIO()
    writer = ArchiveWriter(file, DiskThreads(1))
    await writer.begin([named(image, *tags) for image, tags in images], docker=docker)
    for image, _ in images:
        await writer.add_bytes(image.digest, image.manifest.data)
        for content in (image.config, *image.layers):
            await writer.add(await source.find_blob(content.digest))
    await writer.finish()
    return file.getvalue()


def members(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        found = {}
        for member in archive:
            file = archive.extractfile(member)
            found[member.name] = file.read() if file else b""
        return found


async def test_write_archive_has_both_forms_in_one(tmp_path: Path) -> None:
    found = members(await write(tmp_path, (IMAGE, ("v1", "v2"))))
    assert json.loads(found["manifest.json"]) == [
        {
            "Config": f"blobs/sha256/{IMAGE.id.encoded}",
            "RepoTags": ["app:v1", "app:v2"],
            "Layers": [f"blobs/sha256/{layer.digest.encoded}" for layer in IMAGE.layers],
        }
    ]
    entries = json.loads(found["index.json"])["manifests"]
    assert [(entry["digest"], entry["annotations"]) for entry in entries] == [
        (IMAGE.digest, {"io.containerd.image.name": f"docker.io/library/app:{tag}", REF_NAME: tag})
        for tag in ("v1", "v2")
    ]
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads(found["repositories"])["app"].keys() == {"v1", "v2"}
    for content in (IMAGE.manifest, IMAGE.config, *IMAGE.layers):
        assert found[f"blobs/sha256/{content.digest.encoded}"] == content.data


async def test_write_oci_archive_has_no_docker_files(tmp_path: Path) -> None:
    found = members(await write(tmp_path, (IMAGE, ("v1",)), docker=False))
    assert not {"manifest.json", "repositories"} & found.keys()


async def test_write_archive_twice_gives_the_same_bytes_without_times(tmp_path: Path) -> None:
    contents = [await write(tmp_path / str(number), (IMAGE, ("v1",)), (OTHER, ())) for number in range(2)]
    assert contents[0] == contents[1]
    with tarfile.open(fileobj=io.BytesIO(contents[0])) as archive:
        assert {(member.mtime, member.uid, member.uname) for member in archive} == {(0, 0, "")}


async def test_write_image_twice_writes_its_blobs_once(tmp_path: Path) -> None:
    content = await write(tmp_path, (IMAGE, ("v1",)), (IMAGE, ("v2",)))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = archive.getnames()
    assert len(names) == len(set(names))


async def test_write_archive_reads_back_unchanged(tmp_path: Path) -> None:
    content = await write(tmp_path / "layout", (IMAGE, ("v1", "v2")), (OTHER, ()))
    archive = await ArchiveRepository.open(_file(tmp_path, content), "saved")
    assert [(image.digest, image.names) for image in archive.images] == [
        (IMAGE.digest, ("docker.io/library/app:v1", "docker.io/library/app:v2", "app:v1", "app:v2")),
        (OTHER.digest, ()),
    ]
    for image in (IMAGE, OTHER):
        await require_whole(archive, image, image.digest)
    archive.close()


def _file(folder: Path, content: bytes) -> io.BufferedReader:
    path = folder / "saved.tar"
    path.write_bytes(content)
    return path.open("rb")


@dataclass
class DamagedBlob:
    """A blob whose bytes are not what its digest says."""

    digest: Digest
    size: int
    content: bytes

    @asynccontextmanager
    async def open(self, *, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        yield pieces(self.content)


@pytest.mark.parametrize("content", [b"other", b"short", b"much longer"])
async def test_write_damaged_blob_is_refused(content: bytes) -> None:
    writer = ArchiveWriter(io.BytesIO(), DiskThreads(1))
    with pytest.raises(Corrupt, match="is damaged"):
        await writer.add(DamagedBlob(Digest.of(b"right"), 5, content))


async def test_write_docker_archive_of_an_artifact_alone_is_refused() -> None:
    note = build_artifact(b"note", artifact_type="a/note")
    writer = ArchiveWriter(io.BytesIO(), DiskThreads(1))
    with pytest.raises(ArchiveInvalid, match="no image among what is to be saved"):
        await writer.begin([named(note, "v1", is_image=False)], docker=True)


async def test_write_blob_of_more_than_eight_gibibytes_announces_its_size() -> None:
    file = io.BytesIO()
    ArchiveWriter(file, DiskThreads(1))._header("blobs/sha256/x", 2**34)
    with tarfile.open(fileobj=io.BytesIO(file.getvalue())) as archive:
        member = archive.next()
        assert member is not None
        assert member.size == 2**34
