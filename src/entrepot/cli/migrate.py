"""``entrepot admin migrate``: from one machine's database and folder to PostgreSQL and S3."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from entrepot import moving
from entrepot.backends import database_name, store_name
from entrepot.cli.human import human_duration, human_size
from entrepot.cli.options import where_options
from entrepot.cli.output import print_json
from entrepot.cli.stopping import stops
from entrepot.config import Settings, load, without_password
from entrepot.errors import ConfigInvalid
from entrepot.jobs.move_report import Moved, Progress, Step

_SECONDS_BETWEEN_LINES = 2.0
_KEPT = "what has been copied is kept, and pushes are taken again; the same command goes on from there"
_STAY = (
    "--blobs-to needs --to: which bytes are where is told by the database, and the one in use keeps telling it until "
    "the server is restarted. To stay with SQLite name a new file, e.g. --to sqlite:///moved.db"
)


@click.command(short_help="Move a registry to PostgreSQL and S3 while it is used.")
@click.option("--to", metavar="URL", help="The new database: postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE.")
@click.option(
    "--blobs-to",
    metavar="URL",
    help="The new place of the content: s3://BUCKET/PREFIX or file:///FOLDER; without, it stays where it is.",
)
@click.option("--undo", is_flag=True, help="Let the registry that was moved take pushes again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@where_options
@click.pass_context
def migrate(
    context: click.Context,
    /,
    to: str | None,
    blobs_to: str | None,
    undo: bool,
    as_json: bool,
    config_file: Path | None,
    **where: Any,
) -> None:
    """Move a registry from SQLite to PostgreSQL, and with --blobs-to its content, e.g. to S3, while it is used.

    Content is copied first, and verified on its way. Pushes and pulls go on meanwhile, and what is pushed is copied
    too. Then pushes are refused for a short time (503, Retry-After), while the rest and all names are copied and
    compared; pulls go on.

    At the end it says what to write into entrepot.toml: the server has to be restarted with that. Until then it
    refuses pushes, because they would be lost. The old database and folder stay as they are, as a backup; --undo lets
    them be used again, without what was pushed to the new place.

    The new place has to be empty. Interrupted, even by kill -9, the same command goes on where it was. Uploads that
    are under way stay behind; clients begin them anew. The exit code is 1 when something is damaged: it is
    listed, and the rest is moved.

    \b
    Example:
      entrepot admin migrate --to postgresql://entrepot:secret@db.example.com/entrepot
      entrepot admin migrate --to postgresql://entrepot@db/entrepot --blobs-to s3://registry --root /srv/reg
      entrepot admin migrate --undo --root /srv/registry
    """
    _require_usable(to, blobs_to, undo=undo)
    source = load(config_file, where)
    if undo:
        _undo(source, as_json=as_json)
        return
    target = _load_target(config_file, {**where, "database": to, "store": blobs_to or where.get("store")})
    with stops(_KEPT):
        moved = moving.move_registry(source, target, Lines())
    if as_json:
        print_json(_as_data(moved, target))
    else:
        click.echo("\n".join(_lines(moved, source, target)))
    context.exit(0 if moved.is_clean else 1)


def _require_usable(to: str | None, blobs_to: str | None, *, undo: bool) -> None:
    if undo and (to or blobs_to):
        raise click.UsageError("--undo goes without --to and --blobs-to")
    if not undo and not to:
        raise click.UsageError(_STAY if blobs_to else "where to? --to names the new database")


def _load_target(config_file: Path | None, where: dict[str, Any]) -> Settings:
    try:
        return load(config_file, where)
    except ConfigInvalid as error:
        message = error.message.replace("flag --database)", "flag --to)").replace("flag --store)", "flag --blobs-to)")
        raise ConfigInvalid(message, **error.detail) from error


def _undo(settings: Settings, *, as_json: bool) -> None:
    place = moving.undo_move(settings)
    if as_json:
        print_json({"moved_to": place})
    elif place is None:
        click.echo("this registry was not moved; it takes pushes")
    else:
        click.echo(f"this registry takes pushes again; it does not have what was pushed to {place} since")


class Lines:
    """Progress on stderr: a line when something new begins, and one now and then."""

    def __init__(self) -> None:
        self._last: tuple[Step, str] | None = None
        self._next_at = 0.0

    def __call__(self, progress: Progress) -> None:
        """Say how far it is, if that is news."""
        now = time.monotonic()
        is_end = progress.total > 0 and progress.done >= progress.total
        if (progress.step, progress.table) == self._last and now < self._next_at and not is_end:
            return
        self._last, self._next_at = (progress.step, progress.table), now + _SECONDS_BETWEEN_LINES
        click.echo(_told(progress), err=True)


def _told(progress: Progress) -> str:
    if progress.step is Step.HOLDING:
        return "pushes are held off from now on"
    if progress.step is Step.BYTES:
        size = f"{human_size(progress.size)} of {human_size(progress.total_size)}"
        return f"content: {progress.done} of {progress.total} blobs ({size})"
    verb = "comparing" if progress.step is Step.COMPARING else "names"
    return f"{verb}: {progress.done} of {progress.total} {progress.table}"


def _lines(moved: Moved, source: Settings, target: Settings) -> Iterator[str]:
    for finding in moved.damaged:
        yield f"damaged: {finding.digest} ({finding.location}): {finding.message}"
    yield _sum(moved, target)
    if moved.was_done:
        yield "an earlier run has done that"
    else:
        yield f"pushes were held off for {human_duration(moved.seconds_held).lower()}"
    if moved.uploads:
        yield f"{moved.uploads} uploads were under way and stay behind; their clients begin anew"
    if moved.damaged:
        yield "what is damaged was so before; push it again to heal it"
    yield ""
    secret = ", with the user for *** (the password too, or as PGPASSWORD)," if target.postgresql_url else ""
    yield f"Write this into {source.root / 'entrepot.toml'}{secret} and restart the server:"
    yield ""
    for key, value in _settings(target).items():
        yield f'  {key} = "{value}"'
    yield ""
    yield "Until then it serves pulls and refuses pushes. The old place stays as it is; to go back to it, take that out"
    yield "of entrepot.toml again, and:"
    yield ""
    yield f"  entrepot admin migrate --undo --root {shlex.quote(str(source.root))}"


def _sum(moved: Moved, target: Settings) -> str:
    rows = moved.rows
    blobs = f"{rows['blobs']} blobs ({human_size(moved.blob_bytes)})"
    counts = f"{rows['repositories']} repositories, {rows['manifests']} manifests, {rows['tags']} tags and {blobs}"
    return f"moved {counts} to {database_name(target)} and {store_name(target)}"


def _settings(target: Settings) -> dict[str, str]:
    """What the settings have to say from now on."""
    named = {"database": without_password(target.database), "store": target.store}
    return {key: value for key, value in named.items() if value}


def _as_data(moved: Moved, target: Settings) -> dict[str, Any]:
    return {
        "rows": moved.rows,
        "bytes": moved.blob_bytes,
        "uploads_left": moved.uploads,
        "damaged": [
            {"digest": finding.digest, "location": finding.location, "message": finding.message}
            for finding in moved.damaged
        ],
        "seconds_held": round(moved.seconds_held, 3),
        "was_done": moved.was_done,
        "clean": moved.is_clean,
        "settings": _settings(target),
    }
