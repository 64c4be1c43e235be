"""Ctrl-C and SIGTERM end a command in the same orderly way: what is open is closed, what has arrived is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from entrepot.cli.failures import INTERRUPTED, TERMINATED, Stopped


@contextmanager
def stops(kept: str) -> Iterator[None]:
    """Turn both into Stopped; ``kept`` is said then. SIGTERM goes the way of Ctrl-C, which asyncio knows."""
    terminated = False

    def terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal terminated
        terminated = True
        interrupt = signal.getsignal(signal.SIGINT)
        if not callable(interrupt):  # ignored, as it is for jobs in the background of a script
            raise KeyboardInterrupt
        interrupt(signal.SIGINT, frame)

    with _handling(terminate):
        try:
            yield
        except KeyboardInterrupt:
            raise Stopped(TERMINATED if terminated else INTERRUPTED, kept) from None
        except click.Abort:  # click's prompts make one of Ctrl-C and of an end of input
            raise Stopped(INTERRUPTED, kept) from None


@contextmanager
def _handling(handler: object) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)  # type: ignore[arg-type]
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
