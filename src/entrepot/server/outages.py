"""Tells in the log when the database is lost and when it is back: what waits and succeeds leaves no other trace."""

from __future__ import annotations

import asyncio

import structlog

from entrepot.metadata.base import Metadata

log = structlog.get_logger()

_SECONDS_BETWEEN_LOOKS = 0.5


async def tell_outages(metadata: Metadata) -> None:
    """Until it is cancelled."""
    loop = asyncio.get_running_loop()
    since: float | None = None
    while True:
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        if metadata.is_out_of_reach and since is None:
            since = loop.time()
            log.warning("the database is out of reach; requests wait for it")
        elif since is not None and not metadata.is_out_of_reach:
            log.warning("the database is back", seconds=round(loop.time() - since, 1))
            since = None
