"""When to try again, and when not to."""

from __future__ import annotations

import pytest

from entrepot.errors import Unavailable
from entrepot.progress import Event, Kind, State
from entrepot.transport.base import ConnectionFailed, TlsFailed
from entrepot.transport.retry import RetryPolicy, may_repeat

ERROR = ConnectionFailed("connection reset by peer")


class Waits:
    """Writes waits down instead of waiting."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def test_wait_after_failures_doubles_up_to_the_longest() -> None:
    waits = Waits()
    tries = RetryPolicy(attempts=6, first_seconds=1, longest_seconds=5, sleep=waits).begin()
    for _ in range(5):
        await tries.wait_after(ERROR)
    for waited, full in zip(waits.seconds, [1, 2, 4, 5, 5], strict=True):
        assert full * 0.8 <= waited <= full


async def test_wait_after_last_failure_raises_it() -> None:
    waits = Waits()
    tries = RetryPolicy(attempts=2, sleep=waits).begin()
    await tries.wait_after(Unavailable("first"))
    with pytest.raises(ConnectionFailed) as caught:
        await tries.wait_after(ERROR)
    assert caught.value is ERROR
    assert len(waits.seconds) == 1


async def test_wait_after_progress_counts_from_the_beginning() -> None:
    tries = RetryPolicy(attempts=2, sleep=Waits()).begin()
    for _ in range(5):
        await tries.wait_after(ERROR)
        tries.progressed()


@pytest.mark.parametrize(("wish", "waited"), [(0, 0), (7, 7), (119.5, 119.5), (100_000, 120), (-3, 0)])
async def test_wait_after_wish_of_the_server_follows_it_up_to_a_limit(wish: float, waited: float) -> None:
    waits = Waits()
    await RetryPolicy(longest_wish_seconds=120, sleep=waits).begin().wait_after(ERROR, wish=wish)
    assert waits.seconds == [waited]


async def test_wait_after_certificate_that_is_not_trusted_raises_at_once() -> None:
    waits = Waits()
    with pytest.raises(TlsFailed):
        await RetryPolicy(sleep=waits).begin().wait_after(TlsFailed("x509: no"))
    assert waits.seconds == []


async def test_wait_is_told_before_it_begins() -> None:
    events: list[Event] = []
    waits = Waits()
    tries = RetryPolicy(sleep=waits, listener=events.append).begin(kind=Kind.LAYER, digest="sha256:ab")
    await tries.wait_after(ERROR, wish=3)
    assert events == [Event(State.RETRYING, Kind.LAYER, "sha256:ab", note=ERROR.message, seconds=3)]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_may_repeat_is_true_of_what_has_no_second_effect(method: str) -> None:
    assert may_repeat(method, ERROR)


def test_may_repeat_patch_only_if_nothing_was_sent() -> None:
    assert not may_repeat("PATCH", ERROR)
    assert may_repeat("PATCH", ConnectionFailed("refused", sent_nothing=True))
