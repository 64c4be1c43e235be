"""A registry moved to another database and store: what arrives, what stays, and what is refused."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from entrepot.digest import CANONICAL, Digest
from entrepot.errors import BlobUnknown, ConfigInvalid, StorageFull, Unavailable
from entrepot.jobs.move import require_complete
from entrepot.jobs.move_report import Place, Progress, Step
from entrepot.metadata import moves, tables
from entrepot.metadata.base import Operation
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.repositories.local import LocalRegistry
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.memory import MemoryBlobStore, MemoryUpload
from entrepot.testing.images import build_image, walk_blobs
from entrepot.testing.repository_suite import push, require_whole
from entrepot.testing.repository_upload_suite import chunk, read

from .moving import APP, BASE, BY_SHA512, CACHE, IMAGE, LATEST, LONG_NAME, SHARING, V1, fill, move, picture, sqlite_at

EXTRA = build_image(1, seed=77)

T = TypeVar("T")


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[Place]:
    """A folder and a database, with one of everything."""
    store = FilesystemBlobStore(tmp_path / "old")
    async with sqlite_at(tmp_path / "old" / "entrepot.db") as metadata:
        await fill(LocalRegistry(store, metadata))
        yield Place(metadata, store, "sqlite:///old", "file:///old")


@pytest.fixture
def registry(source: Place) -> LocalRegistry:
    return LocalRegistry(source.store, source.metadata)


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Place]:
    async with sqlite_at(tmp_path / "new.db") as metadata:
        yield Place(metadata, MemoryBlobStore(), "sqlite:///new", "memory")


def memory(place: Place) -> MemoryBlobStore:
    assert isinstance(place.store, MemoryBlobStore)
    return place.store


async def test_move_brings_everything_to_the_target(source: Place, target: Place) -> None:
    moved = await move(source, target)
    assert moved.is_clean
    assert await picture(target.metadata, target.store) == await picture(source.metadata, source.store)


async def test_move_tells_what_it_has_moved_and_leaves_open_uploads(source: Place, target: Place) -> None:
    moved = await move(source, target)
    assert (moved.rows["repositories"], moved.rows["manifests"], moved.rows["tags"]) == (3, 7, 5)
    assert moved.rows["blobs"] == len(memory(target).blobs)
    assert moved.uploads == 2
    assert await target.metadata.read(tables.count_rows("uploads")) == 0


async def test_move_that_keeps_the_store_moves_no_bytes(source: Place, tmp_path: Path) -> None:
    async with sqlite_at(tmp_path / "new.db") as metadata:
        await move(source, Place(metadata, source.store, "sqlite:///new", "file:///old"), keeps_store=True)
        assert await picture(metadata, source.store) == await picture(source.metadata, source.store)


async def test_move_leaves_the_source_readable(source: Place, target: Place) -> None:
    before = await picture(source.metadata, source.store)
    await move(source, target)
    assert await picture(source.metadata, source.store) == before


async def test_moved_source_takes_no_writes_and_says_where_everything_is(
    source: Place, target: Place, registry: LocalRegistry
) -> None:
    await move(source, target)
    with pytest.raises(Unavailable, match="was moved; its server has to be restarted") as refused:
        await push(registry.repository(APP), EXTRA, V1)
    assert refused.value.retry_after_seconds == 15
    for write in (
        registry.repository(APP).delete_manifest(V1),
        registry.repository(APP).delete_blob(SHARING.id),
        registry.repository(APP).mount_blob(LONG_NAME, CACHE),
        registry.repository(APP).begin_upload(),
    ):
        with pytest.raises(Unavailable, match="was moved; its server"):
            await write
    assert await picture(source.metadata, source.store) == await picture(target.metadata, target.store)


async def test_undone_move_lets_the_source_take_writes(source: Place, target: Place, registry: LocalRegistry) -> None:
    await move(source, target)
    undone = await source.metadata.write(moves.undo())
    assert undone is not None
    assert undone.place == "sqlite:///new"
    await push(registry.repository(APP), EXTRA, V1)
    await require_whole(registry.repository(APP), EXTRA, V1)
    assert await source.metadata.write(moves.undo()) is None


async def test_target_takes_pushes_and_deletions(source: Place, target: Place) -> None:
    await move(source, target)
    registry = LocalRegistry(target.store, target.metadata)
    await push(registry.repository(APP), EXTRA, V1)
    await require_whole(registry.repository(APP), EXTRA, V1)
    await registry.repository(BASE).delete_manifest(IMAGE.digest)
    await require_whole(registry.repository(CACHE), IMAGE, IMAGE.digest)


async def test_move_picks_up_what_is_pushed_while_bytes_are_copied(
    source: Place, target: Place, registry: LocalRegistry
) -> None:
    pushed = False

    async def push_once() -> None:
        await push(registry.repository(APP), EXTRA, V1)

    class PushingStore(MemoryBlobStore):
        async def begin_upload(self, *, algorithm: str = CANONICAL) -> MemoryUpload:
            nonlocal pushed
            if not pushed:
                pushed = True
                await push_once()
            return await super().begin_upload(algorithm=algorithm)

    place = Place(target.metadata, PushingStore(), target.name, target.store_name)
    await move(source, place)
    await require_whole(LocalRegistry(place.store, place.metadata).repository(APP), EXTRA, V1)


async def test_writers_are_refused_and_readers_served_while_rows_are_copied(
    source: Place, target: Place, registry: LocalRegistry
) -> None:
    steps: list[Step] = []

    class WatchedMetadata(SqliteMetadata):
        async def write(self, operation: Operation[T], *, durable: bool = True) -> T:
            if Step.HOLDING in steps:
                with pytest.raises(Unavailable, match="is being moved; what is here can be read"):
                    await registry.repository(APP).put_blob(EXTRA.id, chunk(EXTRA.config.data))
                assert await read(await registry.repository(CACHE).find_blob(LONG_NAME)) == BY_SHA512
                steps.remove(Step.HOLDING)
            return await super().write(operation, durable=durable)

    def listen(progress: Progress) -> None:
        steps.append(progress.step)

    watched = WatchedMetadata(path_of(target))
    try:
        await move(source, Place(watched, target.store, target.name, target.store_name), listener=listen)
    finally:
        await watched.close()
    assert Step.ROWS in steps
    assert Step.COMPARING in steps
    assert Step.HOLDING not in steps  # it was looked at in that time


async def test_damaged_blob_is_reported_and_the_rest_moved(source: Place, target: Place, tmp_path: Path) -> None:
    layer = IMAGE.layers[0]
    file = tmp_path / "old" / "blobs" / "sha256" / layer.digest.encoded[:2] / layer.digest.encoded
    file.write_bytes(b"x" * layer.size)
    moved = await move(source, target)
    [finding] = moved.damaged
    assert (finding.digest, moved.is_clean) == (layer.digest, False)
    assert "digest mismatch" in finding.message
    repository = LocalRegistry(target.store, target.metadata).repository(BASE)
    with pytest.raises(BlobUnknown):
        await repository.find_blob(layer.digest)
    for blob in (IMAGE.config, *IMAGE.layers[1:]):
        assert await read(await repository.find_blob(blob.digest)) == blob.data
    await repository.put_blob(layer.digest, chunk(layer.data))  # a push heals it
    await require_whole(repository, IMAGE, V1)


@pytest.mark.parametrize("damage", ["missing", "truncated"])
async def test_blob_without_its_bytes_is_reported(source: Place, target: Place, tmp_path: Path, damage: str) -> None:
    layer = IMAGE.layers[0]
    file = tmp_path / "old" / "blobs" / "sha256" / layer.digest.encoded[:2] / layer.digest.encoded
    file.unlink() if damage == "missing" else file.write_bytes(layer.data[:-1])
    [finding] = (await move(source, target)).damaged
    assert finding.digest == layer.digest


async def test_manifest_whose_bytes_are_wrong_is_reported_and_moved_as_it_is(
    source: Place, target: Place, tmp_path: Path
) -> None:
    sql(tmp_path / "old" / "entrepot.db", "UPDATE manifests SET content = x'7b7d' WHERE digest = ?", IMAGE.digest)
    moved = await move(source, target)
    assert {(finding.digest, finding.location) for finding in moved.damaged} == {
        (IMAGE.digest, BASE),
        (IMAGE.digest, CACHE),
    }
    found = await LocalRegistry(target.store, target.metadata).repository(BASE).get_manifest(V1)
    assert found.content == b"{}"


async def test_move_done_once_more_says_so(source: Place, target: Place) -> None:
    first = await move(source, target)
    again = await move(source, target)
    assert (first.was_done, again.was_done) == (False, True)
    assert again.rows == first.rows


async def test_move_to_a_second_place_is_refused(source: Place, target: Place, tmp_path: Path) -> None:
    await move(source, target)
    async with sqlite_at(tmp_path / "third.db") as metadata:
        with pytest.raises(ConfigInvalid, match="was moved to sqlite:///new before"):
            await move(source, Place(metadata, MemoryBlobStore(), "sqlite:///third", "memory"))


async def test_move_after_undo_to_the_same_place_is_refused(source: Place, target: Place) -> None:
    await move(source, target)
    await source.metadata.write(moves.undo())
    with pytest.raises(ConfigInvalid, match="maybe what was pushed there since"):
        await move(source, target)


async def test_move_to_a_database_with_contents_is_refused(source: Place, target: Place) -> None:
    await push(LocalRegistry(target.store, target.metadata).repository(APP), EXTRA, V1)
    before = await target.metadata.read(tables.count_rows("links"))
    with pytest.raises(ConfigInvalid, match=r"is not empty \(1 repositories, 1 manifests, 2 blobs\)"):
        await move(source, target)
    assert await target.metadata.read(tables.count_rows("links")) == before


async def test_move_to_a_store_with_contents_is_refused(source: Place, target: Place) -> None:
    memory(target).blobs[EXTRA.id] = EXTRA.config.data
    with pytest.raises(ConfigInvalid, match="memory holds blobs already"):
        await move(source, target)


async def test_move_onto_itself_is_refused(source: Place) -> None:
    with pytest.raises(ConfigInvalid, match="is where everything is already"):
        await move(source, Place(source.metadata, MemoryBlobStore(), "elsewhere", "memory"))
    assert await source.metadata.read(moves.moved_to()) is None


async def test_move_to_the_place_of_another_move_is_refused(source: Place, target: Place, tmp_path: Path) -> None:
    await move(source, target)
    async with sqlite_at(tmp_path / "other.db") as metadata:
        with pytest.raises(ConfigInvalid, match="holds another registry, or part of it"):
            await move(Place(metadata, MemoryBlobStore(), "sqlite:///other", "memory"), target)


async def test_bytes_that_are_gone_at_the_target_are_copied_anew(source: Place, target: Place) -> None:
    class Broken(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.step is Step.HOLDING:
            raise Broken

    with pytest.raises(Broken):
        await move(source, target, listener=stop)
    lost = next(iter(walk_blobs(SHARING))).digest
    del memory(target).blobs[lost]
    await move(source, target)
    await require_whole(LocalRegistry(target.store, target.metadata).repository(APP), SHARING, V1)


class Died(Exception):
    """The process is gone: nothing it wanted to do any more happens."""


@dataclass
class Life:
    """How many writes are left, over both databases; ``after``: the last one is done, and its answer lost."""

    writes: int
    after: bool

    def step(self) -> bool:
        """Whether to die at this one. Raises Died when that was before."""
        self.writes -= 1
        if self.writes < 0:
            raise Died
        return self.writes == 0


class MortalMetadata(SqliteMetadata):
    life: Life

    async def write(self, operation: Operation[T], *, durable: bool = True) -> T:
        dies = self.life.step()
        if dies and not self.life.after:
            raise Died
        result = await super().write(operation, durable=durable)
        if dies:
            raise Died
        return result


@pytest.mark.parametrize("after", [False, True], ids=["before_each_write", "after_each_write"])
async def test_move_that_dies_at_each_step_goes_on_when_it_is_run_again(
    source: Place, target: Place, tmp_path: Path, after: bool
) -> None:
    before = await picture(source.metadata, source.store)
    mortal = [MortalMetadata(tmp_path / name) for name in ("old/entrepot.db", "new.db")]
    deaths, moved = 0, None
    while moved is None:
        mortal[0].life = mortal[1].life = Life(deaths + 1, after)
        try:
            moved = await move(
                Place(mortal[0], source.store, source.name, source.store_name),
                Place(mortal[1], target.store, target.name, target.store_name),
            )
        except Died:
            deaths += 1
        assert await picture(source.metadata, source.store) == before
    for each in mortal:
        await each.close()
    assert deaths > 25
    assert await picture(target.metadata, target.store) == before
    with pytest.raises(Unavailable, match="was moved; its server"):
        await LocalRegistry(source.store, source.metadata).repository(APP).begin_upload()


async def test_writers_are_let_in_when_a_move_dies(source: Place, registry: LocalRegistry) -> None:
    long_ago = int(time.time()) - 60
    await source.metadata.write(moves.hold_writers("run", now=long_ago, seconds=20))
    await push(registry.repository(APP), EXTRA, V1)
    await require_whole(registry.repository(APP), EXTRA, V1)


async def test_hold_that_has_ended_cannot_be_prolonged(source: Place) -> None:
    now = int(time.time())
    await source.metadata.write(moves.hold_writers("run", now=now, seconds=20))
    await source.metadata.write(moves.go_on_holding("run", now=now + 19, seconds=20))
    with pytest.raises(Unavailable, match="held up for so long"):
        await source.metadata.write(moves.go_on_holding("run", now=now + 40, seconds=20))
    with pytest.raises(Unavailable, match="held up for so long"):
        await source.metadata.write(moves.finish_source(moves.Destination("elsewhere", "run"), now=now + 40))
    assert await source.metadata.read(moves.moved_to()) is None


async def test_failed_move_lets_writers_in_at_once(source: Place, target: Place, registry: LocalRegistry) -> None:
    class FullMetadata(SqliteMetadata):
        async def write(self, operation: Operation[T], *, durable: bool = True) -> T:
            if held:
                raise StorageFull("no space left")
            return await super().write(operation, durable=durable)

    held: list[Step] = []
    full = FullMetadata(path_of(target))
    try:
        with pytest.raises(StorageFull):
            await move(
                source,
                Place(full, target.store, target.name, target.store_name),
                listener=lambda progress: held.append(progress.step) if progress.step is Step.ROWS else None,
            )
    finally:
        await full.close()
    await push(registry.repository(APP), EXTRA, V1)
    assert sql(path_of(source), "SELECT name FROM sqlite_master WHERE type = 'trigger'") == []


async def test_what_is_deleted_between_two_runs_is_not_at_the_target(
    source: Place, target: Place, registry: LocalRegistry
) -> None:
    def look(progress: Progress) -> None:
        if progress.step is Step.COMPARING:
            raise Died

    with pytest.raises(Died):
        await move(source, target, listener=look)
    await registry.repository(BASE).delete_manifest(LATEST)
    await registry.repository(CACHE).delete_blob(LONG_NAME)
    gone = Digest.of(BY_SHA512)
    sql(path_of(source), "DELETE FROM blobs WHERE digest = ?", gone)
    moved = await move(source, target)
    assert (moved.rows["tags"], moved.rows["blobs"]) == (4, 14)
    repository = LocalRegistry(target.store, target.metadata).repository(BASE)
    assert (await repository.list_tags(limit=10)).items == [V1]
    assert gone not in memory(target).blobs


def sql(path: Path, statement: str, *values: str) -> list[object]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def path_of(place: Place) -> Path:
    assert isinstance(place.metadata, SqliteMetadata)
    return place.metadata._path


async def test_database_is_not_served_before_the_move_to_it_is_done(source: Place, target: Place) -> None:
    def look(progress: Progress) -> None:
        if progress.step is Step.COMPARING:
            raise Died

    await require_complete(target.metadata)
    with pytest.raises(Died):
        await move(source, target, listener=look)
    with pytest.raises(ConfigInvalid, match="being moved to this database"):
        await require_complete(target.metadata)
    await move(source, target)
    await require_complete(target.metadata)
