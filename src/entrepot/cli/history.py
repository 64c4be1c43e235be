"""``entrepot history``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from entrepot.cli.completion import complete_image
from entrepot.cli.formats import format_rows
from entrepot.cli.human import NOT_KNOWN, created_since, human_size, parse_rfc3339
from entrepot.cli.local import on_store, root_option, short_id
from entrepot.cli.tables import format_table
from entrepot.image_store.documents import HistoryRow

HEADERS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
MISSING = "<missing>"

_BOOLEANS = {"--human=false": "--no-human", "--human=true": "--human", "-H=false": "--no-human", "-H=true": "--human"}
_WIDTH = 45
_FIRST_YEAR = 2000  # earlier times are placeholders of reproducible builds


class HistoryCommand(click.Command):
    """Takes ``--human=false`` as docker does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_BOOLEANS.get(arg, arg) for arg in args])


@click.command(cls=HistoryCommand, short_help="Show how an image was made.")
@click.argument("name", metavar="IMAGE", shell_complete=complete_image)
@click.option("-H", "--human/--no-human", default=True, help="Sizes and times for people: the default; --human=false.")
@click.option("--no-trunc", is_flag=True, help="Show everything in full.")
@click.option("-q", "--quiet", is_flag=True, help="Print the IDs only.")
@click.option("--format", "form", metavar="FORMAT", default="", help="json, table, or a Go template.")
@root_option
def history(name: str, human: bool, no_trunc: bool, quiet: bool, form: str, root: Path) -> None:
    """Show how an image was made, the newest step first, and what each step added.

    \b
    Example:
      entrepot history nginx:1.23.3
      entrepot history --no-trunc --format '{{.CreatedBy}}' nginx:1.23.3
    """
    rows = on_store(root, lambda store: store.history(name))
    view = View(trunc=not no_trunc, human=human, now=datetime.now(UTC))
    if quiet:
        text = "".join(f"{view.id(row)}\n" for row in rows)
    elif form in ("", "table"):
        text = view.table([view.fields(row) for row in rows])
    else:
        text = "".join(format_rows(form, map(view.fields, rows), HEADERS))
    click.echo(text, nl=False)


@dataclass(frozen=True, slots=True)
class View:
    """How rows are shown."""

    trunc: bool
    human: bool
    now: datetime

    def id(self, row: HistoryRow) -> str:
        if row.id is None:
            return MISSING
        return short_id(row.id) if self.trunc else row.id

    def table(self, rows: list[Mapping[str, str]]) -> str:
        since = "CreatedSince" if self.human else "CreatedAt"
        names = ["ID", since, "CreatedBy", "Size", "Comment"]
        return format_table([HEADERS[name] for name in names], [[row[name] for name in names] for row in rows])

    def fields(self, row: HistoryRow) -> Mapping[str, str]:
        """A row by the names that templates use."""
        created_by = row.created_by.replace("\t", " ")
        return {
            "Comment": row.comment,
            "CreatedAt": _created_at(row.created),
            "CreatedBy": _shortened(created_by) if self.trunc else created_by,
            "CreatedSince": self._since(row.created) if self.human else _created_at(row.created),
            "ID": self.id(row),
            "Size": human_size(row.size) if self.human else str(row.size),
        }

    def _since(self, created: str | None) -> str:
        moment = parse_rfc3339(created)
        return created_since(created, self.now) if moment is not None and moment.year >= _FIRST_YEAR else NOT_KNOWN


def _created_at(created: str | None) -> str:
    """RFC 3339 in local time, to the second."""
    moment = parse_rfc3339(created)
    if moment is None:
        return "0001-01-01T00:00:00Z"
    return moment.astimezone().replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
