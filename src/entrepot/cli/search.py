"""``entrepot search``: docker's table of images found by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from entrepot.cli.formats import format_rows
from entrepot.cli.network import Reach, network_options
from entrepot.cli.output import print_warning
from entrepot.cli.tables import format_table
from entrepot.client import Client
from entrepot.errors import NotFound, ParameterInvalid, RegistryError, Unsupported
from entrepot.reference import DEFAULT_DOMAIN, ImageReference
from entrepot.repositories.remote import RemoteRegistry
from entrepot.transfer.listing import walk_repositories

HEADERS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}
_COLUMNS = ("Name", "Description", "StarCount", "IsOfficial")
_INDEX = "index.docker.io"  # where Docker Hub's search is; its registry has none
_DEFAULT = 25
_MOST = 100  # docker's own limit
_DESCRIPTION = 45  # characters, as docker cuts them


@click.command(short_help="Search a registry for images.")
@click.argument("term", metavar="[HOST/]TERM")
@click.option("--limit", metavar="N", type=click.IntRange(1, _MOST), default=_DEFAULT, help="At most so many; 25.")
@click.option("--no-trunc", is_flag=True, help="Do not cut descriptions.")
@click.option(
    "-f", "--filter", "conditions", metavar="NAME=VALUE", multiple=True, help="Only some: is-official=true, stars=3."
)
@click.option("--format", "form", metavar="FORMAT", default="", help="json, table, or a Go template.")
@network_options
def search(reach: Reach, term: str, limit: int, no_trunc: bool, conditions: Sequence[str], form: str) -> None:
    """Search a registry for images whose name or description has TERM in it.

    That is docker.io unless a host stands in front. Where a registry has no search, its catalog is looked through.

    \b
    Example:
      entrepot search nginx --limit 5
      entrepot search --filter is-official=true --format '{{.Name}}' nginx
      entrepot search localhost:5000/app
    """
    filters = Filters.parse(conditions)
    domain, text = split_term(term)
    found = [one for one in reach.run(lambda client: _search(client, domain, text, limit)) if filters.take(one)]
    if form in ("", "table"):
        rows = ([_fields(one, trunc=not no_trunc)[column] for column in _COLUMNS] for one in found)
        click.echo(format_table([HEADERS[column] for column in _COLUMNS], rows), nl=False)
    else:
        rows_of_fields = (_fields(one, trunc=not no_trunc) for one in found)
        click.echo("".join(format_rows(form, rows_of_fields, HEADERS)), nl=False)


@dataclass(frozen=True, slots=True)
class Result:
    """One image that was found; ``name`` is what can be pulled."""

    name: str
    description: str = ""
    stars: int = 0
    is_official: bool = False
    is_automated: bool = False


@dataclass(frozen=True, slots=True)
class Filters:
    """What ``--filter`` says, in docker's words."""

    official: bool | None = None
    automated: bool | None = None
    stars: int = 0

    @classmethod
    def parse(cls, conditions: Sequence[str]) -> Filters:
        """Raises ParameterInvalid."""
        found: dict[str, Any] = {}
        for condition in conditions:
            name, equals, value = condition.partition("=")
            if equals and name == "stars" and value.isascii() and value.isdigit():
                found["stars"] = int(value)
            elif equals and name in ("is-official", "is-automated") and value in ("true", "false", "1", "0"):
                found[name.removeprefix("is-")] = value in ("true", "1")
            else:
                raise ParameterInvalid(
                    f"invalid filter {condition!r}: expected is-official=true, is-automated=false or stars=NUMBER",
                    filter=condition,
                )
        return cls(**found)

    def take(self, result: Result) -> bool:
        return (
            self.official in (None, result.is_official)
            and self.automated in (None, result.is_automated)
            and result.stars >= self.stars
        )


def split_term(term: str) -> tuple[str, str]:
    """Registry and what to look for: as with names, what is in front of a slash is a host if it looks like one."""
    first, slash, rest = term.partition("/")
    if not slash or not rest:
        return DEFAULT_DOMAIN, term
    try:
        domain = ImageReference.parse(f"{first}/x").domain
    except RegistryError:
        return DEFAULT_DOMAIN, term
    is_host = first == "localhost" or "." in first or ":" in first
    return (domain, rest) if is_host else (DEFAULT_DOMAIN, term)


async def _search(client: Client, domain: str, text: str, limit: int) -> list[Result]:
    is_hub = domain == DEFAULT_DOMAIN
    registry = client.registry(_INDEX if is_hub else domain, remember=False)
    prefix = "" if is_hub else f"{domain}/"
    try:
        found = await registry.search_results(text, limit=limit)
    except (NotFound, Unsupported) as error:
        if is_hub:
            raise
        return await _in_catalog(registry, text, limit, error)
    return [_result(one, prefix) for one in found[:limit]]


async def _in_catalog(registry: RemoteRegistry, text: str, limit: int, error: RegistryError) -> list[Result]:
    found: list[Result] = []
    try:
        async for name in walk_repositories(registry):
            if text.lower() in name:
                found.append(Result(f"{registry.domain}/{name}"))
            if len(found) >= limit:
                break
    except (NotFound, Unsupported) as missing:
        raise Unsupported(
            f"{registry.domain} has neither a search ({error.message}) nor a catalog ({missing.message})",
            registry=registry.domain,
        ) from missing
    print_warning(f"{registry.domain} has no search; these are the names in its catalog")
    return found


def _result(document: Mapping[str, Any], prefix: str) -> Result:
    description, stars = document.get("description"), document.get("star_count")
    return Result(
        prefix + str(document["name"]),
        " ".join(description.split()) if isinstance(description, str) else "",
        stars if isinstance(stars, int) else 0,
        document.get("is_official") is True,
        document.get("is_automated") is True,
    )


def _fields(one: Result, *, trunc: bool) -> dict[str, str]:
    """By the names that templates use."""
    return {
        "Name": one.name,
        "Description": _cut(one.description) if trunc else one.description,
        "StarCount": str(one.stars),
        "IsOfficial": "[OK]" if one.is_official else "",
        "IsAutomated": "[OK]" if one.is_automated else "",
    }


def _cut(text: str) -> str:
    return text if len(text) <= _DESCRIPTION else text[: _DESCRIPTION - 1] + "…"
