"""From exceptions to messages and exit codes. They are listed in docs/cli.md."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator

import click

from entrepot.cli.output import print_error, print_registry_error
from entrepot.errors import NotFound, RegistryError, RegistryErrors

DONE = 0
FAILED = 1
NOT_FOUND = 2
WRONG_USAGE = 125
INTERRUPTED = 130  # 128 and the number of SIGINT
TERMINATED = 143

DEBUG_VARIABLE = "ENTREPOT_DEBUG"

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_MOST_SHOWN = 20

_HINTS = {  # by what has gone wrong with TLS
    "alert": "--cert-file and --key-file show a certificate of your own",
    "certificate": "--ca-file FILE trusts another authority, --insecure takes any certificate",
    "plain_http": "--plain-http speaks HTTP without TLS",
}


class Stopped(Exception):
    """Ctrl-C or SIGTERM ended the command. ``kept`` says what is not lost."""

    def __init__(self, exit_code: int, kept: str) -> None:
        super().__init__(kept)
        self.exit_code = exit_code
        self.kept = kept


def report_stop(stopped: Stopped) -> int:
    """Say in a line that the command was ended, and what was kept."""
    word = "Terminated" if stopped.exit_code == TERMINATED else "Interrupted"
    click.echo(f"{word}: {stopped.kept}" if stopped.kept else word, err=True)
    return stopped.exit_code


def report(error: Exception) -> int:
    """Print what went wrong, without a traceback unless ENTREPOT_DEBUG asks for it, and return the exit code.

    2 if what was asked for does not exist, else 1.
    """
    if os.environ.get(DEBUG_VARIABLE):
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    causes = list(_leaves(error))
    for cause in causes[:_MOST_SHOWN]:
        _print(cause)
    if len(causes) > _MOST_SHOWN:
        click.echo(f"... and {len(causes) - _MOST_SHOWN} more errors", err=True)
    return NOT_FOUND if all(isinstance(cause, NotFound) for cause in causes) else FAILED


def _leaves(error: BaseException) -> Iterator[BaseException]:
    inner: tuple[BaseException, ...] = ()
    if isinstance(error, RegistryErrors):
        inner = tuple(error.errors)
    elif isinstance(error, BaseExceptionGroup):
        inner = error.exceptions
    if not inner:
        yield error
    for each in inner:
        yield from _leaves(each)


def _print(error: BaseException) -> None:
    if isinstance(error, RegistryError):
        cause = error.detail.get("cause")
        print_registry_error(error, hint=_HINTS.get(cause) if isinstance(cause, str) else None)
    elif isinstance(error, OSError):
        print_error(_of_system(error), hint=_hint_for(error))
    else:
        hint = None if os.environ.get(DEBUG_VARIABLE) else f"run it again with {DEBUG_VARIABLE}=1 to see where"
        print_error(f"this should not happen: {type(error).__name__}: {error}", hint=hint)


def _of_system(error: OSError) -> str:
    if error.strerror is None:
        return str(error) or type(error).__name__
    return f"{error.strerror}: {error.filename}" if error.filename is not None else error.strerror


def _hint_for(error: OSError) -> str | None:
    return "make room and run it again; what is there is kept" if error.errno in _FULL else None
