from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from entrepot.errors import Unavailable
from entrepot.jobs.runner import Job, JobRunner, Keep, LeaseLost
from entrepot.metadata import leases
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.testing.faults import Fault, FaultPlan, FaultyCommit

from .conftest import Clock, Runs

INTERVAL = 300
Make = Callable[..., JobRunner]


@pytest.fixture
def make(metadata: SqliteMetadata, clock: Clock, runs: Runs) -> Make:
    """A runner, as each process has one of its own."""

    def build(*jobs: Job, renewal_seconds: float = 3600) -> JobRunner:
        return JobRunner(metadata, list(jobs), clock, runs, renewal_seconds=renewal_seconds)

    return build


async def nothing(keep: Keep) -> None:
    await keep()


JOB = Job("sweep", INTERVAL, nothing)


async def test_job_runs_once_in_its_interval_whoever_asks(make: Make, clock: Clock, runs: Runs) -> None:
    one, other = make(), make()
    assert await one.run_if_due(JOB)
    for seconds in (0, 100, INTERVAL - 1):
        clock.seconds = 1_700_000_000 + seconds
        assert not await one.run_if_due(JOB)
        assert not await other.run_if_due(JOB)
    clock.seconds += 1
    assert await other.run_if_due(JOB)
    assert runs.seen == [("sweep", "done")] * 2


async def test_job_whose_last_run_was_by_a_wrong_clock_runs_again(make: Make, clock: Clock, runs: Runs) -> None:
    right = clock.seconds
    clock.seconds += 80 * 365 * 24 * 3600
    assert await make().run_if_due(JOB)
    clock.seconds = right
    other = make()
    assert await other.run_if_due(JOB)
    assert not await other.run_if_due(JOB)
    assert runs.seen == [("sweep", "done")] * 2


async def test_job_that_is_due_runs_in_one_process_only(make: Make, runs: Runs) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(keep: Keep) -> None:
        started.set()
        await go_on.wait()

    job = Job("slow", INTERVAL, slow)
    running = asyncio.create_task(make().run_if_due(job))
    await started.wait()
    assert not any(await asyncio.gather(*(make().run_if_due(job) for _ in range(10))))
    go_on.set()
    assert await running
    assert runs.seen == [("slow", "done")]


async def test_job_whose_process_died_is_taken_over_when_its_lease_expires(make: Make, clock: Clock) -> None:
    async def hang(keep: Keep) -> None:
        started.set()
        await asyncio.Event().wait()

    started = asyncio.Event()
    dead = asyncio.create_task(make().run_if_due(Job("sweep", INTERVAL, hang)))
    await started.wait()
    clock.seconds += 19
    assert not await make().run_if_due(JOB)
    clock.seconds += 1
    assert await make().run_if_due(JOB)
    dead.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dead


async def test_job_that_was_taken_over_notices_at_its_next_step(make: Make, clock: Clock, runs: Runs) -> None:
    lost: list[LeaseLost] = []
    at_step, taken_over = asyncio.Event(), asyncio.Event()

    async def slow(keep: Keep) -> None:
        await keep()
        at_step.set()
        await taken_over.wait()
        try:
            await keep()
        except LeaseLost as error:
            lost.append(error)
            raise

    slept = asyncio.create_task(make().run_if_due(Job("sweep", INTERVAL, slow)))
    await at_step.wait()
    clock.seconds += 20
    assert await make().run_if_due(JOB)
    taken_over.set()
    assert not await slept
    assert [str(error) for error in lost] == ["sweep"]
    assert sorted(runs.seen) == [("sweep", "done"), ("sweep", "failed")]


