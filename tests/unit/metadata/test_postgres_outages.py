"""PostgreSQL restarted, killed, frozen and cut off: what was in flight is run again, and done once."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.errors import Unavailable
from entrepot.metadata import leases, listings
from entrepot.metadata.base import Steps, operation
from entrepot.metadata.migrate_postgresql import upgrade
from entrepot.metadata.postgres import PostgresMetadata
from entrepot.metadata.postgres_options import PostgresOptions
from entrepot.testing.content_suite import REPOSITORY
from entrepot.testing.metadata_suite import blob_digests, put
from entrepot.testing.server import free_port
from tests.services.postgresql import PostgresqlServer
from tests.services.tcp_proxy import TcpProxy
from tests.unit.metadata.test_postgres import increment, make_counter, read_counter

WRITERS = 6
# Shorter than by default, and still so long that a busy machine seldom counts as a server that says nothing.
HURRIED: dict[str, Any] = {"silence_seconds": 2.0, "wait_seconds": 60.0}
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'entrepot%'"


@pytest.fixture(scope="module")
def _server() -> Iterator[PostgresqlServer]:
    with tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        server = PostgresqlServer(Path(name) / "server")
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture
def server(_server: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """A server of these tests alone; after each it runs again."""
    yield _server
    _server.resume()
    if not _server.program.is_running:
        _server.start()
    set_standby(_server, "")


def set_standby(server: PostgresqlServer, name: str) -> None:
    """Every commit waits for that standby, once it is done here."""
    server.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    server.sql("SELECT pg_reload_conf()")


@pytest.fixture
async def url(server: PostgresqlServer) -> str:
    url = server.url(server.new_database())
    await upgrade(PostgresOptions(url))
    return url


@pytest.fixture
async def metadata(url: str) -> AsyncIterator[PostgresMetadata]:
    metadata = PostgresMetadata(PostgresOptions(url, **HURRIED))
    yield metadata
    await metadata.close()


class Load:
    """Writers and readers that never rest, until ``stop``."""

    def __init__(self, metadata: PostgresMetadata) -> None:
        self.metadata = metadata
        self.done = 0
        self._goes_on = True
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.metadata.write(make_counter("load"))
        self._tasks = [asyncio.create_task(self._write(number)) for number in range(WRITERS)]
        self._tasks.append(asyncio.create_task(self._read()))
        await self.until_done(2 * WRITERS)

    async def until_done(self, count: int) -> None:
        """That many more writes."""
        goal = self.done + count
        while self.done < goal:
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Raises what any of them has come to."""
        self._goes_on = False
        await asyncio.gather(*self._tasks)

    async def _write(self, number: int) -> None:
        mine = 0
        while self._goes_on:
            await self.metadata.write(increment("load"))
            await self.metadata.write(put(b"%d %d" % (number, mine)))
            mine += 1
            self.done += 1

    async def _read(self) -> None:
        while self._goes_on:
            await self.metadata.read(listings.list_repositories(last="", limit=1))
            await self.metadata.read_much(listings.search_repositories(REPOSITORY, limit=1))


async def outage(server: PostgresqlServer, how: str, metadata: PostgresMetadata) -> None:
    if how == "restarted":
        await asyncio.to_thread(server.restart)
    elif how == "killed":
        server.kill()
        await asyncio.to_thread(server.start)
    elif how == "sessions ended":
        for _ in range(5):
            await asyncio.to_thread(server.sql, END_SESSIONS)
    else:
        server.freeze()
        while not metadata.is_out_of_reach:
            await asyncio.sleep(0.01)
        server.resume()


@pytest.mark.parametrize("how", ["restarted", "killed", "sessions ended", "frozen"])
async def test_server_that_goes_away_fails_no_request_and_does_each_once(
    server: PostgresqlServer, metadata: PostgresMetadata, how: str
) -> None:
    load = Load(metadata)
    await load.start()
    await outage(server, how, metadata)
    await load.until_done(WRITERS)
    await load.stop()
    assert await metadata.read(read_counter("load")) == load.done
    assert len(await blob_digests(metadata)) == min(load.done, 1000)
    while metadata.is_out_of_reach:
        await asyncio.sleep(0.01)


