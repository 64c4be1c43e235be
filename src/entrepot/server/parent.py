"""Ends a worker whose main process has died, so that nothing is left that holds the port."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

_SECONDS_BETWEEN_LOOKS = 1.0


async def stop_with_parent(*, grace_seconds: float) -> None:
    """Watch until cancelled. A worker without parent stops as if told to, and after ``grace_seconds`` at once."""
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110  (the kernel tells nobody)
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
    last_resort = threading.Timer(grace_seconds, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()
    os.kill(os.getpid(), signal.SIGTERM)
