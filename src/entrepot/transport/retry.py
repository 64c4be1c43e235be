"""When a request is worth another try, and how long to wait before it. One policy for everything that is sent."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from entrepot.errors import RegistryError
from entrepot.progress import Event, Kind, Listener, State, ignore
from entrepot.transport.base import ConnectionFailed, TlsFailed

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
GOOD_PROGRESS = 1024 * 1024  # bytes after which a transfer that breaks off counts as a first failure again

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``attempts`` in all; waits double from ``first_seconds`` to ``longest_seconds``, a fifth of it by chance.

    A server's own wish (Retry-After) counts instead, up to ``longest_wish_seconds``.
    """

    attempts: int = 6
    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    longest_wish_seconds: float = 120.0
    sleep: Sleep = asyncio.sleep
    listener: Listener = ignore

    def begin(self, *, kind: Kind = Kind.REQUEST, digest: str = "") -> Tries:
        """The tries of one request or transfer; waits are told as events of this kind."""
        return Tries(self, kind, digest)


class Tries:
    """Counts the failures of one request or transfer."""

    def __init__(self, policy: RetryPolicy, kind: Kind, digest: str) -> None:
        self._policy = policy
        self._kind = kind
        self._digest = digest
        self._failures = 0

    def progressed(self) -> None:
        """It got somewhere: earlier failures are forgotten."""
        self._failures = 0

    async def wait_after(self, error: RegistryError, *, wish: float | None = None) -> None:
        """Wait before the next try; raises ``error`` when it was the last one, or is not worth another."""
        self._failures += 1
        if self._failures >= self._policy.attempts or isinstance(error, TlsFailed):
            raise error
        seconds = self._seconds(wish)
        self._policy.listener(
            Event(State.RETRYING, self._kind, self._digest, note=error.message, seconds=round(seconds, 1))
        )
        await self._policy.sleep(seconds)

    def _seconds(self, wish: float | None) -> float:
        if wish is not None:
            return min(max(0.0, wish), self._policy.longest_wish_seconds)
        doubled: float = min(self._policy.longest_seconds, self._policy.first_seconds * 2 ** (self._failures - 1))
        return doubled * random.uniform(0.8, 1.0)  # noqa: S311  (so that clients do not come back all at once)


def may_repeat(method: str, error: ConnectionFailed) -> bool:
    """Whether a request whose connection broke may be sent again without a second effect.

    Repeating a POST of ours only begins an upload that nobody finishes, which registries clean up.
    """
    return error.sent_nothing or method != "PATCH"
