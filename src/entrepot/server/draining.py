"""Leaving a load balancer gently: for a while the server says at ``/readyz`` that it stops, and serves on."""

from __future__ import annotations

import signal
from contextlib import suppress
from ctypes import c_bool
from multiprocessing.sharedctypes import RawValue
from typing import Any

from granian.server.mp import MPServer


class Draining:
    """Whether the server is about to leave. The main process says so, and every worker sees it, one that is started
    later too: they share the byte it is written in. Survives pickling on the way into a worker."""

    def __init__(self, seconds: float) -> None:
        """``seconds``: how long to serve on; 0 means not at all."""
        self.seconds = seconds
        self._begun = RawValue(c_bool, False)

    def has_begun(self) -> bool:
        begun: bool = self._begun.value
        return begun

    def begin(self) -> None:
        self._begun.value = True


class DrainingServer(MPServer):
    """Granian's server, which drains on the first SIGTERM. Any other stop signal, or a second one, stops it at once."""

    def __init__(self, draining: Draining, **settings: Any) -> None:
        """``settings`` are Granian's."""
        super().__init__("entrepot", **settings)
        self._draining = draining

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:
        """Called with the signal's number: a stop signal, or the end of draining. Runs in the main thread."""
        if args[0] == signal.SIGTERM and self._draining.seconds and not self._draining.has_begun():
            self._drain()
        else:
            signal.setitimer(signal.ITIMER_REAL, 0)
            super().signal_handler_interrupt(*args, **kwargs)  # type: ignore[no-untyped-call]

    def shutdown(self, exit_code: int = 0) -> None:
        """Ends with 0 when it was told to stop, though a worker were quicker: Ctrl-C tells them all at once."""
        if self.interrupt_signal:
            self.interrupt_children.clear()
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]

    def _drain(self) -> None:
        self._draining.begin()
        signal.signal(signal.SIGALRM, self.signal_handler_interrupt)
        signal.setitimer(signal.ITIMER_REAL, self._draining.seconds)
        with suppress(OSError):  # nobody reads what is printed any more
            print(_farewell(self._draining.seconds), flush=True)  # noqa: T201


def _farewell(seconds: float) -> str:
    return f"entrepot stops: it serves on for {seconds:g} s while /readyz says 503; a second signal stops it at once"
