"""``entrepot config``: check, show and describe the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from entrepot.cli.options import where_options
from entrepot.cli.output import print_json
from entrepot.cli.settings_text import as_markdown, as_toml
from entrepot.config import Settings, check_exposure, load, read


@click.group(short_help="Check, show and describe the settings.")
def config() -> None:
    """Check, show and describe the settings.

    \b
    Example:
      entrepot config check --config entrepot.toml
      entrepot config show
    """


@config.command(short_help="Print ok, or everything that is wrong.")
@where_options
def check(config_file: Path | None, **where: Any) -> None:
    """Print "ok", or everything that is wrong with the settings; the exit code is then 1.

    \b
    Example:
      entrepot config check --config /etc/entrepot.toml
    """
    check_exposure(load(config_file, where))
    click.echo("ok")


@config.command(short_help="Print the settings in force and where each comes from.")
@where_options
def show(config_file: Path | None, **where: Any) -> None:
    """Print the settings in force as TOML, with the origin of each as a comment.

    \b
    Example:
      entrepot config show
      entrepot config show > entrepot.toml
    """
    click.echo(as_toml(read(config_file, where)))


@config.command(short_help="Print the JSON schema of the settings file.")
def schema() -> None:
    """Print the JSON schema of the settings file, for editors that complete and check TOML.

    \b
    Example:
      entrepot config schema > entrepot.schema.json
    """
    print_json(Settings.model_json_schema())


@config.command(short_help="Print the list of all settings as Markdown.")
def reference() -> None:
    """Print the page that describes every setting, as Markdown.

    \b
    Example:
      entrepot config reference > docs/configuration.md
    """
    click.echo(as_markdown(), nl=False)
