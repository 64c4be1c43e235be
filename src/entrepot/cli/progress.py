"""``--progress``: what is shown of a transfer while it runs.

``progress_for`` gives the listener that the copy tells its events::

    with progress_for(mode, "pull") as progress:
        await client.pull(..., listener=progress)

Layers are shown by the first 12 digits of their blob's digest, for pushes as well.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TextIO

import click

from entrepot.cli.progress_plain import JsonDisplay, PlainDisplay
from entrepot.cli.progress_tty import TerminalDisplay
from entrepot.cli.progress_words import Verb
from entrepot.cli.tables import plain_cell
from entrepot.progress import Event

Mode = Literal["auto", "tty", "plain", "json", "none"]
MODES: tuple[Mode, ...] = ("auto", "tty", "plain", "json", "none")

_DEFAULT_SIZE = os.terminal_size((80, 24))

progress_option: Callable[[Any], Any] = click.option(
    "--progress",
    type=click.Choice(MODES),
    default="auto",
    help="What is shown meanwhile: tty draws bars, plain prints lines, json prints objects to stderr, "
    "none nothing; auto is tty on a terminal, else plain.",
)


class Display(Protocol):
    """Shows events. ``tick`` is called every ``tick_seconds``, if that is not None; no two calls overlap."""

    tick_seconds: float | None

    def show(self, event: Event) -> None: ...
    def message(self, line: str) -> None: ...
    def say(self, line: str) -> None: ...
    def tick(self) -> None: ...
    def close(self) -> None: ...


class Progress:
    """A listener for the events of one transfer; a context manager, which leaves a finished picture behind."""

    def __init__(self, display: Display | None) -> None:
        self._display = display
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Show an event. Raises OSError when the output can no longer be written."""
        if self._display is not None:
            with self._lock:
                self._display.show(event)

    def message(self, line: str) -> None:
        """Print a notice without spoiling the picture: to stderr, or on a terminal above the layers."""
        if self._display is None:
            click.echo(line, err=True)
            return
        with self._lock:
            self._display.message(line)

    def warn(self, message: str) -> None:
        """Print a warning, as ``print_warning`` does where there is no picture."""
        self.message(f"Warning: {plain_cell(message)}")

    def say(self, line: str) -> None:
        """Print a line of the result to stdout, below the layers so far; those that follow begin anew below it."""
        if self._display is None:
            click.echo(line)
            return
        with self._lock:
            self._display.say(line)

    def __enter__(self) -> Self:
        if self._display is not None and self._display.tick_seconds is not None:
            self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
        if self._display is not None:
            with self._lock:
                self._display.close()

    def _tick(self) -> None:
        assert self._display is not None
        while not self._is_over.wait(self._display.tick_seconds):
            try:
                with self._lock:
                    self._display.tick()
            except (OSError, ValueError):  # nobody reads any more; the next event says so where it is handled
                return


def progress_for(
    mode: Mode,
    verb: Verb,
    *,
    stream: TextIO | None = None,
    notices: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """The display for ``--progress=mode``. States go to ``stream`` (stdout), notices and JSON to stderr."""
    stream, notices = stream or sys.stdout, notices or sys.stderr
    if mode == "none":
        return Progress(None)
    if mode == "json":
        return Progress(JsonDisplay(stream, notices, clock))
    if mode == "tty" or (mode == "auto" and _is_terminal(stream)):
        return Progress(TerminalDisplay(verb, stream, clock, lambda: _size_of(stream)))
    return Progress(PlainDisplay(verb, stream, notices, clock))


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _size_of(stream: TextIO) -> os.terminal_size:
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return _DEFAULT_SIZE
    return size if size.columns > 0 and size.lines > 0 else _DEFAULT_SIZE
