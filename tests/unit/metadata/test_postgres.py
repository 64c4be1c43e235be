"""What PostgreSQL adds to the contract: many writers at a time, errors that are ours, connections used again."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it comes without types
import pytest

from entrepot.digest import Digest
from entrepot.errors import (
    Corrupt,
    DatabaseBusy,
    ParameterInvalid,
    PreconditionFailed,
    RegistryError,
    RepositoryUnknown,
    StorageFull,
    Unavailable,
)
from entrepot.jobs.forget_commits import ForgetCommits
from entrepot.manifest import TagCondition
from entrepot.metadata import blobs, leases, listings, locks, manifests
from entrepot.metadata.base import Steps, operation
from entrepot.metadata.postgres import PostgresMetadata
from entrepot.metadata.postgres_errors import translated
from entrepot.metadata.postgres_options import PostgresOptions
from entrepot.metadata.statistics import count_everything
from entrepot.testing.content_suite import REPOSITORY, V1, parsed, put_blobs, put_image
from entrepot.testing.images import Image, build_image
from entrepot.testing.metadata_suite import blob_digests, failing, put
from tests.services.postgresql import PostgresqlServer

BUSY_MACHINE = 60.0  # seconds; where it is not the point that something takes long
GATE = 4711
PASS_GATE = f"SELECT pg_advisory_xact_lock_shared({GATE})"
INCREMENT = "UPDATE leases SET fence = fence + 1 WHERE name = :name RETURNING fence"


@pytest.fixture
async def metadata(postgresql: str) -> AsyncIterator[PostgresMetadata]:
    metadata = PostgresMetadata(PostgresOptions(postgresql))
    yield metadata
    await metadata.close()


@operation
def make_counter(name: str) -> Steps[None]:
    yield "INSERT INTO leases (name, holder, fence, expires_at) VALUES (:name, '', 0, 0)", {"name": name}


@operation
def read_counter(name: str) -> Steps[int]:
    rows = yield "SELECT fence FROM leases WHERE name = :name", {"name": name}
    return int(rows[0][0])


@operation
def increment(*names: str, pause: float = 0) -> Steps[None]:
    """Counts twice when it is done twice."""
    for name in names:
        yield INCREMENT, {"name": name}
        yield "SELECT pg_sleep(:pause)", {"pause": pause}


class Gate:
    """Operations wait at it until it is opened."""

    def __init__(self, keeper: Any) -> None:
        self._keeper = keeper

    async def is_met_by(self, count: int) -> None:
        """Return when so many wait."""
        waiting = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = {GATE}"
        while await self._keeper.fetchval(waiting) < count:
            await asyncio.sleep(0.01)

    async def open(self) -> None:
        await self._keeper.fetch(f"SELECT pg_advisory_unlock({GATE})")


@asynccontextmanager
async def closed_gate(url: str) -> AsyncIterator[Gate]:
    keeper = await asyncpg.connect(url)
    await keeper.fetch(f"SELECT pg_advisory_lock({GATE})")
    yield Gate(keeper)
    await keeper.close()


@operation
def wait_at_gate() -> Steps[None]:
    """Keep everybody out of REPOSITORY meanwhile."""
    yield locks.removing_from(REPOSITORY)
    yield PASS_GATE, {}


def patient(url: str, **options: Any) -> PostgresMetadata:
    """Which takes no busy machine for a frozen one."""
    usual = {"lock_timeout_seconds": BUSY_MACHINE, "silence_seconds": BUSY_MACHINE, "wait_seconds": BUSY_MACHINE}
    return PostgresMetadata(PostgresOptions(url, **(usual | options)))


async def sessions(url: str) -> set[int]:
    """The connections of ours that the server has; one more than are in the pool as soon as something took a second,
    because then the pulse is felt."""
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'entrepot%'"
        )
        return {row["pid"] for row in found}
    finally:
        await connection.close()


async def test_transactions_that_wait_for_each_other_in_a_circle_are_both_done(metadata: PostgresMetadata) -> None:
    await asyncio.gather(metadata.write(make_counter("a")), metadata.write(make_counter("b")))
    await asyncio.gather(metadata.write(increment("a", "b", pause=0.2)), metadata.write(increment("b", "a", pause=0.2)))
    assert [await metadata.read(read_counter(name)) for name in "ab"] == [2, 2]


async def test_row_that_is_deleted_while_another_refers_to_it_is_made_again(metadata: PostgresMetadata) -> None:
    @operation
    def link_late() -> Steps[None]:
        rows = yield "SELECT id FROM blobs WHERE digest = :digest", {"digest": Digest.of(b"x")}
        if not rows:
            yield from blobs.put_blob(REPOSITORY, Digest.of(b"x"), (yield from put(b"x")), 0)
            return
        while (yield "SELECT 1 FROM blobs", {}):
            yield "SELECT pg_sleep(0.01)", {}
        repository = yield "SELECT id FROM repositories", {}
        yield (
            "INSERT INTO links (repository_id, digest, blob_id, created_at) VALUES (:repository, 'y', :blob, 0)",
            {"repository": repository[0][0], "blob": rows[0][0]},
        )

    @operation
    def delete() -> Steps[None]:
        yield "DELETE FROM links", {}
        yield "DELETE FROM blobs", {}

    await metadata.write(put(b"x"))
    late = asyncio.ensure_future(metadata.write(link_late()))
    await metadata.write(delete())
    await late
    assert await blob_digests(metadata) == {Digest.of(b"x")}


async def test_connections_are_as_many_as_are_used_at_once_and_no_more(postgresql: str) -> None:
    metadata = patient(postgresql, pool_size=3)
    await asyncio.gather(*(metadata.write(put(b"%d" % number)) for number in range(30)))
    assert len(await sessions(postgresql)) in {3, 4}
    await metadata.close()
    while await sessions(postgresql):  # the server ends them in its own time
        await asyncio.sleep(0.01)


async def test_waiter_that_is_cancelled_costs_no_connection(postgresql: str) -> None:
    metadata = patient(postgresql, pool_size=1)
    await metadata.write(make_counter("a"))
    before = await sessions(postgresql)
    for _ in range(5):
        waiting = asyncio.ensure_future(metadata.write(increment("a", pause=0.05)))
        await asyncio.sleep(0)  # it has begun
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await metadata.read(read_counter("a")) == 5
    after = await sessions(postgresql)
    assert before <= after
    assert len(after) <= 2
    await metadata.close()


async def test_reads_of_many_rows_that_nobody_waits_for_leave_connections_for_others(postgresql: str) -> None:
    metadata = patient(postgresql, pool_size=3, wait_seconds=5)
    async with closed_gate(postgresql) as gate:
        for _ in range(5):  # of clients that hang up
            reading = asyncio.ensure_future(metadata.read_much(wait_at_gate()))
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        await gate.is_met_by(1)
        assert await metadata.read(listings.list_repositories(last="", limit=1)) == []
    await metadata.close()


async def test_close_ends_what_was_begun(postgresql: str) -> None:
    metadata = PostgresMetadata(PostgresOptions(postgresql))
    writes = asyncio.gather(*(metadata.write(put(b"%d" % number)) for number in range(30)))
    await asyncio.sleep(0)
    await metadata.close()
    assert len(await writes) == 30


async def test_pool_that_is_used_up_makes_the_database_busy(postgresql: str) -> None:
    metadata = patient(postgresql, pool_size=1, wait_seconds=0.2)
    async with closed_gate(postgresql) as gate:
        holding = asyncio.ensure_future(metadata.write(wait_at_gate()))
        await gate.is_met_by(1)
        with pytest.raises(DatabaseBusy, match="all 1 connections") as caught:
            await metadata.read(listings.list_repositories(last="", limit=1))
        assert caught.value.retry_after_seconds > 0
        assert not metadata.is_out_of_reach
    await holding
    await metadata.close()


async def test_check_passes_while_the_pool_is_used_up(postgresql: str) -> None:
    metadata = patient(postgresql, pool_size=1)
    async with closed_gate(postgresql) as gate:
        holding = asyncio.ensure_future(metadata.write(wait_at_gate()))
        await gate.is_met_by(1)
        await metadata.check()
    await holding
    await metadata.close()


async def test_check_of_a_database_without_tables_says_so(empty_postgresql: str) -> None:
    metadata = PostgresMetadata(PostgresOptions(empty_postgresql))
    with pytest.raises(Unavailable, match='relation "repositories" does not exist'):
        await metadata.check()
    assert not metadata.is_out_of_reach
    await metadata.close()


async def test_server_without_a_connection_left_is_used_with_those_there_are(
    postgresql: str, postgresql_server: PostgresqlServer
) -> None:
    name = postgresql.rpartition("/")[2]
    postgresql_server.sql(f"ALTER DATABASE {name} CONNECTION LIMIT 2")
    metadata = patient(postgresql, pool_size=5)
    await asyncio.gather(*(metadata.write(put(b"%d" % number)) for number in range(30)))
    await metadata.check()
    assert not metadata.is_out_of_reach
    assert len(await blob_digests(metadata)) == 30
    await metadata.close()


async def test_table_that_is_locked_is_no_frozen_server(postgresql: str) -> None:
    metadata = patient(postgresql, silence_seconds=6)  # of which it waits three for a lock
    await metadata.write(make_counter("a"))
    before = await sessions(postgresql)
    keeper = await asyncpg.connect(postgresql)
    async with keeper.transaction():
        await keeper.execute("LOCK TABLE repositories")
        async with closed_gate(postgresql) as gate:
            working = asyncio.ensure_future(metadata.write(wait_at_gate()))
            await gate.is_met_by(1)
            with pytest.raises(Unavailable, match=r"cannot be read: .* lock timeout"):
                await metadata.check()
            assert not metadata.is_out_of_reach
        await working
        assert before <= await sessions(postgresql)  # nobody was dropped
        assert not metadata.is_out_of_reach
    await keeper.close()
    await metadata.check()
    await metadata.close()


async def test_lock_that_is_not_got_in_time_makes_the_database_busy(postgresql: str) -> None:
    other, metadata = patient(postgresql), patient(postgresql, lock_timeout_seconds=0.1)
    async with closed_gate(postgresql) as gate:
        holding = asyncio.ensure_future(other.write(wait_at_gate()))
        await gate.is_met_by(1)
        with pytest.raises(DatabaseBusy, match="lock timeout"):
            await metadata.write(put(b"x"))
        assert await metadata.read(listings.list_repositories(last="", limit=1)) == []  # on the same connection
    await holding
    await metadata.write(put(b"x"))
    for each in (other, metadata):
        await each.close()


async def test_statement_that_takes_too_long_is_ended(postgresql: str) -> None:
    metadata = patient(postgresql, statement_timeout_seconds=1)
    async with closed_gate(postgresql):
        with pytest.raises(DatabaseBusy, match="statement timeout"):
            await metadata.write(wait_at_gate())
    assert await metadata.read(listings.list_repositories(last="", limit=1)) == []
    await metadata.close()


async def test_read_much_sees_one_moment(metadata: PostgresMetadata, postgresql: str) -> None:
    @operation
    def count_twice() -> Steps[tuple[int, int]]:
        first = yield "SELECT count(*) FROM blobs", {}
        yield PASS_GATE, {}
        second = yield "SELECT count(*) FROM blobs", {}
        return first[0][0], second[0][0]

    async with closed_gate(postgresql) as gate:
        counting = asyncio.ensure_future(metadata.read_much(count_twice()))
        await gate.is_met_by(1)
        await metadata.write(put(b"x"))
    assert await counting == (0, 0)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"], ids=["nul", "surrogate"])
async def test_text_that_cannot_be_kept_is_refused(metadata: PostgresMetadata, text: str) -> None:
    with pytest.raises(ParameterInvalid, match="cannot keep this value"):
        await metadata.read(listings.list_repositories(last=text, limit=1))
    assert await metadata.read(listings.list_repositories(last="", limit=1)) == []


async def test_operation_that_raises_leaves_its_connection_of_use(postgresql: str) -> None:
    metadata = patient(postgresql, pool_size=1)
    await metadata.write(make_counter("a"))
    before = await sessions(postgresql)
    for error in (ValueError("no"), RepositoryUnknown("no")):
        with pytest.raises(type(error)):
            await metadata.write(failing(put(b"x"), error))
    assert await blob_digests(metadata) == set()
    assert before <= await sessions(postgresql)
    await metadata.close()


async def test_write_that_need_not_be_durable_waits_for_no_disk(metadata: PostgresMetadata) -> None:
    @operation
    def setting() -> Steps[str]:
        rows = yield "SHOW synchronous_commit", {}
        return str(rows[0][0])

    assert [await metadata.write(setting(), durable=durable) for durable in (True, False, True)] == ["on", "off", "on"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("53100", StorageFull),
        ("55P03", DatabaseBusy),
        ("57014", DatabaseBusy),
        ("40P01", DatabaseBusy),
        ("57P01", Unavailable),
        ("08006", Unavailable),
        ("53300", Unavailable),
        ("28P01", Unavailable),
        ("42P01", Unavailable),
        ("58030", Unavailable),
        ("XX001", Corrupt),
        ("22021", ParameterInvalid),
    ],
)
def test_error_of_the_server_is_one_of_ours(code: str, error: type[RegistryError]) -> None:
    found = translated(asyncpg.PostgresError.new({"C": code, "M": "what the server says"}))
    assert type(found) is error
    assert found.detail["database"] == "what the server says"


def test_error_that_nobody_expects_is_let_through() -> None:
    error = asyncpg.PostgresError.new({"C": "42601", "M": "syntax error"})
    assert translated(error) is error


PROCESSES, TURNS = 4, 15


def move_tag_and_count(url: str, number: int) -> None:
    """What one replica does among others: count up, and move one tag by compare and swap until it succeeds."""

    async def work() -> None:
        metadata = PostgresMetadata(PostgresOptions(url, pool_size=2))
        for turn in range(TURNS):
            await metadata.write(increment("a"))
            image = build_image(1, seed=1000 * number + turn)
            await put_blobs(metadata, REPOSITORY, image)
            while not await swapped(metadata, image):
                pass
        await metadata.close()

    asyncio.run(work())


async def swapped(metadata: PostgresMetadata, image: Image) -> bool:
    head = await metadata.read(manifests.find_manifest_head(REPOSITORY, V1))
    condition = TagCondition(digests=frozenset([head.digest]))
    put_next = manifests.put_manifest(REPOSITORY, image.digest, parsed(image), [V1], 0, condition=condition)
    try:
        await metadata.write(put_next)
        await metadata.write(increment("b"))
    except PreconditionFailed:
        return False
    return True


async def test_processes_that_write_the_same_rows_lose_no_change(metadata: PostgresMetadata, postgresql: str) -> None:
    for name in "ab":
        await metadata.write(make_counter(name))
    await put_image(metadata, REPOSITORY, build_image(1), V1)
    processes = [
        multiprocessing.get_context("spawn").Process(target=move_tag_and_count, args=(postgresql, number))
        for number in range(1, PROCESSES + 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert [await metadata.read(read_counter(name)) for name in "ab"] == [PROCESSES * TURNS] * 2
    assert (await metadata.read_much(count_everything())).manifests == 1 + PROCESSES * TURNS


async def test_note_of_a_commit_is_removed_when_it_is_old_and_made_anew(metadata: PostgresMetadata) -> None:
    async def kept() -> None: ...

    now = int(time.time())
    await metadata.write(make_counter("a"))
    await metadata.write(increment("a"))
    await ForgetCommits(metadata, lambda: now).run(kept)
    assert len(await metadata.read(notes())) == 1
    await ForgetCommits(metadata, lambda: now + leases.COMMIT_SECONDS + 60).run(kept)
    assert await metadata.read(notes()) == []
    await metadata.write(increment("a"))
    assert len(await metadata.read(notes())) == 1
    assert await metadata.read(read_counter("a")) == 2


@operation
def notes() -> Steps[list[str]]:
    return [name for (name,) in (yield "SELECT name FROM leases WHERE name LIKE 'commit:%'", {})]
