"""Removes what connections to PostgreSQL have noted of their commits, long after anybody can want to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from entrepot.jobs.runner import Keep
from entrepot.metadata import leases
from entrepot.metadata.base import Metadata

_AT_ONCE = 100
_LAST = f"{leases.COMMIT}g"  # behind all hexadecimal digits, in the order of every language


@dataclass(frozen=True, slots=True)
class ForgetCommits:
    """The job. A connection that is still in use makes its note anew."""

    metadata: Metadata
    now: Callable[[], int]

    async def run(self, keep: Keep) -> None:
        last = leases.COMMIT
        while True:
            ended = leases.ended_leases(last, _LAST, before=self.now(), limit=_AT_ONCE)
            names = await self.metadata.read(ended)
            for last in names:
                await keep()
                await self.metadata.write(leases.forget_lease(last, now=self.now()), durable=False)
            if len(names) < _AT_ONCE:
                return
