"""Claims on uploads as leases in the database, for stores that have no locks of their own."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from entrepot.metadata import leases
from entrepot.metadata.base import Metadata

SECONDS = 30


class LeaseClaims:
    """The ``Claims`` of ``store/base.py`` over all processes that share the database.

    ``now`` is this computer's clock, in seconds since 1970; all that share the database should agree about it.
    """

    seconds = float(SECONDS)

    def __init__(self, metadata: Metadata, now: Callable[[], int]) -> None:
        self._metadata = metadata
        self._now = now

    async def take(self, name: str) -> str | None:
        token = uuid.uuid4().hex
        take = leases.take_lease(name, token, now=self._now(), seconds=SECONDS)
        return None if await self._metadata.write(take, durable=False) is None else token

    async def renew(self, name: str, token: str) -> bool:
        renew = leases.renew_lease(name, token, now=self._now(), seconds=SECONDS)
        return await self._metadata.write(renew, durable=False)

    async def drop(self, name: str, token: str) -> None:
        await self._metadata.write(leases.drop_lease(name, token), durable=False)
