"""Downloads that are killed, cut off or refused at any step: what is there is right, and the next one goes on."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrepot.digest import Digest
from entrepot.errors import StorageFull, Unavailable
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.repositories.local import LocalRegistry, LocalRepository
from entrepot.store.base import PartialStore
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.partials import Often
from entrepot.store.spans import Span
from entrepot.testing.faults import Fault, FaultPlan, FaultyDisk
from entrepot.testing.partial_suite import partials_of
from entrepot.testing.power_cut import DurableView
from entrepot.testing.repository_upload_suite import read
from entrepot.testing.upload_suite import chunks, pull

from . import fetching
from .fetching import MIB, NAME, content_of, fill, opened, pieces_of
from .test_full_disk import fill as fill_disk
from .test_full_disk import small_disk  # noqa: F401  # a fixture

SIZE = 6 * MIB
CONTENT = content_of(SIZE)
DIGEST = Digest.of(CONTENT)
DATA, CLAIM = f"/partials/sha256/{DIGEST.encoded}", ".json"
STEPS = {
    "first_write": Fault("write", "kill", on=DATA),
    "torn_write": Fault("write", "kill", nth=4, on=DATA, torn=True),
    "first_sync": Fault("sync", "kill", on=DATA),
    "first_claim": Fault("write", "kill", on=CLAIM, torn=True),
    "first_claim_sync": Fault("sync", "kill", on=CLAIM),
    "first_claim_rename": Fault("rename", "kill", on=CLAIM),
    "first_claim_folder": Fault("sync_folder", "kill", on="/partials/sha256"),
    "second_sync": Fault("sync", "kill", nth=3, on=DATA),  # the second is the claim's own
    "second_claim": Fault("write", "kill", nth=2, on=CLAIM, torn=True),
    "second_claim_rename": Fault("rename", "kill", nth=2, on=CLAIM),
    "rename": Fault("rename", "kill", on="/blobs/"),
    "sync_folder": Fault("sync_folder", "kill", on="/blobs/sha256/"),
    "record": Fault("before_commit", "kill"),
    "recorded": Fault("after_commit", "kill"),
}
"""What the program does when it dies."""


@pytest.fixture
def folder(tmp_path: Path, database: Path) -> Path:
    """Of a program that fetches; see ``fetching``."""
    (tmp_path / "root").mkdir()
    shutil.copy(database, tmp_path / "root")
    DurableView(tmp_path / "root", tmp_path / "view").database_synced()
    return tmp_path


def run(folder: Path) -> int:
    return fetching.start(folder, SIZE).wait(100)


def require_claims_are_true(folder: Path, missing: list[Span]) -> None:
    """What is not missing is in the file."""
    file = folder / "root" / DATA[1:]
    content = file.read_bytes() if file.exists() else b""
    ends = [0, *(end for _, end in missing)]
    starts = [*(start for start, _ in missing), SIZE]
    for start, end in zip(ends, starts, strict=True):
        assert content[start:end] == CONTENT[start:end]


async def go_on(folder: Path) -> list[Span]:
    """Finish the blob, and tell what was missing of it."""
    async with opened(folder) as repository:
        async with repository.fetch_blob(DIGEST, SIZE) as fetch:
            missing = fetch.missing()
            if fetch.blob is None:
                require_claims_are_true(folder, missing)
                await fill(fetch, CONTENT)
                await fetch.commit()
        assert await read(await repository.find_blob(DIGEST)) == CONTENT
        await require_nothing_left(repository, is_new=bool(missing))
    return missing


async def require_nothing_left(repository: LocalRepository, *, is_new: bool) -> None:
    """Whoever finds the blob at once does not look for what is left of its partial; that can be removed."""
    store = repository._store
    assert isinstance(store, PartialStore)
    left = await partials_of(store)
    assert not left or not is_new
    assert [await store.discard_partial(digest) for digest in left] == [True] * len(left)
    assert await partials_of(store) == {}
    assert [blob.digest async for blob in store.walk()] == [DIGEST]


def total(spans: list[Span]) -> int:
    return sum(end - start for start, end in spans)


@pytest.mark.parametrize("step", STEPS)
async def test_fetch_killed_at_a_step_goes_on(folder: Path, step: str) -> None:
    plan = FaultPlan(folder / "plan")
    plan.set(STEPS[step])
    assert run(folder) == -signal.SIGKILL
    plan.clear()
    missing = await go_on(folder)
    if step in ("second_sync", "second_claim", "second_claim_rename", "rename"):
        assert total(missing) < SIZE
    if step in ("sync_folder", "record", "recorded"):
        assert missing == []


@pytest.mark.parametrize("names_survive", [False, True], ids=["names_are_lost", "names_survive"])
@pytest.mark.parametrize("step", STEPS)
async def test_fetch_cut_off_at_a_step_goes_on(folder: Path, step: str, names_survive: bool) -> None:
    plan = FaultPlan(folder / "plan")
    plan.set(STEPS[step])
    assert run(folder) == -signal.SIGKILL
    plan.clear()
    DurableView(folder / "root", folder / "view").cut(names_survive=names_survive)
    missing = await go_on(folder)
    if step == "second_claim_rename":
        assert total(missing) < SIZE
    if step == "recorded":
        assert missing == []


async def test_fetch_cut_off_at_every_call_goes_on(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each call fails in its turn, with all that follow; then the power is cut."""
    for number in count(1):
        machine = tmp_path_factory.mktemp("machine")
        shutil.copytree(folder, machine, dirs_exist_ok=True)
        plan = FaultPlan(machine / "plan")
        plan.set(Fault("any", "error", nth=number, times=0))
        is_finished = await fetch_in_two_runs(machine)
        plan.clear()
        DurableView(machine / "root", machine / "view").cut()
        missing = await go_on(machine)
        shutil.rmtree(machine)
        if is_finished:
            assert (missing, number > 15) == ([], True)  # with fewer calls the scenario would have shrunk
            return


