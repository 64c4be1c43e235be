"""Metadata whose database goes away when a test says so."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TypeVar

from entrepot.errors import Unavailable
from entrepot.metadata.base import Metadata, Operation

T = TypeVar("T")


class Outage(Enum):
    """What becomes of a request to the database."""

    NONE = "it is answered"
    UNNOTICED = "it fails, and nobody has noticed yet that it will"
    KNOWN = "it fails, as it is known to"
    SILENT = "nothing comes back"


class InterruptedMetadata:
    """Real metadata, reached as ``outage`` allows; ``asked`` counts what got as far as trying."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self.outage = Outage.NONE
        self.asked = 0

    @property
    def is_out_of_reach(self) -> bool:
        return self.outage is Outage.KNOWN

    async def read(self, operation: Operation[T]) -> T:
        await self._reach()
        return await self._metadata.read(operation)

    async def read_much(self, operation: Operation[T]) -> T:
        await self._reach()
        return await self._metadata.read_much(operation)

    async def write(self, operation: Operation[T], *, durable: bool = True) -> T:
        await self._reach()
        return await self._metadata.write(operation, durable=durable)

    async def check(self) -> None:
        await self._reach()
        await self._metadata.check()

    async def close(self) -> None:
        await self._metadata.close()

    async def _reach(self) -> None:
        self.asked += 1
        if self.outage is Outage.SILENT:
            await asyncio.Event().wait()
        if self.outage is not Outage.NONE:
            raise Unavailable("the database cannot be reached")
