"""``entrepot serve``: run the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from entrepot import assembly
from entrepot.cli.options import where_options
from entrepot.config import load


@click.command(short_help="Run the registry.")
@where_options
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; 127.0.0.1:5000 by default.")
@click.option("--workers", metavar="N", type=int, help="Worker processes; one for each CPU, at most 4, by default.")
@click.option("--tls-certificate", metavar="FILE", help="PEM file with the certificate chain; turns TLS on.")
@click.option("--tls-key", metavar="FILE", help="PEM file with the certificate's private key.")
@click.option("--behind-proxy", is_flag=True, default=None, help="A proxy in front checks who may do what.")
@click.option("--allow-anonymous-push", is_flag=True, default=None, help="Everybody may pull, push and delete.")
@click.option("--read-only", is_flag=True, default=None, help="Refuse every write.")
@click.option("--access-log", type=click.Choice(["off", "text", "json"]), help="Log of requests; text by default.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="info by default.")
def serve(config_file: Path | None, access_log: str | None, **flags: Any) -> None:
    """Run the registry until it is stopped with Ctrl-C or SIGTERM.

    Without flags it listens on this computer only, on port 5000, and is open to everybody on it. It says
    where it stores things and how to push. entrepot config show lists all settings.

    \b
    Example:
      entrepot serve
      entrepot serve --root /srv/registry --listen 127.0.0.1:5001 --workers 2
    """
    assembly.serve(load(config_file, overrides(access_log=access_log, **flags)))


def overrides(*, access_log: str | None, log_level: str | None = None, **flags: Any) -> dict[str, Any]:
    """The flags by dotted key; those that were not given are None."""
    where = {name: flags.pop(name, None) for name in ("root", "database", "store")}
    server = {f"server.{name}": value for name, value in flags.items()}
    access = None if access_log is None else access_log != "off"
    log_format = access_log if access else None
    return where | server | {"log.level": log_level, "log.access": access, "log.format": log_format}
