"""What partial downloads in a folder promise when a process, a disk or a file fails; the rest is in the contract."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.errors import DigestInvalid, StorageFull, Unavailable
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.notes import boot_id
from entrepot.store.partials import Often
from entrepot.store.spans import Span
from entrepot.testing.faults import Action, Fault, FaultPlan, FaultyDisk, Step
from entrepot.testing.partial_suite import LONG_DIGEST, begin, fetch, partials_of
from entrepot.testing.upload_suite import LONG, MIB, chunks, pull

END = len(LONG)
CONTENT = os.urandom(6 * MIB)
DIGEST = Digest.of(CONTENT)
ERRORS = [pytest.param("full", StorageFull, id="full"), pytest.param("error", Unavailable, id="broken")]


@pytest.fixture
def plan(tmp_path: Path) -> FaultPlan:
    return FaultPlan(tmp_path / "plan")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path, plan: FaultPlan) -> FilesystemBlobStore:
    return FilesystemBlobStore(root, disk=FaultyDisk(plan), save_partials=Often(size=MIB))


def data_file(root: Path, digest: Digest = LONG_DIGEST) -> Path:
    return root / "partials" / digest.algorithm / digest.encoded


def claim_file(root: Path, digest: Digest = LONG_DIGEST) -> Path:
    return data_file(root, digest).with_suffix(".json")


async def pieces_of(content: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]
        await asyncio.sleep(0)


async def missing_of(store: FilesystemBlobStore, content: bytes) -> list[Span]:
    async with store.open_partial(Digest.of(content), len(content)) as partial:
        return partial.missing()


async def require_fetched(store: FilesystemBlobStore, content: bytes) -> None:
    """It can be fetched, and nothing is left of the partial."""
    assert await pull(store, await fetch(store, content)) == content
    assert [path for path in store._folder.partials.rglob("*") if path.is_file()] == []


# a process that is gone


async def test_killed_process_leaves_all_but_the_last_interval(
    store: FilesystemBlobStore, root: Path, tmp_path: Path
) -> None:
    """A copy of the folder while it is written to is what a kill would leave."""
    killed = FilesystemBlobStore(tmp_path / "killed")
    async with asyncio.timeout(60), store.open_partial(DIGEST, len(CONTENT)) as partial:
        await partial.write(0, pieces_of(CONTENT[: 4 * MIB]))
        left = len(CONTENT)
        while left > 3 * MIB:  # the last claims are written behind our back
            shutil.rmtree(tmp_path / "killed", ignore_errors=True)
            shutil.copytree(root, tmp_path / "killed")
            left = sum(end - start for start, end in await missing_of(killed, CONTENT))
    await require_fetched(killed, CONTENT)


async def test_slow_download_is_saved_after_some_seconds(root: Path) -> None:
    store = FilesystemBlobStore(root, save_partials=Often(seconds=0.0))
    async with asyncio.timeout(60), store.open_partial(LONG_DIGEST, END) as partial:
        await partial.write(0, chunks(b"some", b"bytes"))
        while not claim_file(root).exists():
            await asyncio.sleep(0.01)


async def test_lock_of_a_killed_process_holds_nobody_up(store: FilesystemBlobStore, root: Path) -> None:
    lock = data_file(root).with_suffix(".lock")
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert await partials_of(store) == {LONG_DIGEST: 0}
    await asyncio.wait_for(require_fetched(store, LONG), 10)


async def test_bytes_beyond_the_claim_are_dropped(store: FilesystemBlobStore, root: Path) -> None:
    await begin(store, LONG, (0, 1000))
    with data_file(root).open("ab") as file:
        file.write(b"not claimed")
    assert await missing_of(store, LONG) == [(1000, END)]
    assert data_file(root).stat().st_size == 1000
    await require_fetched(store, LONG)


async def test_folders_that_somebody_removed_are_made_again(store: FilesystemBlobStore, root: Path) -> None:
    await fetch(store, CONTENT)
    shutil.rmtree(root / "partials")
    await require_fetched(store, LONG)


# claims that are wrong


def claim(**changes: Any) -> bytes:
    plain = {"size": END, "spans": [[0, 1000]], "hashed": 0, "hashes": {}, "validator": None}
    return json.dumps(plain | changes).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"[" * 100_000,
        b"{}",
        claim(size=END + 1),
        claim(size=float(END)),
        claim(size=True),
        claim(size="1"),
        claim(spans=None),
        claim(spans=[[0]]),
        claim(spans=[0, 1]),
        claim(spans=[[0, 1.5]]),
        claim(spans=[[-1, 5]]),
        claim(spans=[[5, 5]]),
        claim(spans=[[0, 5], [3, 7]]),
        claim(spans=[[5, 7], [0, 3]]),
        claim(spans=[[0, END + 1]]),
        claim(spans=[[0, 2000]]),
        claim(hashed=1001),
        claim(hashed=-1),
        claim(hashes=None),
        claim(hashes={"sha256": 5}),
        claim(hashes={"sha256": "xyz"}),
    ],
    ids=lambda content: str(content[:40]),
)
async def test_claim_that_makes_no_sense_is_no_claim(store: FilesystemBlobStore, root: Path, content: bytes) -> None:
    await begin(store, LONG, (0, 1000))
    claim_file(root).write_bytes(content)
    assert await missing_of(store, LONG) == [(0, END)]
    await require_fetched(store, LONG)


@pytest.mark.parametrize(
    "hashes",
    [{}, {"sha256": ""}, {"sha256": "00"}, {"sha256": "ff" * 112}, {"sha512": "00" * 216}],
    ids=["none", "empty", "short", "unsound", "other"],
)
async def test_hash_state_that_is_of_no_use_is_made_anew(
    store: FilesystemBlobStore, root: Path, hashes: dict[str, str]
) -> None:
    await begin(store, LONG, (0, 2 * MIB))
    found = json.loads(claim_file(root).read_bytes())
    assert found["hashed"] == 2 * MIB
    claim_file(root).write_text(json.dumps(found | {"hashes": hashes}))
    assert await missing_of(store, LONG) == [(2 * MIB, END)]
    await require_fetched(store, LONG)


async def test_hash_state_of_other_bytes_is_found_out_and_fetched_anew(store: FilesystemBlobStore, root: Path) -> None:
    await begin(store, LONG, (0, MIB))
    found = json.loads(claim_file(root).read_bytes())
    state = found["hashes"]["sha256"]
    found["hashes"]["sha256"] = f"{'0' if state[0] != '0' else '1'}{state[1:]}"
    claim_file(root).write_text(json.dumps(found))
    with pytest.raises(DigestInvalid):
        await fetch(store, LONG)
    await require_fetched(store, LONG)


@pytest.mark.parametrize("size", [None, 0, 999], ids=["gone", "empty", "short"])
async def test_claim_without_its_bytes_is_no_claim(store: FilesystemBlobStore, root: Path, size: int | None) -> None:
    await begin(store, LONG, (0, 1000))
    if size is None:
        data_file(root).unlink()
    else:
        os.truncate(data_file(root), size)
    assert await missing_of(store, LONG) == [(0, END)]
    await require_fetched(store, LONG)


# a disk that fails


@pytest.mark.parametrize("torn", [False, True], ids=["before", "torn"])
@pytest.mark.parametrize(("action", "error"), ERRORS)
async def test_write_that_fails_keeps_what_was_written_before(
    store: FilesystemBlobStore, plan: FaultPlan, action: Action, error: type[Exception], torn: bool
) -> None:
    plan.set(Fault("write", action, nth=3, times=0, torn=torn, on=DIGEST.encoded))
    with pytest.raises(error):
        async with store.open_partial(DIGEST, len(CONTENT)) as partial:
            await partial.write(0, pieces_of(CONTENT))
    plan.clear()
    (start, end), *more = await missing_of(store, CONTENT)
    assert (end, more) == (len(CONTENT), [])
    lost = 64 * 1024  # given up for a claim, which found no space either; a note needed none
    assert start in (0, MIB - lost, MIB, 2 * MIB - lost, 2 * MIB)  # which write failed depends on the claims between
    await require_fetched(store, CONTENT)


@pytest.mark.parametrize(("action", "error"), ERRORS)
async def test_sync_that_fails_makes_no_claim_of_what_came_after_the_last(
    store: FilesystemBlobStore, plan: FaultPlan, action: Action, error: type[Exception]
) -> None:
    await begin(store, CONTENT, (0, MIB))
    plan.set(Fault("sync", action))
    with pytest.raises(error):
        await fetch(store, CONTENT)
    plan.clear()
    assert await missing_of(store, CONTENT) == [(MIB, len(CONTENT))]
    await require_fetched(store, CONTENT)


async def test_claim_that_finds_no_space_gives_up_a_little(store: FilesystemBlobStore, plan: FaultPlan) -> None:
    plan.set(Fault("write", "full", on=".json"))
    await begin(store, LONG, (0, MIB - 1))
    assert await missing_of(store, LONG) == [(MIB - 1 - 64 * 1024, END)]
    await require_fetched(store, LONG)


async def test_claim_that_finds_no_space_at_all_is_unavailable(store: FilesystemBlobStore, plan: FaultPlan) -> None:
    plan.set(Fault("write", "full", times=0, on=".json"))
    with pytest.raises(StorageFull):
        await begin(store, LONG, (0, MIB - 1))
    plan.clear()
    assert await missing_of(store, LONG) == [(MIB - 1 - 64 * 1024 if boot_id() else 0, END)]
    await require_fetched(store, LONG)


async def test_claim_that_finds_no_space_while_more_comes_ends_the_write(
    store: FilesystemBlobStore, plan: FaultPlan
) -> None:
    plan.set(Fault("write", "full", on=".json"))
    async with asyncio.timeout(60), store.open_partial(DIGEST, len(CONTENT)) as partial:
        await partial.write(0, chunks(CONTENT[:MIB]))
        while not [call for call in plan.calls() if call.subject.endswith(".json.new")]:
            await asyncio.sleep(0.01)
        with pytest.raises(StorageFull):
            await partial.write(MIB, pieces_of(CONTENT[MIB:]))
    left = await missing_of(store, CONTENT)
    assert 0 < sum(end - start for start, end in left) < len(CONTENT)
    await require_fetched(store, CONTENT)


@pytest.mark.parametrize("step", ["sync", "rename", "sync_folder"])
@pytest.mark.parametrize(("action", "error"), ERRORS)
async def test_commit_that_fails_can_be_tried_again(
    store: FilesystemBlobStore, plan: FaultPlan, step: Step, action: Action, error: type[Exception]
) -> None:
    await begin(store, LONG, (0, END))
    plan.set(Fault(step, action))
    with pytest.raises(error):
        await fetch(store, LONG)
    plan.clear()
    await require_fetched(store, LONG)


async def test_failure_of_the_disk_does_not_hide_what_went_wrong_before(
    store: FilesystemBlobStore, plan: FaultPlan
) -> None:
    async def fail_twice() -> None:
        async with store.open_partial(LONG_DIGEST, END) as partial:
            await partial.write(0, chunks(LONG))
            plan.set(Fault("any", "error", times=0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_twice()


# resources


def open_files() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sorted(found)


@pytest.mark.parametrize("step", ["write", "sync", "rename", "sync_folder"])
async def test_no_file_is_left_open_when_a_step_fails(
    store: FilesystemBlobStore, plan: FaultPlan, root: Path, step: Step
) -> None:
    plan.set(Fault(step, "error", times=0))
    with pytest.raises(Unavailable):
        await fetch(store, LONG)
    assert [path for path in open_files() if path.startswith(f"{root}/")] == []


@pytest.mark.parametrize("turns", range(0, 60, 3))
async def test_fetch_cancelled_anywhere_lets_go_and_can_be_taken_up(
    store: FilesystemBlobStore, root: Path, turns: int
) -> None:
    fetching = asyncio.create_task(fetch(store, CONTENT))
    for _ in range(turns):
        await asyncio.sleep(0)
    for _ in range(3):  # an impatient user
        fetching.cancel()
        await asyncio.sleep(0)
    with suppress(asyncio.CancelledError):
        await fetching
    assert [path for path in open_files() if path.startswith(f"{root}/")] == []
    await asyncio.wait_for(require_fetched(store, CONTENT), 60)


async def test_write_after_leaving_is_refused(store: FilesystemBlobStore) -> None:
    """Its file's number may be another file's by then."""
    go_on = asyncio.Event()

    async def late() -> AsyncIterator[bytes]:
        yield LONG[:1000]
        await go_on.wait()
        yield LONG[1000:]

    async with store.open_partial(LONG_DIGEST, END) as partial:
        writing = asyncio.create_task(partial.write(0, late()))
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(RuntimeError, match="after it was left"):
        await writing


async def test_large_download_takes_a_few_megabytes_of_memory(root: Path) -> None:
    store, piece, count = FilesystemBlobStore(root), os.urandom(64 * 1024), 512
    digest = Digest.of(piece * (4 * count))

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield bytes(bytearray(piece))  # a new one each time
            await asyncio.sleep(0)

    async with store.open_partial(digest, 4 * count * len(piece)) as partial:
        tracemalloc.start()
        await asyncio.gather(*(partial.write(n * count * len(piece), pieces()) for n in range(4)))
        await partial.commit()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 24 * MIB