async def test_job_that_keeps_its_lease_is_not_taken_over(make: Make, clock: Clock) -> None:
    turns: asyncio.Queue[None] = asyncio.Queue()
    kept = asyncio.Event()

    async def long(keep: Keep) -> None:
        for _ in range(5):
            await turns.get()
            await keep()
            kept.set()

    running = asyncio.create_task(make().run_if_due(Job("sweep", INTERVAL, long)))
    for _ in range(4):
        clock.seconds += 19
        kept.clear()
        turns.put_nowait(None)
        await kept.wait()
        assert not await make().run_if_due(JOB)
    turns.put_nowait(None)
    assert await running


async def test_job_whose_step_takes_long_keeps_its_lease(make: Make, metadata: SqliteMetadata, clock: Clock) -> None:
    go_on = asyncio.Event()

    async def long(keep: Keep) -> None:
        await go_on.wait()

    running = asyncio.create_task(make(renewal_seconds=0.001).run_if_due(Job("sweep", INTERVAL, long)))
    for _ in range(3):
        clock.seconds += 19
        until = clock.seconds + 20
        while await metadata.read(leases.is_lease_free("sweep", "somebody else", now=until - 1, seconds=20)):
            await asyncio.sleep(0)
        assert not await make().run_if_due(JOB)
    go_on.set()
    assert await running


async def test_job_that_was_taken_over_is_stopped_in_the_middle_of_a_step(
    make: Make, metadata: SqliteMetadata, clock: Clock, runs: Runs
) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def endless(keep: Keep) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    running = asyncio.create_task(make(renewal_seconds=0.001).run_if_due(Job("sweep", INTERVAL, endless)))
    await started.wait()
    later = clock.seconds + 20
    assert await metadata.write(leases.take_lease("sweep", "another replica", now=later, seconds=20)) == 2
    assert not await running
    assert stopped.is_set()
    assert runs.seen == [("sweep", "failed")]


async def test_job_that_fails_is_reported_and_tried_again_after_its_interval(
    make: Make, clock: Clock, runs: Runs
) -> None:
    async def fail(keep: Keep) -> None:
        raise ValueError("no")

    job = Job("sweep", INTERVAL, fail)
    assert not await make().run_if_due(job)
    assert not await make().run_if_due(JOB)
    clock.seconds += INTERVAL
    assert await make().run_if_due(JOB)
    assert runs.seen == [("sweep", "failed"), ("sweep", "done")]


async def test_job_that_meets_an_outage_is_told_in_one_line_and_counted(
    make: Make, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def meet_outage(keep: Keep) -> None:
        raise Unavailable("the bucket cannot be reached")

    said = structlog.testing.LogCapture()  # not by capture_logs: the logger may be set up already, by another test
    log = structlog.wrap_logger(None, processors=[said], wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr("entrepot.jobs.runner.log", log)
    assert not await make().run_if_due(Job("sweep", INTERVAL, meet_outage))
    assert said.entries == [
        {
            "event": "background job could not run",
            "job": "sweep",
            "reason": "the bucket cannot be reached",
            "log_level": "warning",
        }
    ]
    assert runs.seen == [("sweep", "failed")]


async def test_runner_runs_its_jobs_and_gives_up_their_leases_when_it_is_stopped(
    make: Make, metadata: SqliteMetadata, clock: Clock
) -> None:
    ran = asyncio.Event()

    async def tell(keep: Keep) -> None:
        ran.set()

    runner = make(Job("tell", INTERVAL, tell))
    running = asyncio.create_task(runner.run_for_ever())
    await ran.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await metadata.read(leases.is_lease_free("tell", "somebody else", now=clock(), seconds=20))


async def test_runner_can_be_stopped_while_the_database_is_full(
    tmp_path: Path, metadata: SqliteMetadata, clock: Clock, runs: Runs
) -> None:
    plan = FaultPlan(tmp_path / "plan")
    full = SqliteMetadata(tmp_path / "entrepot.db", commit=FaultyCommit(plan))
    plan.set(Fault("before_commit", "full", times=0))
    running = asyncio.create_task(JobRunner(full, [JOB], clock, runs).run_for_ever())
    while not plan.calls():
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await full.close()
