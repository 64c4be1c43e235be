"""Claims of one process, and the keeping of a claim while its holder works."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from entrepot.errors import Unavailable, UploadBusy
from entrepot.store.base import Claims

T = TypeVar("T")

_RENEWALS = 3  # in the time that a claim lasts
_FIRST_WAIT_SECONDS = 0.02
_LONGEST_WAIT_SECONDS = 0.5


class ProcessClaims:
    """Claims that no other process knows of: for a single process, and for tests."""

    seconds = 3600.0

    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}

    async def take(self, name: str) -> str | None:
        token = uuid.uuid4().hex
        return token if self._tokens.setdefault(name, token) == token else None

    async def is_held(self, name: str) -> bool:
        return name in self._tokens

    async def renew(self, name: str, token: str) -> bool:
        return self._tokens.get(name) == token

    async def drop(self, name: str, token: str, *, is_clean: bool = True) -> None:  # noqa: ARG002 (who would ask?)
        if self._tokens.get(name) == token:
            del self._tokens[name]


class HeldClaim:
    """A claim that is renewed in the background until it is dropped."""

    def __init__(self, claims: Claims, name: str, token: str) -> None:
        self._claims = claims
        self._name = name
        self._token = token
        self._is_lost = False
        self._renewed_at = asyncio.get_running_loop().time()
        self._renewing = asyncio.create_task(self._renew_for_ever())

    @classmethod
    async def take(cls, claims: Claims, name: str, *, wait_seconds: float) -> HeldClaim | None:
        """None when another has held it all the time."""
        token = await _until(lambda: claims.take(name), wait_seconds)
        return None if token is None else cls(claims, name, token)

    async def _renew_for_ever(self) -> None:
        while not self._is_lost:
            await asyncio.sleep(self._claims.seconds / _RENEWALS)
            with suppress(Unavailable):  # nobody else can take it then either
                await self._renew()

    async def _renew(self) -> None:
        started = asyncio.get_running_loop().time()
        if self._has_ended:  # another may have had it and be done already
            self._is_lost = True
            return
        self._is_lost = not await self._claims.renew(self._name, self._token)
        self._renewed_at = started

    @property
    def _has_ended(self) -> bool:
        return asyncio.get_running_loop().time() - self._renewed_at > self._claims.seconds

    @property
    def is_lost(self) -> bool:
        """Whether it may have gone to another writer."""
        self._is_lost = self._is_lost or self._has_ended
        return self._is_lost

    def require(self) -> None:
        """Raises UploadBusy when it is lost."""
        if self.is_lost:
            raise UploadBusy(f"{self._name} is being written by another request now", offset=0, claim=self._name)

    async def drop(self, *, is_clean: bool = True) -> None:
        """Let go, see ``Claims.drop``. What nobody can be told now ends by itself, and leaves its trace."""
        self._renewing.cancel()
        await asyncio.wait({self._renewing})
        if not self._is_lost:
            with suppress(Unavailable):
                await self._claims.drop(self._name, self._token, is_clean=is_clean)


async def wait_until_free(claims: Claims, name: str, *, wait_seconds: float) -> bool:
    """Whether somebody has held the name; then so long at most is waited for him to let go."""
    if not await claims.is_held(name):
        return False

    async def is_free() -> bool:
        return not await claims.is_held(name)

    await _until(is_free, wait_seconds)
    return True


async def _until(attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Its first outcome that is true, or when the time is over its last one."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pause = _FIRST_WAIT_SECONDS
    while not (outcome := await attempt()) and loop.time() < deadline:
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_WAIT_SECONDS)
    return outcome
