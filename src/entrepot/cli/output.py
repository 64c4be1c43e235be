"""How commands talk: results to stdout, errors and hints to stderr."""

from __future__ import annotations

import json
from typing import Any

import click

from entrepot.cli.tables import plain_cell
from entrepot.errors import RegistryError


def print_error(message: str, *, hint: str | None = None) -> None:
    """``Error: message`` on stderr, and the hint on a line of its own.

    Control characters, which a registry may have put there, do not reach the terminal.
    """
    click.echo(f"Error: {_plain(message)}", err=True)
    if hint:
        click.echo(f"Hint: {_plain(hint)}", err=True)


def print_warning(message: str) -> None:
    """``Warning: message`` on stderr."""
    click.echo(f"Warning: {_plain(message)}", err=True)


def print_registry_error(error: RegistryError, *, hint: str | None = None) -> None:
    """The error, with the hint it carries in its detail, else with ``hint``, if any."""
    carried = error.detail.get("hint")
    print_error(error.message, hint=carried if isinstance(carried, str) else hint)


def print_json(value: Any) -> None:
    """``value`` as indented JSON on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _plain(text: str) -> str:
    return "\n".join(plain_cell(line) for line in text.split("\n"))
