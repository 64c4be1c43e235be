"""What a layout repository leaves on disk, and what it makes of layouts that others wrote or damaged."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.errors import ArchiveInvalid, Corrupt, ManifestInvalid, ManifestUnknown, NameInvalid, PreconditionFailed
from entrepot.manifest import TagCondition
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.layout import LayoutRegistry, LayoutRepository
from entrepot.repositories.layout_folder import LayoutFolder, has_room
from entrepot.store.disk import Disk
from entrepot.store.layout_partials import LayoutBlobFolder
from entrepot.store.partial_files import Claim, PartialFiles
from entrepot.store.threads import DiskThreads
from entrepot.testing.images import build_artifact, build_image, build_index, write_layout
from entrepot.testing.repository_suite import push, require_whole

REF_NAME = "org.opencontainers.image.ref.name"
V1, V2 = Tag("v1"), Tag("v2")
IMAGE = build_image(1, seed=1)
OTHER = build_image(1, seed=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "layout"


@pytest.fixture
def layout(folder: Path) -> LayoutRepository:
    return LayoutRepository(folder, RepositoryName("layout"))


def index(folder: Path) -> dict[str, Any]:
    document = json.loads((folder / "index.json").read_bytes())
    assert isinstance(document, dict)
    return document


def entries(folder: Path) -> list[tuple[str, str | None]]:
    """Digest and tag of each entry."""
    found = index(folder)["manifests"]
    return [(entry["digest"], entry.get("annotations", {}).get(REF_NAME)) for entry in found]


def change(folder: Path, **more: Any) -> None:
    (folder / "index.json").write_text(json.dumps({**index(folder), **more}))


async def test_push_writes_a_layout_as_the_specification_has_it(layout: LayoutRepository, folder: Path) -> None:
    await push(layout, IMAGE, V1)
    assert json.loads((folder / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert index(folder)["manifests"] == [IMAGE.manifest.descriptor(annotations={REF_NAME: "v1"})]
    blobs = {path.name for path in (folder / "blobs" / "sha256").iterdir()}
    assert blobs == {content.digest.encoded for content in (IMAGE.manifest, IMAGE.config, *IMAGE.layers)}
    assert sorted(path.name for path in folder.iterdir()) == ["blobs", "index.json", "oci-layout"]


async def test_push_index_lists_it_and_not_its_children(layout: LayoutRepository, folder: Path) -> None:
    image = build_index()
    await push(layout, image, V1)
    assert entries(folder) == [(image.digest, "v1")]


async def test_push_same_manifest_under_second_tag_keeps_the_first(layout: LayoutRepository, folder: Path) -> None:
    await push(layout, IMAGE, V1)
    await push(layout, IMAGE, V2)
    assert entries(folder) == [(IMAGE.digest, "v1"), (IMAGE.digest, "v2")]


async def test_move_tag_takes_its_entry_along(layout: LayoutRepository, folder: Path) -> None:
    await push(layout, IMAGE, V1)
    await push(layout, OTHER, V1)
    assert entries(folder) == [(OTHER.digest, "v1")]
    await require_whole(layout, IMAGE, IMAGE.digest)


async def test_push_keeps_what_others_have_written(layout: LayoutRepository, folder: Path) -> None:
    write_layout(folder, {"v1": IMAGE})
    foreign = {"mediaType": "application/xml", "digest": IMAGE.config.digest, "size": 7, "annotations": {"a": "b"}}
    change(folder, annotations={"org.example": "kept"}, manifests=[foreign, *index(folder)["manifests"]], extra=1)
    await push(layout, OTHER, V2)
    document = index(folder)
    assert document["manifests"][0] == foreign
    assert (document["annotations"], document["extra"]) == ({"org.example": "kept"}, 1)
    assert entries(folder)[1:] == [(IMAGE.digest, "v1"), (OTHER.digest, "v2")]


async def test_push_what_is_there_keeps_annotations_of_its_entry(layout: LayoutRepository, folder: Path) -> None:
    write_layout(folder, {"v1": IMAGE})
    entry = IMAGE.manifest.descriptor(annotations={REF_NAME: "v1", "note": "mine"})
    change(folder, manifests=[entry])
    await push(layout, IMAGE, V1)
    assert index(folder)["manifests"] == [entry]


async def test_read_layout_of_another_program(layout: LayoutRepository, folder: Path) -> None:
    image = build_index(docker=True)
    write_layout(folder, {"v1": image, "docker.io/library/app:v2": IMAGE})
    await require_whole(layout, image, V1)
    assert (await layout.list_tags(limit=9)).items == ["v1"]


async def test_list_referrers_finds_those_below_an_index(layout: LayoutRepository) -> None:
    await push(layout, IMAGE, V1)
    note = build_artifact(b"note", artifact_type="a/note", subject=IMAGE)
    await push(layout, note)
    fallback = json.dumps({"schemaVersion": 2, "manifests": [note.manifest.descriptor()]}).encode()
    await layout.put_manifest(Tag("sha256-fallback"), fallback, "application/vnd.oci.image.index.v1+json")
    [found] = (await layout.list_referrers(IMAGE.digest, None)).items
    assert found["digest"] == note.digest


async def test_get_manifest_that_is_damaged_is_corrupt(layout: LayoutRepository, folder: Path) -> None:
    write_layout(folder, {"v1": IMAGE})
    (folder / "blobs" / "sha256" / IMAGE.digest.encoded).write_bytes(b"{}")
    with pytest.raises(Corrupt, match="holds something else"):
        await layout.get_manifest(V1)


async def test_get_manifest_of_a_config_is_unknown(layout: LayoutRepository, folder: Path) -> None:
    write_layout(folder, {"v1": IMAGE})
    with pytest.raises(ManifestUnknown):
        await layout.get_manifest(IMAGE.config.digest)


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"{}", b'{"schemaVersion":2,"manifests":[{}]}', b"[" * 100_000], ids=range(5)
)
async def test_read_damaged_index_is_refused_and_left(layout: LayoutRepository, folder: Path, content: bytes) -> None:
    write_layout(folder, {"v1": IMAGE})
    (folder / "index.json").write_bytes(content)
    with pytest.raises(ManifestInvalid):
        await layout.get_manifest(V1)
    with pytest.raises(ManifestInvalid):
        await layout.put_manifest(V2, IMAGE.manifest.data, IMAGE.manifest.media_type)
    assert (folder / "index.json").read_bytes() == content


@pytest.mark.parametrize("mark", [b"", b"[]", b"{}", b'{"imageLayoutVersion":"2.0.0"}'])
async def test_read_layout_of_another_version_is_refused(layout: LayoutRepository, folder: Path, mark: bytes) -> None:
    write_layout(folder, {"v1": IMAGE})
    (folder / "oci-layout").write_bytes(mark)
    with pytest.raises(ArchiveInvalid, match=r"expected imageLayoutVersion 1\.0\.0"):
        await layout.get_manifest(V1)


async def test_read_huge_index_is_refused(layout: LayoutRepository, folder: Path) -> None:
    write_layout(folder, {"v1": IMAGE})
    os.truncate(folder / "index.json", 2**30)
    with pytest.raises(ArchiveInvalid, match="at most"):
        await layout.get_manifest(V1)


async def test_find_blob_that_is_a_pipe_does_not_wait(layout: LayoutRepository, folder: Path) -> None:
    write_layout(folder, {"v1": IMAGE})
    path = folder / "blobs" / "sha256" / IMAGE.digest.encoded
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ManifestUnknown):
        await layout.get_manifest(V1)


async def test_put_manifest_on_condition_looks_at_the_index(layout: LayoutRepository) -> None:
    await push(layout, IMAGE, V1)
    await push(layout, OTHER)
    manifest = OTHER.manifest
    for condition in (TagCondition(digests=frozenset({OTHER.digest})), TagCondition(must_be_absent=True)):
        with pytest.raises(PreconditionFailed):
            await layout.put_manifest(V1, manifest.data, manifest.media_type, condition=condition)
    right = TagCondition(digests=frozenset({IMAGE.digest}))
    await layout.put_manifest(V1, manifest.data, manifest.media_type, condition=right)
    assert (await layout.head_manifest(V1)).digest == OTHER.digest


async def test_push_many_tags_at_once_through_several_objects_loses_none(folder: Path) -> None:
    several = [LayoutRepository(folder, RepositoryName("layout")) for _ in range(3)]
    await push(several[0], IMAGE)
    tags = [Tag(f"v{number}") for number in range(30)]
    manifest = IMAGE.manifest
    pushes = (several[n % 3].put_manifest(tag, manifest.data, manifest.media_type) for n, tag in enumerate(tags))
    await asyncio.gather(*pushes)
    assert sorted((await several[0].list_tags(limit=99)).items) == sorted(tags)


def test_begin_and_cancel_uploads_at_once_finds_the_folder_or_makes_it(folder: Path) -> None:
    """It goes with the last upload, while another one is begun."""

    def begin_and_cancel(_: int) -> None:
        files = LayoutFolder(folder)
        files.discard(files.begin_upload())

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(begin_and_cancel, range(1000)))
    assert not LayoutFolder(folder).uploads.exists()


def test_take_and_drop_partials_at_once_finds_the_folders_or_makes_them(folder: Path) -> None:
    """They go with the last partial, while another one is begun."""

    def take_and_drop(number: int) -> None:
        files = LayoutBlobFolder(folder, folder / ".uploads", Disk())
        partial = PartialFiles.take(files, Digest.of(str(number).encode()))
        assert partial is not None
        partial.keep(Claim(1))
        partial.release()
        files.tidy()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(take_and_drop, range(1000)))
    assert not (folder / ".uploads").exists()


class DeletionWatched(LayoutFolder):
    """Somebody pushes the manifest again just before its bytes are deleted."""

    def delete_blob(self, digest: Digest) -> bool:
        fd = os.open(self.root, os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):  # and has to wait
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(fd)
        return super().delete_blob(digest)


async def test_delete_manifest_makes_who_pushes_it_wait_until_its_bytes_are_gone(
    layout: LayoutRepository, folder: Path
) -> None:
    await push(layout, IMAGE, V1)
    assert DeletionWatched(folder).delete_manifest(IMAGE.digest)
    assert not entries(folder)
    assert LayoutFolder(folder).size_of(IMAGE.digest) is None


def test_make_layout_at_once_has_room_all_the_time(tmp_path: Path) -> None:
    def make_and_look(number: int) -> bool:
        folder = LayoutFolder(tmp_path / str(number // 4))
        folder.root.mkdir(exist_ok=True)
        before = has_room(folder.root)
        folder.make()
        return before and has_room(folder.root)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(make_and_look, range(400)))


def test_upload_to_folder_that_is_a_link_to_nowhere_is_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / ".uploads").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        LayoutFolder(folder).begin_upload()


@pytest.mark.parametrize("name", ["app/blobs", "app/index.json", "oci-layout"])
def test_repository_inside_another_layout_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NameInvalid, match=r"needs .* for itself"):
        LayoutRegistry(tmp_path, DiskThreads(1)).repository(RepositoryName.parse(name))