async def test_frozen_server_is_noticed_after_seconds(server: PostgresqlServer, url: str) -> None:
    metadata = PostgresMetadata(PostgresOptions(url, statement_timeout_seconds=60, wait_seconds=60))
    await metadata.write(make_counter("a"))
    server.freeze()
    begun = time.monotonic()
    waiting = asyncio.ensure_future(metadata.write(increment("a")))
    while not metadata.is_out_of_reach:
        await asyncio.sleep(0.01)
    assert time.monotonic() - begun < 20  # four are usual; without the pulse it would be 63
    with pytest.raises(Unavailable, match="cannot be reached"):
        await metadata.check()
    server.resume()
    await waiting
    await metadata.check()
    assert await metadata.read(read_counter("a")) == 1
    await metadata.close()


async def test_server_that_stays_away_makes_requests_fail_in_time(server: PostgresqlServer, url: str) -> None:
    metadata = PostgresMetadata(PostgresOptions(url, wait_seconds=0.5))
    await metadata.write(put(b"x"))
    server.stop()
    for work in (metadata.write(put(b"y")), metadata.read(listings.list_repositories(last="", limit=1))):
        with pytest.raises(Unavailable, match="the database cannot be reached") as caught:
            await work
        assert caught.value.retry_after_seconds > 0
        assert "not-secret" not in str(caught.value.detail)
        assert metadata.is_out_of_reach
    with pytest.raises(Unavailable):
        await metadata.check()
    await asyncio.to_thread(server.start)
    while metadata.is_out_of_reach:  # it finds out by itself
        await asyncio.sleep(0.01)
    assert await blob_digests(metadata) == {Digest.of(b"x")}
    await metadata.close()


async def test_connection_that_fails_when_no_time_is_left_is_an_outage_all_the_same() -> None:
    metadata = PostgresMetadata(PostgresOptions(f"postgresql://127.0.0.1:{free_port()}/name", wait_seconds=0))
    with pytest.raises(Unavailable, match="the database cannot be reached"):
        await metadata.write(put(b"x"))
    assert metadata.is_out_of_reach
    await metadata.close()


async def test_close_in_an_outage_waits_for_nobody(server: PostgresqlServer, url: str) -> None:
    metadata = PostgresMetadata(PostgresOptions(url))
    await metadata.check()
    server.stop()
    waiting = asyncio.ensure_future(metadata.write(put(b"x")))
    while not metadata.is_out_of_reach:
        await asyncio.sleep(0.01)
    await metadata.close()
    with pytest.raises(Unavailable, match="being stopped"):
        await waiting


@pytest.mark.parametrize("break_off", [TcpProxy.cut, TcpProxy.stall], ids=["cut", "stalled"])
async def test_network_that_breaks_off_fails_no_request_and_does_each_once(
    server: PostgresqlServer, url: str, break_off: Callable[[TcpProxy], None]
) -> None:
    with TcpProxy(server.port) as network:
        through = url.replace(str(server.port), str(network.port))
        metadata = PostgresMetadata(PostgresOptions(through, **HURRIED))
        load = Load(metadata)
        await load.start()
        break_off(network)
        while not metadata.is_out_of_reach:
            await asyncio.sleep(0.01)
        network.heal()
        await load.until_done(WRITERS)
        await load.stop()
        assert await metadata.read(read_counter("load")) == load.done
        await metadata.close()


async def test_connections_that_are_forgotten_on_the_way_cost_time_and_no_request(
    server: PostgresqlServer, url: str
) -> None:
    """As by a firewall that was restarted: nobody is told, and new connections work."""
    with TcpProxy(server.port) as network:
        through = url.replace(str(server.port), str(network.port))
        options = PostgresOptions(through, pool_size=1, statement_timeout_seconds=2, **HURRIED)
        metadata = PostgresMetadata(options)
        await metadata.write(make_counter("forgotten"))
        network.forget()
        async with asyncio.timeout(options.wait_seconds):
            await metadata.write(increment("forgotten"))
        assert await metadata.read(read_counter("forgotten")) == 1
        await metadata.close()