async def fetch_in_two_runs(folder: Path) -> bool:
    """Whether all went well."""
    async with opened(folder) as repository:
        try:
            async with repository.fetch_blob(DIGEST, SIZE) as fetch:
                await fetch.write(SIZE // 2, pieces_of(CONTENT[SIZE // 2 :]))
            async with repository.fetch_blob(DIGEST, SIZE) as fetch:
                await fetch.write(0, pieces_of(CONTENT[: SIZE // 2]))
                await fetch.commit()
        except Unavailable:
            return False
    return True


# several at once


def test_processes_that_fetch_the_same_blob_write_it_once(folder: Path) -> None:
    plan = FaultPlan(folder / "plan")
    plan.clear()
    assert run(folder) == 0
    alone = writes(plan)
    shutil.rmtree(folder / "root" / "blobs")
    plan.clear()
    running = [fetching.start(folder, SIZE) for _ in range(3)]
    assert [process.wait(100) for process in running] == [0, 0, 0]
    assert len(writes(plan)) == len(alone)
    assert len({pid for pid, *_ in writes(plan)}) == 1


def writes(plan: FaultPlan) -> list[tuple[int, str, str]]:
    return [call for call in plan.calls() if call.step == "write" and call.subject.endswith(DATA)]


async def test_process_whose_fellow_is_killed_goes_on_with_its_bytes(folder: Path) -> None:
    plan = FaultPlan(folder / "plan")
    plan.set(hold := Fault("rename", "hold", nth=2, on=CLAIM))
    first = fetching.start(folder, SIZE)
    async with asyncio.timeout(100):
        while [call.step for call in plan.calls() if hold.on in call.subject].count("rename") < hold.nth:
            await asyncio.sleep(0.02)
        going_on = asyncio.create_task(go_on(folder))
        await asyncio.sleep(0)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        plan.clear()
        assert total(await going_on) < SIZE


# a full disk


@pytest.mark.root
async def test_fetch_into_a_full_disk_goes_on_when_there_is_space(
    small_disk: Path,  # noqa: F811
    database: Path,
) -> None:
    size = 12 * MIB
    content = content_of(size)
    digest = Digest.of(content)
    shutil.copy(database, small_disk)
    metadata = SqliteMetadata(small_disk / "entrepot.db")
    repository = LocalRegistry(FilesystemBlobStore(small_disk), metadata).repository(NAME)
    ballast = fill_disk(small_disk, leave=7 * MIB)
    with pytest.raises(StorageFull):
        await fetch_in_order(repository, content)
    ballast.unlink()
    async with repository.fetch_blob(digest, size) as fetch:
        assert 3 * MIB < fetch.prefix() < 7 * MIB
        await fill(fetch, content)
        assert await read(await fetch.commit()) == content
    await metadata.close()


async def fetch_in_order(repository: LocalRepository, content: bytes) -> None:
    async with repository.fetch_blob(Digest.of(content), len(content)) as fetch:
        await fetch.write(fetch.prefix(), pieces_of(content[fetch.prefix() :]))
        await fetch.commit()


# any order, any failure

MOST = 4000
marks = st.integers(0, MOST)
spans = st.tuples(marks, marks).map(lambda pair: (min(pair), max(pair)))


@st.composite
def writings(draw: st.DrawFn) -> list[tuple[Span, int | None]]:
    """Spans to write at once, each perhaps with the number of bytes after which its source fails."""
    return draw(st.lists(st.tuples(spans, st.one_of(st.none(), st.integers(0, MOST))), max_size=4))


RUNS = st.lists(st.lists(writings(), min_size=1, max_size=3), max_size=4)


@settings(max_examples=60, deadline=None)
@given(runs=RUNS, size=st.integers(0, MOST), fault=st.one_of(st.none(), st.integers(1, 30)))
async def test_fetch_in_any_order_with_any_failures_ends_with_the_right_bytes(
    runs: list[list[list[tuple[Span, int | None]]]], size: int, fault: int | None
) -> None:
    """``missing`` is what no write has brought, at any time, unless the disk has failed and lost some more."""
    content = content_of(size)
    with tempfile.TemporaryDirectory(dir=shared_memory()) as place:
        plan = FaultPlan(Path(place) / "plan")
        if fault is not None:
            plan.set(Fault("any", "error", nth=fault))
        disk = FaultyDisk(plan)
        store = FilesystemBlobStore(
            Path(place) / "root", disk=disk, save_partials=Often(size=500, seconds=3600), threads=2
        )
        there: set[int] = set()
        for run in runs:
            with suppress(Unavailable):
                async with store.open_partial(Digest.of(content), size) as partial:
                    there &= positions_there(partial.missing(), size)
                    assert fault is not None or there == positions_there(partial.missing(), size)
                    for writing in run:
                        await write_at_once(partial.write, content, writing, there, is_sound=fault is None)
                        if fault is None:
                            assert there == positions_there(partial.missing(), size)
                        there |= positions_there(partial.missing(), size)
        plan.clear()
        async with store.open_partial(Digest.of(content), size) as partial:
            for start, end in partial.missing():
                await partial.write(start, chunks(content[start:end]))
            blob = await partial.commit()
        assert await pull(store, blob) == content


def positions_there(missing: list[Span], size: int) -> set[int]:
    return set(range(size)) - {at for start, end in missing for at in range(start, end)}


async def write_at_once(
    write: Callable[[int, AsyncIterator[bytes]], object],
    content: bytes,
    writing: list[tuple[Span, int | None]],
    there: set[int],
    *,
    is_sound: bool,
) -> None:
    async def one(start: int, end: int, breaks_after: int | None) -> None:
        start, end = min(start, len(content)), min(end, len(content))
        last = end if breaks_after is None else min(end, start + breaks_after)
        failure = None if breaks_after is None else ConnectionError()
        pieces = [content[at : min(at + 300, last)] for at in range(start, last, 300)]
        with suppress(ConnectionError):
            await write(start, chunks(*pieces, then=failure))  # type: ignore[misc]
        there.update(range(start, last))

    results = await asyncio.gather(
        *(one(start, end, breaks) for (start, end), breaks in writing), return_exceptions=True
    )
    for result in results:
        assert result is None or (isinstance(result, Unavailable) and not is_sound), result


def shared_memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
