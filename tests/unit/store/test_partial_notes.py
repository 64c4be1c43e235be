"""What a kill leaves of a download: its notes count as long as the system runs, its claims for ever."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from entrepot.errors import Unavailable
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.notes import Note, boot_id, seal
from entrepot.store.partials import Often
from entrepot.store.spans import Span
from entrepot.testing.faults import Fault, FaultPlan, FaultyDisk
from entrepot.testing.partial_suite import begin, fetch
from entrepot.testing.upload_suite import MIB

from .test_partials import CONTENT, DIGEST, claim_file, data_file, missing_of, pieces_of, require_fetched

pytestmark = pytest.mark.skipif(not boot_id(), reason="this system does not tell its runs apart")
END = len(CONTENT)
REST = [(2 * MIB, END)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> FilesystemBlobStore:
    return FilesystemBlobStore(root, save_partials=Often(noted=MIB))


@pytest.fixture
async def killed(root: Path, tmp_path: Path) -> Path:
    """The root of a store in which a fetch was killed that had noted two of its six MiB, and claimed none."""
    return await killed_after(2 * MIB, root, tmp_path / "killed")


async def killed_after(count: int, root: Path, copy: Path) -> Path:
    """A copy of the folder while it is written to is what a kill would leave."""
    store = FilesystemBlobStore(root, save_partials=Often(noted=MIB))
    async with asyncio.timeout(60), store.open_partial(DIGEST, END) as partial:
        await partial.write(partial.prefix(), pieces_of(CONTENT[partial.prefix() : count]))
        while noted(root) < count:  # it is written behind our back
            await asyncio.sleep(0.01)
        shutil.copytree(root, copy)
    return copy


async def require_gone_on(root: Path, missing: list[Span]) -> None:
    """So much is missing when it is taken up, and it can be finished."""
    store = FilesystemBlobStore(root)
    assert await missing_of(store, CONTENT) == missing
    await require_fetched(store, CONTENT)


def note_file(root: Path) -> Path:
    return data_file(root, DIGEST).with_suffix(".note")


def noted(root: Path) -> int:
    content = Note(note_file(root)).read()
    return sum(end - start for start, end in json.loads(content)["spans"]) if content else 0


def plain(**changes: Any) -> bytes:
    claim = {"size": END, "spans": [[0, MIB]], "hashed": 0, "hashes": {}, "validator": None}
    return json.dumps(claim | changes).encode()


async def test_killed_download_goes_on_at_its_note(killed: Path) -> None:
    assert not claim_file(killed, DIGEST).exists()
    await require_gone_on(killed, REST)


async def test_download_killed_twice_goes_on_at_its_second_note(killed: Path, tmp_path: Path) -> None:
    await require_gone_on(await killed_after(4 * MIB, killed, tmp_path / "again"), [(4 * MIB, END)])


async def test_note_of_another_run_of_the_system_does_not_count(killed: Path) -> None:
    note_file(killed).write_bytes(seal(plain(), b"another"))
    await require_gone_on(killed, [(0, END)])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: content[:-20],
        lambda content: content[:20] + b"\n",
        lambda content: content.replace(b"spans", b"spins"),
        lambda content: os.urandom(500),
        lambda content: b"\n" + content,
        lambda content: seal(b"{}", boot_id()),
        lambda content: seal(plain(spans=[[0, END + 1]]), boot_id()),
        lambda content: seal(plain(size=END - 1), boot_id()),
        lambda content: seal(plain(spans=[[0, 3 * MIB]]), boot_id()),
    ],
    ids=[
        "empty",
        "torn",
        "torn_early",
        "changed",
        "random",
        "line_break",
        "nothing",
        "too_long",
        "other_size",
        "no_bytes",
    ],
)
async def test_note_that_cannot_be_relied_on_is_no_note(killed: Path, spoil: Callable[[bytes], bytes]) -> None:
    note_file(killed).write_bytes(spoil(note_file(killed).read_bytes()))
    await require_gone_on(killed, [(0, END)])


async def test_note_that_says_less_than_the_claim_is_removed(store: FilesystemBlobStore, root: Path) -> None:
    await begin(store, CONTENT, (0, 2 * MIB))
    note_file(root).write_bytes(seal(plain(spans=[[0, 5], [MIB, 2 * MIB]]), boot_id()))
    assert await missing_of(store, CONTENT) == REST
    assert not note_file(root).exists()


async def test_note_is_overwritten_by_a_shorter_one(tmp_path: Path) -> None:
    one = Note(tmp_path / "note")
    one.write(b"something long")
    one.write(b"short")
    assert one.read() == b"short"
    one.remove()
    assert one.read() is None


async def test_nothing_is_noted_when_a_sync_has_failed(root: Path, tmp_path: Path) -> None:
    """The system may have thrown away what it could not write."""
    plan = FaultPlan(tmp_path / "plan")
    store = FilesystemBlobStore(root, disk=FaultyDisk(plan), save_partials=Often(size=3 * MIB, noted=MIB))
    plan.set(Fault("sync", "error"))
    with pytest.raises(Unavailable):
        await fetch(store, CONTENT)
    assert not note_file(root).exists()
    assert await missing_of(store, CONTENT) == [(0, END)]


async def test_place_where_no_note_can_be_written_needs_none(store: FilesystemBlobStore, root: Path) -> None:
    note_file(root).mkdir(parents=True)
    async with store.open_partial(DIGEST, END) as partial:
        await partial.write(0, pieces_of(CONTENT[: 2 * MIB]))
    note_file(root).rmdir()
    assert await missing_of(store, CONTENT) == REST


async def test_finished_download_leaves_no_note(store: FilesystemBlobStore, root: Path) -> None:
    await require_fetched(store, CONTENT)


async def test_nothing_is_noted_when_the_sync_at_the_end_has_failed(root: Path, tmp_path: Path) -> None:
    plan = FaultPlan(tmp_path / "plan")
    store = FilesystemBlobStore(root, disk=FaultyDisk(plan), save_partials=Often(noted=MIB))
    plan.set(Fault("sync", "error", times=0))
    with pytest.raises(Unavailable):
        await begin(store, CONTENT, (0, 2 * MIB))
    assert not note_file(root).exists()
    plan.clear()
    assert await missing_of(store, CONTENT) == [(0, END)]