async def test_commit_whose_answer_is_lost_is_done_once(server: PostgresqlServer, url: str) -> None:
    with TcpProxy(server.port) as network:
        through = url.replace(str(server.port), str(network.port))
        metadata = PostgresMetadata(PostgresOptions(through))
        await metadata.write(make_counter("a"))
        # Committed here, and then waiting for a standby that will never come
        set_standby(server, "nobody")
        waiting, count = asyncio.ensure_future(metadata.write(increment("a"))), 1
        while not server.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"):
            if waiting.done():  # not all of the server has read its settings again
                waiting, count = asyncio.ensure_future(metadata.write(increment("a"))), count + 1
            await asyncio.sleep(0.01)
        network.break_connections()
        await waiting
        set_standby(server, "")
        assert await metadata.read(read_counter("a")) == count
        await metadata.close()


async def test_commit_that_a_crash_loses_is_done_again_though_another_got_its_number(
    server: PostgresqlServer, url: str
) -> None:
    for name in "abcde":  # now and then the server writes a number down before it has to
        if await crash_before_a_commit(server, url, name) == "committed":
            return
    raise AssertionError("no crash has lost a number")


async def crash_before_a_commit(server: PostgresqlServer, url: str, counter: str) -> str:
    """What the server then says of the transaction's number, when it has given out later ones."""
    with TcpProxy(server.port) as network:
        through = url.replace(str(server.port), str(network.port))
        metadata = PostgresMetadata(PostgresOptions(through, silence_seconds=60, wait_seconds=60))
        numbers: list[int] = []

        @operation
        def numbered() -> Steps[None]:
            yield from increment(counter)
            [[number]] = yield "SELECT txid_current()", {}
            numbers.append(number)

        await metadata.write(make_counter(counter))
        network.stall_at(b"COMMIT\0")
        waiting = asyncio.ensure_future(metadata.write(numbered()))
        assert await asyncio.to_thread(network.stalled.wait, 60)
        server.kill()
        await asyncio.to_thread(server.start)
        while int(server.sql("SELECT txid_current()")) <= numbers[0]:
            pass
        status = server.sql(f"SELECT txid_status({numbers[0]})")
        network.break_connections()
        network.heal()
        await waiting
        assert await metadata.read(read_counter(counter)) == 1
        assert len(numbers) == 2
        await metadata.close()
    return status


async def test_commit_that_the_server_never_got_is_done_once(server: PostgresqlServer, url: str) -> None:
    with TcpProxy(server.port) as network:
        through = url.replace(str(server.port), str(network.port))
        metadata = PostgresMetadata(PostgresOptions(through, **HURRIED))
        attempts = 0

        @operation
        def stalled_once() -> Steps[None]:
            nonlocal attempts
            attempts += 1
            yield from increment("a")
            if attempts == 1:
                network.stall()

        await metadata.write(make_counter("a"))
        waiting = asyncio.ensure_future(metadata.write(stalled_once()))
        while not metadata.is_out_of_reach:
            await asyncio.sleep(0.01)
        network.heal()
        await waiting
        assert attempts > 1
        assert await metadata.read(read_counter("a")) == 1
        await metadata.close()


async def test_locks_of_a_session_that_is_lost_are_freed(server: PostgresqlServer, url: str) -> None:
    with TcpProxy(server.port) as network:
        through = url.replace(str(server.port), str(network.port))
        metadata = PostgresMetadata(PostgresOptions(through, **HURRIED))
        attempts = 0

        @operation
        def stalled_with_a_lock() -> Steps[None]:
            nonlocal attempts
            attempts += 1
            yield from leases.take_lease("a", "me", now=0, seconds=9)
            if attempts == 1:
                network.stall()

        waiting = asyncio.ensure_future(metadata.write(stalled_with_a_lock()))
        while not metadata.is_out_of_reach:
            await asyncio.sleep(0.01)
        network.heal()
        await waiting  # which would fail after lock_timeout_seconds
        assert attempts > 1
        await metadata.close()
