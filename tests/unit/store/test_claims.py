"""Claims on uploads: one writer at a time, over all processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from entrepot.errors import Unavailable, UploadBusy
from entrepot.metadata.claims import SECONDS, LeaseClaims
from entrepot.metadata.leases import ended_leases
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.store.base import Claims
from entrepot.store.claims import HeldClaim, ProcessClaims, wait_until_free


class Clock:
    """Seconds since 1970 that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000

    def __call__(self) -> int:
        return self.now


class BriefClaims(ProcessClaims):
    """They end after a moment; ``renewed`` tells of renewals, which can be made to fail."""

    seconds = 0.03

    def __init__(self) -> None:
        super().__init__()
        self.renewed = asyncio.Event()
        self.failure: Exception | None = None

    async def renew(self, name: str, token: str) -> bool:
        self.renewed.set()
        if self.failure is not None:
            raise self.failure
        return await super().renew(name, token)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def metadata(database: Path) -> AsyncIterator[SqliteMetadata]:
    metadata = SqliteMetadata(database)
    yield metadata
    await metadata.close()


@pytest.fixture
def leases(metadata: SqliteMetadata, clock: Clock) -> LeaseClaims:
    return LeaseClaims(metadata, clock)


@pytest.fixture(params=["process", "leases"])
def claims(request: pytest.FixtureRequest, leases: LeaseClaims) -> Claims:
    return ProcessClaims() if request.param == "process" else leases


async def test_take_claim_that_is_held_gives_none(claims: Claims) -> None:
    assert await claims.take("a") is not None
    assert await claims.take("a") is None
    assert await claims.take("b") is not None


async def test_drop_claim_lets_the_next_one_take_it(claims: Claims) -> None:
    token = await claims.take("a")
    assert token is not None
    await claims.drop("a", token)
    assert await claims.take("a") is not None


async def test_renew_claim_that_was_dropped_does_not_bring_it_back(claims: Claims) -> None:
    token = await claims.take("a")
    assert token is not None
    await claims.drop("a", token)
    assert not await claims.renew("a", token)
    assert await claims.take("a") is not None


async def test_drop_claim_of_another_leaves_it(claims: Claims) -> None:
    await claims.take("a")
    await claims.drop("a", "not the token")
    assert await claims.take("a") is None


async def test_renew_claim_of_another_is_refused(claims: Claims) -> None:
    token = await claims.take("a")
    assert token is not None
    assert await claims.renew("a", token)
    assert not await claims.renew("a", "not the token")


async def test_claim_is_held_until_it_is_dropped(claims: Claims) -> None:
    assert not await claims.is_held("a")
    token = await claims.take("a")
    assert token is not None
    assert (await claims.is_held("a"), await claims.is_held("b")) == (True, False)
    await claims.drop("a", token)
    assert not await claims.is_held("a")


async def test_lease_that_is_not_renewed_is_not_held(leases: LeaseClaims, clock: Clock) -> None:
    await leases.take("a")
    clock.now += SECONDS
    assert not await leases.is_held("a")


async def test_lease_that_is_not_renewed_goes_to_the_next_one(leases: LeaseClaims, clock: Clock) -> None:
    first = await leases.take("a")
    assert first is not None
    clock.now += SECONDS
    assert await leases.take("a") is not None
    assert not await leases.renew("a", first)


@pytest.mark.parametrize(
    ("is_clean", "is_taken_over", "traces"),
    [(True, False, []), (False, False, ["a"]), (True, True, ["a"]), (False, True, ["a"])],
    ids=["clean", "unclean", "taken_over", "both"],
)
async def test_drop_lease_leaves_a_trace_when_something_may_be_left(
    metadata: SqliteMetadata,
    leases: LeaseClaims,
    clock: Clock,
    *,
    is_clean: bool,
    is_taken_over: bool,
    traces: list[str],
) -> None:
    if is_taken_over:
        await leases.take("a")
        clock.now += SECONDS
    token = await leases.take("a")
    assert token is not None
    await leases.drop("a", token, is_clean=is_clean)
    assert await metadata.read(ended_leases("", "z", before=clock.now + 1, limit=9)) == traces
    assert await leases.take("a") is not None  # at once


async def test_held_claim_keeps_others_out_until_it_is_dropped() -> None:
    claims = ProcessClaims()
    held = await HeldClaim.take(claims, "a", wait_seconds=0)
    assert held is not None
    held.require()
    assert await HeldClaim.take(claims, "a", wait_seconds=0.02) is None
    waiting = asyncio.create_task(HeldClaim.take(claims, "a", wait_seconds=60))
    await held.drop()
    following = await waiting
    assert following is not None
    await following.drop()


async def test_wait_until_free_returns_when_the_claim_is_dropped_or_time_is_over() -> None:
    claims = ProcessClaims()
    assert not await wait_until_free(claims, "a", wait_seconds=60)
    held = await HeldClaim.take(claims, "a", wait_seconds=0)
    assert held is not None
    assert await wait_until_free(claims, "a", wait_seconds=0.02)
    waiting = asyncio.create_task(wait_until_free(claims, "a", wait_seconds=60))
    await asyncio.wait({waiting}, timeout=0.05)
    assert not waiting.done()
    await held.drop()
    assert await waiting


async def test_held_claim_is_renewed_while_it_is_held() -> None:
    claims = BriefClaims()
    claims.seconds = 3.0  # a machine that does nothing for two of them must not lose it
    held = await HeldClaim.take(claims, "a", wait_seconds=0)
    assert held is not None
    async with asyncio.timeout(60):
        await claims.renewed.wait()
    await held.drop()
    assert await claims.take("a") is not None


@pytest.mark.parametrize("failure", [None, Unavailable("the database is away")], ids=["taken", "unknown"])
async def test_held_claim_that_could_not_be_renewed_is_lost(failure: Exception | None) -> None:
    claims = BriefClaims()
    held = await HeldClaim.take(claims, "a", wait_seconds=0)
    assert held is not None
    claims.failure = failure
    if failure is None:
        claims._tokens["a"] = "another"
    async with asyncio.timeout(60):
        while not held.is_lost:
            claims.renewed.clear()
            await asyncio.wait([asyncio.create_task(claims.renewed.wait())], timeout=0.02)
    with pytest.raises(UploadBusy):
        held.require()
    await held.drop()
