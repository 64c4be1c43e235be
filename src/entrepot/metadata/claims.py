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
        self._taken_over: set[str] = set()  # the tokens of leases that somebody had before and did not drop

    async def take(self, name: str) -> str | None:
        token = uuid.uuid4().hex
        take = leases.take_lease(name, token, now=self._now(), seconds=SECONDS)
        fence = await self._metadata.write(take, durable=False)
        if fence is None:
            return None
        if fence > 1:
            self._taken_over.add(token)
        return token

    async def is_held(self, name: str) -> bool:
        is_free = leases.is_lease_free(name, "", now=self._now(), seconds=SECONDS)
        return not await self._metadata.read(is_free)

    async def renew(self, name: str, token: str) -> bool:
        renew = leases.renew_lease(name, token, now=self._now(), seconds=SECONDS)
        return await self._metadata.write(renew, durable=False)

    async def drop(self, name: str, token: str, *, is_clean: bool = True) -> None:
        if is_clean and token not in self._taken_over:
            await self._metadata.write(leases.drop_lease(name, token), durable=False)
            return
        self._taken_over.discard(token)
        # a lease that has ended is the trace that ``jobs/expire_uploads.py`` follows
        await self._metadata.write(leases.renew_lease(name, token, now=self._now(), seconds=0), durable=False)
