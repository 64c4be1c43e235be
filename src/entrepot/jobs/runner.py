"""Runs each background job in one process at a time, of however many replicas: whichever gets hold of its lease.

A process that is killed stops renewing its lease, and half a minute later another one has taken the job over. One
that was only held up notices: it cannot renew any more, or not with the same fence, and stops.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from entrepot.errors import Unavailable
from entrepot.metadata import leases
from entrepot.metadata.base import Metadata

log = structlog.get_logger()

_LEASE_SECONDS = 20
_SECONDS_BETWEEN_RENEWALS = 5.0
_MOST_SECONDS_BETWEEN_LOOKS = 5.0


class LeaseLost(Exception):
    """Another process has taken over the job."""


Keep = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Job:
    """``run`` is called every ``interval_seconds``; it calls its argument before each step, which raises LeaseLost
    when the job has gone to another process."""

    name: str
    interval_seconds: int
    run: Callable[[Keep], Awaitable[None]]


class JobMetrics(Protocol):
    """Where the runs are counted."""

    def observe_job(self, job: str, outcome: str, seconds: float) -> None: ...


class JobRunner:
    """The jobs of one process."""

    def __init__(
        self,
        metadata: Metadata,
        jobs: list[Job],
        now: Callable[[], int],
        metrics: JobMetrics,
        *,
        renewal_seconds: float = _SECONDS_BETWEEN_RENEWALS,
    ) -> None:
        self._metadata = metadata
        self._jobs = jobs
        self._now = now
        self._metrics = metrics
        self._renewal_seconds = renewal_seconds
        self._holder = str(uuid.uuid4())

    async def run_for_ever(self) -> None:
        """Until cancelled; then the leases held are given up."""
        try:
            while True:
                for job in self._jobs:
                    await self.run_if_due(job)
                await asyncio.sleep(min(_MOST_SECONDS_BETWEEN_LOOKS, *(job.interval_seconds for job in self._jobs)))
        finally:
            await self._give_up_leases()

    async def _give_up_leases(self) -> None:
        with suppress(Unavailable):  # those that we cannot give up end by themselves
            for job in self._jobs:
                await self._metadata.write(leases.give_up_lease(job.name, self._holder), durable=False)

    async def run_if_due(self, job: Job) -> bool:
        """Run the job unless it ran less than its interval ago, here or elsewhere; False then."""
        try:
            return await self._run_if_due(job)
        except LeaseLost:
            return False
        except Unavailable as error:  # database or store is away: no fault of the job, and tried again soon
            log.warning("background job could not run", job=job.name, reason=str(error))
            return False
        except Exception:
            log.exception("background job failed", job=job.name)
            return False

    async def _run_if_due(self, job: Job) -> bool:
        # A run leaves a lease behind that lasts until the next is due; looking at it costs no write.
        due = f"{job.name}:done"
        if not await self._is_free(due, "", job.interval_seconds):
            return False
        if not await self._is_free(job.name, self._holder, _LEASE_SECONDS):
            return False
        fence = await self._take(job)
        if fence is None:
            return False
        started = time.perf_counter()
        outcome = "failed"
        try:
            await self._run_while_held(job, fence)
            outcome = "done"
        finally:
            self._metrics.observe_job(job.name, outcome, time.perf_counter() - started)
            mark = leases.take_lease(due, self._holder, now=self._now(), seconds=job.interval_seconds)
            await self._metadata.write(mark, durable=False)
        return True

    async def _is_free(self, name: str, holder: str, seconds: int) -> bool:
        return await self._metadata.read(leases.is_lease_free(name, holder, now=self._now(), seconds=seconds))

    async def _run_while_held(self, job: Job, fence: int) -> None:
        work = asyncio.ensure_future(job.run(lambda: self._keep(job, fence)))
        renewals = asyncio.create_task(self._renew(job, fence))
        try:
            await asyncio.wait({work, renewals}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                renewals.result()
            await work
        finally:
            work.cancel()
            renewals.cancel()
            await asyncio.gather(work, renewals, return_exceptions=True)

    async def _renew(self, job: Job, fence: int) -> None:
        """For ever; ends with LeaseLost when the lease is another's, or may be because it could not be renewed."""
        renewed_at = time.monotonic()
        while True:
            await asyncio.sleep(self._renewal_seconds)
            try:
                await self._keep(job, fence)
                renewed_at = time.monotonic()
            except Unavailable as error:
                if time.monotonic() - renewed_at > _LEASE_SECONDS:
                    raise LeaseLost(job.name) from error

    async def _take(self, job: Job) -> int | None:
        take = leases.take_lease(job.name, self._holder, now=self._now(), seconds=_LEASE_SECONDS)
        return await self._metadata.write(take, durable=False)

    async def _keep(self, job: Job, fence: int) -> None:
        if await self._take(job) != fence:
            raise LeaseLost(job.name)
