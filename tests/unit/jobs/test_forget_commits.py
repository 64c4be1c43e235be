"""What connections to PostgreSQL have noted of their commits is removed when it is old."""

from __future__ import annotations

from entrepot.jobs.forget_commits import ForgetCommits
from entrepot.metadata import leases
from entrepot.metadata.base import Steps, operation
from entrepot.repositories.local import LocalRegistry

from .conftest import Clock


async def kept() -> None:
    """The lease is never lost here."""


@operation
def names() -> Steps[list[str]]:
    return [name for (name,) in (yield "SELECT name FROM leases ORDER BY name", {})]


async def test_old_notes_of_commits_are_removed_and_nothing_else(registry: LocalRegistry, clock: Clock) -> None:
    old = [f"{leases.COMMIT}{number:08x}" for number in range(0, 2**32, 2**24)]
    for name in [*old, "count", "upload:00000000"]:
        await registry.metadata.write(leases.take_lease(name, "1", now=clock(), seconds=leases.COMMIT_SECONDS))
    clock.seconds += leases.COMMIT_SECONDS
    young = f"{leases.COMMIT}12345678"
    await registry.metadata.write(leases.take_lease(young, "1", now=clock(), seconds=leases.COMMIT_SECONDS))
    clock.seconds += 1
    await ForgetCommits(registry.metadata, clock).run(kept)
    assert await registry.metadata.read(names()) == [young, "count", "upload:00000000"]
