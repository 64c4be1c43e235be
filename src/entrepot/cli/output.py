"""How commands talk: results to stdout, errors and hints to stderr."""

from __future__ import annotations

import json
from typing import Any

import click

from entrepot.errors import RegistryError


def print_error(message: str, *, hint: str | None = None) -> None:
    """``Error: message`` on stderr, and the hint on a line of its own."""
    click.echo(f"Error: {message}", err=True)
    if hint:
        click.echo(f"Hint: {hint}", err=True)


def print_registry_error(error: RegistryError) -> None:
    """The error, with the hint it carries in its detail, if any."""
    print_error(error.message, hint=error.detail.get("hint"))


def print_json(value: Any) -> None:
    """``value`` as indented JSON on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
