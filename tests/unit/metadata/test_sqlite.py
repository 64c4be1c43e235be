"""What SQLite adds to the contract: writes share transactions, and its errors are ours."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.errors import (
    BlobUnknown,
    Corrupt,
    DatabaseBusy,
    RegistryError,
    RepositoryUnknown,
    StorageFull,
    Unavailable,
)
from entrepot.metadata import blobs, sqlite, sqlite_connection, uploads
from entrepot.metadata.base import Operation, Steps, operation
from entrepot.metadata.sqlite import MOST_IN_ONE_TRANSACTION, SqliteMetadata
from entrepot.metadata.statistics import count_everything
from entrepot.store.base import StoredBlob, UploadState
from entrepot.testing.content_suite import REPOSITORY
from entrepot.testing.faults import Action, Fault, FaultPlan, FaultyCommit
from entrepot.testing.metadata_suite import blob_digests, failing, put


@pytest.fixture
def plan(tmp_path: Path) -> FaultPlan:
    return FaultPlan(tmp_path / "plan")


@pytest.fixture
async def metadata(database: Path, plan: FaultPlan) -> AsyncIterator[SqliteMetadata]:
    metadata = SqliteMetadata(database, commit=FaultyCommit(plan))
    yield metadata
    await metadata.close()


async def until_called(plan: FaultPlan) -> None:
    while not plan.calls():
        await asyncio.sleep(0)


async def commits_of(metadata: SqliteMetadata, plan: FaultPlan, *durable: bool) -> list[str]:
    """The durability of the transactions that the writes end up in when they wait for another."""
    plan.set(Fault("before_commit", "hold"))
    first = asyncio.ensure_future(metadata.write(put(b"first")))
    await until_called(plan)
    writes = [metadata.write(put(b"%d" % number), durable=each) for number, each in enumerate(durable)]
    waiting = asyncio.gather(*writes)
    await asyncio.sleep(0)
    plan.clear()
    await asyncio.gather(first, waiting)
    return [call.subject for call in plan.calls() if call.step == "before_commit"]


async def test_writes_that_wait_share_one_transaction(metadata: SqliteMetadata, plan: FaultPlan) -> None:
    assert await commits_of(metadata, plan, *[True] * 20) == ["FULL"]
    assert len(await blob_digests(metadata)) == 21


async def test_transaction_is_durable_if_one_of_its_writes_is(metadata: SqliteMetadata, plan: FaultPlan) -> None:
    assert await commits_of(metadata, plan, False, True, False) == ["FULL"]


async def test_transaction_of_writes_that_need_not_be_durable_is_not(metadata: SqliteMetadata, plan: FaultPlan) -> None:
    assert await commits_of(metadata, plan, False, False) == ["NORMAL"]


async def test_transaction_has_a_largest_size(metadata: SqliteMetadata, plan: FaultPlan) -> None:
    count = 2 * MOST_IN_ONE_TRANSACTION + 1
    assert await commits_of(metadata, plan, *[True] * count) == ["FULL"] * 3
    assert len(await blob_digests(metadata)) == count + 1


async def test_read_while_a_write_is_committed_sees_the_time_before(metadata: SqliteMetadata, plan: FaultPlan) -> None:
    plan.set(Fault("before_commit", "hold"))
    writing = asyncio.ensure_future(metadata.write(put(b"x")))
    await until_called(plan)
    with pytest.raises(RepositoryUnknown):
        await metadata.read(blobs.find_blob(REPOSITORY, Digest.of(b"x")))
    assert (await metadata.read_much(count_everything())).blobs == 0
    plan.clear()
    await writing
    assert (await metadata.read(count_everything())).blobs == 1


@operation
def count_before_and_after(change: Callable[[], object]) -> Steps[tuple[int, int]]:
    [[before]] = yield "SELECT count(*) FROM blobs", {}
    change()
    [[after]] = yield "SELECT count(*) FROM blobs", {}
    return before, after


async def test_read_much_sees_one_moment(metadata: SqliteMetadata, database: Path) -> None:
    def change() -> None:
        with closing(sqlite_connection.connect(database)) as other:
            sqlite_connection.drive(other, put(b"x"))

    assert await metadata.read_much(count_before_and_after(change)) == (0, 0)
    assert await metadata.read_much(count_before_and_after(lambda: None)) == (1, 1)


@pytest.mark.parametrize(("action", "error"), [("full", StorageFull), ("error", Unavailable)])
async def test_commit_that_fails_changes_nothing_and_the_next_succeeds(
    metadata: SqliteMetadata, plan: FaultPlan, action: Action, error: type[RegistryError]
) -> None:
    await metadata.write(put(b"before"))
    plan.set(Fault("before_commit", action))
    with pytest.raises(error) as caught:
        await metadata.write(put(b"x"))
    assert type(caught.value) is error
    assert caught.value.detail["database"]
    assert await blob_digests(metadata) == {Digest.of(b"before")}
    await metadata.write(put(b"x"))
    assert len(await blob_digests(metadata)) == 2


async def test_commit_that_fails_fails_all_its_writes_but_leaves_them_errors_of_their_own(
    metadata: SqliteMetadata, plan: FaultPlan
) -> None:
    plan.set(Fault("before_commit", "hold"))
    first = asyncio.ensure_future(metadata.write(put(b"first")))
    await until_called(plan)
    writes = (metadata.write(each) for each in (put(b"x"), failing(put(b"y"), BlobUnknown("own")), put(b"z")))
    waiting = asyncio.gather(*writes, return_exceptions=True)
    await asyncio.sleep(0)
    plan.set(Fault("before_commit", "full"))
    await first
    outcomes = await waiting
    assert [type(outcome) for outcome in outcomes] == [StorageFull, BlobUnknown, StorageFull]
    assert await blob_digests(metadata) == {Digest.of(b"first")}


@operation
def begin(number: int) -> Steps[None]:
    """A write of one plain row: when that finds the database full, SQLite gives up the whole transaction."""
    state = UploadState.empty(f"upload-{number}", "sha256")
    yield from uploads.begin_upload(REPOSITORY, state, "sha256", 0, most=10_000)


@pytest.mark.parametrize("write", [begin, lambda number: put(b"%d" % number)], ids=["transaction", "statement"])
async def test_database_that_may_not_grow_is_full_and_works_again_when_it_may(
    database: Path, write: Callable[[int], Operation[Any]]
) -> None:
    pages: list[int] = []

    def commit(connection: sqlite3.Connection) -> None:
        sqlite.commit(connection)
        if pages:
            connection.execute(f"PRAGMA max_page_count = {pages.pop()}")

    metadata = SqliteMetadata(database, commit=commit)
    pages.append(1)  # less than there are, so it becomes as many as there are
    await metadata.write(put(b"before"))
    outcomes = await asyncio.gather(*map(metadata.write, map(write, range(2000))), return_exceptions=True)
    kept = sum(not isinstance(outcome, BaseException) for outcome in outcomes)
    assert kept < 2000
    assert {type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)} == {StorageFull}
    counted = await metadata.read_much(count_everything())
    assert counted.blobs + counted.uploads == 1 + kept
    await metadata.close()
    metadata = SqliteMetadata(database)
    await metadata.write(put(b"after"))
    await metadata.close()


async def test_database_that_another_program_holds_is_busy(
    database: Path, plan: FaultPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_connection, "BUSY_SECONDS", 0.05)
    metadata = SqliteMetadata(database)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy) as caught:
            await metadata.write(put(b"x"))
        assert caught.value.retry_after_seconds > 0
        other.execute("ROLLBACK")
    await metadata.write(put(b"x"))
    await metadata.close()


async def test_database_that_is_damaged_is_corrupt(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        pages = [page for (page,) in connection.execute("SELECT rootpage FROM sqlite_schema")]
    content = bytearray(database.read_bytes())
    for page in pages:
        content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    database.write_bytes(content)
    metadata = SqliteMetadata(database)
    with pytest.raises(Corrupt, match="the database is damaged"):
        await metadata.read(count_everything())
    with pytest.raises(Corrupt):
        await metadata.write(put(b"x"))
    with pytest.raises(Corrupt):
        await metadata.check()
    await metadata.close()


def test_database_that_cannot_be_opened_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="unable to open database file"):
        SqliteMetadata(tmp_path / "absent" / "entrepot.db")


async def test_connections_are_set_up_to_be_safe(metadata: SqliteMetadata, database: Path) -> None:
    found = {}

    def commit(connection: sqlite3.Connection) -> None:
        for name in ("journal_mode", "synchronous", "foreign_keys"):
            found[name] = connection.execute(f"PRAGMA {name}").fetchone()[0]
        sqlite.commit(connection)

    checked = SqliteMetadata(database, commit=commit)
    await checked.write(put(b"x"))
    await checked.close()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_close_ends_what_was_begun(database: Path) -> None:
    metadata = SqliteMetadata(database)
    writes = asyncio.gather(*(metadata.write(put(b"%d" % number)) for number in range(100)))
    await asyncio.sleep(0)
    await metadata.close()
    assert len(await writes) == 100


async def test_waiter_that_is_cancelled_holds_nobody_up(metadata: SqliteMetadata, plan: FaultPlan) -> None:
    plan.set(Fault("before_commit", "hold"))
    writes = [asyncio.ensure_future(metadata.write(put(b"%d" % number))) for number in range(3)]
    await until_called(plan)
    writes[0].cancel()
    writes[1].cancel()
    plan.clear()
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, asyncio.CancelledError, StoredBlob]
    await metadata.write(put(b"next"))
