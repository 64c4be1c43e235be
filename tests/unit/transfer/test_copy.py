"""Copies between local repositories: what is moved, in which order, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.errors import (
    BlobUnknown,
    DigestInvalid,
    LayerInvalid,
    ManifestUnknown,
    NotFound,
    SizeInvalid,
    StorageFull,
)
from entrepot.layers.diff_id import Uncompressed
from entrepot.manifest import OCI_INDEX, OCI_LAYER_GZIP
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.platforms import Platform
from entrepot.progress import Event, Kind, State
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Repository
from entrepot.repositories.local import LocalRegistry, Rules
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.images import Content, Image, Index, build_artifact, build_image, build_index, walk_blobs
from entrepot.transfer.copy import Options, copy
from entrepot.transfer.graph import OnlyPlatforms
from tests.unit.transfer.places import NAME, V1, V2, Watched, push, put_blob, require_whole

RULES = Rules(allow_missing_children=("*",), allow_unknown_types=True)
IMAGE = build_image(3, seed=1)
OTHER = RepositoryName.parse("team/other")


class PushedTo(Watched):
    """A repository without a place for parts of blobs."""

    keeps_partials = False


@pytest.fixture
async def here(database: Path) -> AsyncIterator[LocalRegistry]:
    metadata = SqliteMetadata(database)
    yield LocalRegistry(MemoryBlobStore(), metadata, RULES)
    await metadata.close()


@pytest.fixture
async def there(tmp_path: Path, _new_database: Path) -> AsyncIterator[LocalRegistry]:
    path = tmp_path / "there"
    path.mkdir()
    (path / "entrepot.db").write_bytes(_new_database.read_bytes())
    metadata = SqliteMetadata(path / "entrepot.db")
    yield LocalRegistry(FilesystemBlobStore(path), metadata, RULES)
    await metadata.close()


@pytest.fixture
def source(here: LocalRegistry) -> Repository:
    return here.repository(NAME)


@pytest.fixture(params=["fetches", "is_pushed_to"])
def target(request: pytest.FixtureRequest, there: LocalRegistry) -> Repository:
    repository = there.repository(NAME)
    return repository if request.param == "fetches" else PushedTo(repository)


@pytest.mark.parametrize(
    "image",
    [
        IMAGE,
        build_image(2, docker=True),
        build_index(),
        build_index(docker=True),
        build_artifact(b"note"),
        build_image(0),
    ],
    ids=["image", "docker", "index", "list", "artifact", "empty"],
)
async def test_copy_by_tag_gives_the_same_bytes(source: Repository, target: Repository, image: Image | Index) -> None:
    await push(source, image, V1)
    copied = await copy(source, target, V1, tags=[V1, V2])
    assert (copied.digest, copied.moved) == (image.digest, True)
    await require_whole(target, image, V1)
    await require_whole(target, image, V2)


async def test_copy_by_digest_makes_no_tag(source: Repository, target: Repository) -> None:
    await push(source, IMAGE, V1)
    await copy(source, target, IMAGE.digest)
    await require_whole(target, IMAGE, IMAGE.digest)
    assert (await target.list_tags(limit=9)).items == []


async def test_copy_of_sha512_keeps_its_digest(source: Repository, target: Repository) -> None:
    await push(source, IMAGE)
    manifest, digest = IMAGE.manifest, Digest.of(IMAGE.manifest.data, "sha512")
    await source.put_manifest(digest, manifest.data, manifest.media_type, tags=[V1])
    await copy(source, target, V1, tags=[V1])
    assert (await target.head_manifest(V1)).digest == digest


async def test_copy_again_moves_nothing(source: Repository, target: Repository) -> None:
    await push(source, IMAGE, V1)
    await copy(source, target, V1, tags=[V1])
    events: list[Event] = []
    watched = Watched(source)
    copied = await copy(watched, target, V1, tags=[V1], options=Options(listener=events.append))
    assert not copied.moved
    assert watched.opened == []
    last = {event.digest: event.state for event in events}
    assert set(last.values()) == {State.EXISTS}
    assert set(last) == {blob.digest for blob in walk_blobs(IMAGE)}


async def test_copy_moves_a_tag(source: Repository, target: Repository) -> None:
    other = build_image(1, seed=9)
    await push(source, IMAGE, V1)
    await push(target, other, V1)
    assert (await copy(source, target, V1, tags=[V1])).moved
    await require_whole(target, IMAGE, V1)
    await require_whole(target, other, other.digest)


async def test_copy_of_one_platform_leaves_the_others(source: Repository, target: Repository) -> None:
    index = build_index(["linux/amd64", "linux/arm64"])
    await push(source, index, V1)
    choice = OnlyPlatforms((Platform.parse("linux/arm64"),))
    copied = await copy(source, target, V1, tags=[V1], options=Options(choice=choice))
    assert copied.digest == index.digest
    await require_whole(target, index.children[1], index.children[1].digest)
    with pytest.raises(ManifestUnknown):
        await target.get_manifest(index.children[0].digest)


async def test_copy_of_index_with_blobs_in_it_takes_them(source: Repository, target: Repository) -> None:
    cached = Content(OCI_LAYER_GZIP, b"a layer of a build cache")
    await put_blob(source, cached.data)
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [cached.descriptor()]}
    await source.put_manifest(V1, json.dumps(document).encode(), OCI_INDEX)
    await copy(source, target, V1, tags=[V1])
    assert (await target.find_blob(cached.digest)).size == cached.size


# referrers


async def test_copy_with_referrers_takes_them_and_theirs(source: Repository, target: Repository) -> None:
    sbom = build_artifact(b"sbom", artifact_type="a/sbom", subject=IMAGE)
    signature = build_artifact(b"signature", artifact_type="a/signature", subject=sbom)
    for image in (IMAGE, sbom, signature):
        await push(source, image, *([V1] if image is IMAGE else []))
    await copy(source, target, V1, tags=[V1], options=Options(referrers=True))
    await require_whole(target, signature, signature.digest)
    assert [item["digest"] for item in (await target.list_referrers(IMAGE.digest, None)).items] == [sbom.digest]


async def test_copy_without_referrers_leaves_them(source: Repository, target: Repository) -> None:
    note = build_artifact(b"note", artifact_type="a/note", subject=IMAGE)
    await push(source, IMAGE, V1)
    await push(source, note)
    await copy(source, target, V1, tags=[V1])
    with pytest.raises(NotFound):
        await target.get_manifest(note.digest)


# order, bounds, errors


@pytest.mark.parametrize("parallel", [1, 2, 4])
async def test_copy_moves_so_many_blobs_at_a_time(source: Repository, target: Repository, parallel: int) -> None:
    image = build_image(9, seed=3)
    await push(source, image, V1)
    moving = 0

    async def wait_for_others(_: Digest) -> None:
        nonlocal moving
        moving += 1
        if moving >= parallel:
            full.set()
        await full.wait()

    full = asyncio.Event()
    watched = Watched(source, wait_for_others)
    await copy(watched, target, V1, tags=[V1], options=Options(parallel=parallel))
    assert watched.most_open == parallel
    await require_whole(target, image, V1)


async def test_copy_whose_blob_fails_ends_the_others_and_says_why(source: Repository, target: Repository) -> None:
    image = build_image(6, seed=4)
    await push(source, image, V1)
    bad = image.layers[2].digest

    async def fail_or_hang(digest: Digest) -> None:
        if digest == bad:
            raise StorageFull("no space left")
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    watched = Watched(source, fail_or_hang)
    events: list[Event] = []
    with pytest.raises(StorageFull, match="no space left"):
        await copy(watched, target, V1, tags=[V1], options=Options(listener=events.append))
    assert [(event.digest, event.note) for event in events if event.state is State.FAILED] == [(bad, "no space left")]
    assert watched.open_now == 0
    assert asyncio.all_tasks() == before
    with pytest.raises(NotFound):
        await target.get_manifest(V1)


async def test_copy_that_fails_keeps_what_is_done(source: Repository, target: Repository) -> None:
    await push(source, IMAGE, V1)
    bad = IMAGE.config.digest

    async def fail(digest: Digest) -> None:
        if digest == bad:
            raise StorageFull("no space left")

    with pytest.raises(StorageFull):
        await copy(Watched(source, fail), target, V1, tags=[V1], options=Options(parallel=1))
    watched = Watched(source)
    await copy(watched, target, V1, tags=[V1])
    assert watched.opened == [bad]


async def test_copy_that_is_cancelled_leaves_no_task_and_no_manifest(source: Repository, target: Repository) -> None:
    await push(source, IMAGE, V1)
    reached = asyncio.Event()

    async def hang(_: Digest) -> None:
        reached.set()
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    watched = Watched(source, hang)
    copying = asyncio.create_task(copy(watched, target, V1, tags=[V1]))
    await reached.wait()
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert (watched.open_now, asyncio.all_tasks()) == (0, before)
    with pytest.raises(NotFound):
        await target.get_manifest(V1)


async def test_copy_puts_manifests_after_all_blobs(source: Repository, target: Repository) -> None:
    index = build_index()
    await push(source, index, V1)
    done: list[str] = []

    class Noting(Watched):
        async def put_manifest(self, reference: Any, content: bytes, *more: Any, **options: Any) -> Any:
            for blob in walk_blobs(index):
                await target.find_blob(blob.digest)
            done.append(Digest.of(content))
            return await target.put_manifest(reference, content, *more, **options)

    await copy(source, Noting(target), V1, tags=[V1])
    assert done == [*(child.digest for child in index.children), index.digest]


async def test_copy_whose_check_fails_puts_no_manifest(source: Repository, target: Repository) -> None:
    await push(source, IMAGE, V1)

    async def refuse(_: object) -> None:
        raise LayerInvalid("not what its config says")

    with pytest.raises(LayerInvalid):
        await copy(source, target, V1, tags=[V1], options=Options(check=refuse))
    with pytest.raises(NotFound):
        await target.get_manifest(IMAGE.digest)


class Robbed(Watched):
    """A repository out of which somebody removes something when the first manifest comes that is an index, or any."""

    keeps_partials = True

    def __init__(self, inner: Repository, rob: Callable[[], Awaitable[None]], *, first: str) -> None:
        super().__init__(inner)
        self._rob: Callable[[], Awaitable[None]] | None = rob
        self._first = first

    def fetch_blob(self, digest: Digest, size: int) -> Any:
        return self._inner.fetch_blob(digest, size)  # type: ignore[attr-defined]  # one that fetches

    async def put_manifest(self, reference: Any, content: bytes, media_type: str | None, **options: Any) -> Any:
        if media_type == self._first and self._rob is not None:
            rob, self._rob = self._rob, None
            await rob()
        return await self._inner.put_manifest(reference, content, media_type, **options)


@pytest.mark.parametrize("what", ["layer", "manifest"])
async def test_copy_while_somebody_removes_a_part_brings_it_again(
    source: Repository, there: LocalRegistry, what: str
) -> None:
    rules = Rules(allow_partial_indexes=True)  # as in the image store
    index, target = build_index(), LocalRegistry(there.store, there.metadata, rules).repository(NAME)
    await push(source, index, V1)

    async def rob() -> None:
        if what == "layer":
            await target.delete_blob(index.children[0].layers[0].digest)
        else:
            await target.delete_manifest(index.children[0].digest)

    first = index.children[0].manifest.media_type if what == "layer" else index.manifest.media_type
    await copy(source, Robbed(target, rob, first=first), V1, tags=[V1])
    await require_whole(target, index, V1)


async def test_copy_of_absent_image_is_unknown(source: Repository, target: Repository) -> None:
    with pytest.raises(NotFound):
        await copy(source, target, V1, tags=[V1])


async def test_copy_of_image_without_a_blob_says_which(source: Repository, target: Repository) -> None:
    await push(source, IMAGE, V1)
    await source.delete_blob(IMAGE.layers[1].digest)
    with pytest.raises(BlobUnknown) as caught:
        await copy(source, target, V1, tags=[V1])
    assert caught.value.detail["digest"] == IMAGE.layers[1].digest


async def test_copy_of_blob_with_another_size_than_its_manifest_says_is_refused(
    source: Repository, target: Repository
) -> None:
    await push(source, IMAGE, V1)
    layer = IMAGE.layers[0]
    wrong = IMAGE.manifest.data.replace(b'"size":%d' % layer.size, b'"size":%d' % (layer.size + 1))
    lying = Watched(source)
    stored = replace(await source.get_manifest(V1), content=wrong, digest=Digest.of(wrong))

    async def get_manifest(_: object) -> Any:
        return stored

    lying.__dict__["get_manifest"] = get_manifest
    with pytest.raises(SizeInvalid) as caught:
        await copy(lying, target, V1, tags=[V1])
    assert caught.value.detail == {"expected": layer.size + 1, "actual": layer.size}


async def test_copy_of_wrong_bytes_is_refused_and_leaves_no_blob(source: Repository, target: Repository) -> None:
    await push(source, IMAGE, V1)
    layer = IMAGE.layers[0]

    class Damaged(Watched):
        async def find_blob(self, digest: Digest) -> Any:
            found = await super().find_blob(digest)
            if digest != layer.digest:
                return found
            await put_blob(source, bytes(layer.size))
            other = await super().find_blob(Digest.of(bytes(layer.size)))
            other.digest = digest
            return other

    with pytest.raises(DigestInvalid):
        await copy(Damaged(source), target, V1, tags=[V1])
    with pytest.raises(NotFound):
        await target.find_blob(layer.digest)


# events, mounts, measures


async def test_copy_tells_how_each_blob_fares(source: Repository, target: Repository) -> None:
    await push(source, IMAGE, V1)
    events: list[Event] = []
    await copy(source, target, V1, tags=[V1], options=Options(parallel=1, listener=events.append))
    for blob in walk_blobs(IMAGE):
        of_blob = [event for event in events if event.digest == blob.digest]
        kinds = {Kind.CONFIG if blob is IMAGE.config else Kind.LAYER}
        assert {event.kind for event in of_blob} == kinds
        assert {event.total for event in of_blob} == {blob.size}
        assert of_blob[0].state is State.PREPARING
        assert of_blob[-1].state is State.DONE
        done = [event.done for event in of_blob if event.state is State.MOVING]
        assert done == sorted(done)


@pytest.mark.parametrize("target", ["is_pushed_to"], indirect=True)  # what fetches finds by itself what its store has
async def test_copy_mounts_what_the_target_has_elsewhere(
    source: Repository, target: Repository, there: LocalRegistry
) -> None:
    await push(source, IMAGE, V1)
    await push(there.repository(OTHER), IMAGE)
    events: list[Event] = []

    async def candidates(_: Digest) -> list[RepositoryName]:
        return [RepositoryName.parse("team/nothing"), OTHER]

    watched = Watched(source)
    options = Options(mounts=candidates, listener=events.append)
    await copy(watched, target, V1, tags=[V1], options=options)
    assert watched.opened == []
    assert {event.note for event in events if event.state is State.MOUNTED} == {OTHER}


@pytest.mark.parametrize("target", ["fetches"], indirect=True)  # only what is fetched is measured
async def test_copy_finds_out_diff_ids_of_what_it_fetches(source: Repository, target: Repository) -> None:
    await push(source, IMAGE, V1)
    found: dict[Digest, Digest] = {}

    async def measure(digest: Digest, layer: Uncompressed) -> None:
        found[digest] = layer.diff_id

    await copy(source, target, V1, tags=[V1], options=Options(measure=measure))
    assert found == {layer.digest: getattr(layer, "diff_id", None) for layer in IMAGE.layers}


async def test_copy_measures_no_artifacts(source: Repository, target: Repository) -> None:
    await push(source, build_artifact(b"no tar at all"), V1)

    async def measure(digest: Digest, layer: Uncompressed) -> None:
        raise AssertionError(digest)

    await copy(source, target, V1, tags=[V1], options=Options(measure=measure))
