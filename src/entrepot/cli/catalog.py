"""``entrepot catalog``: the repositories of a registry, where it tells."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import click

from entrepot.cli.network import Reach, network_options
from entrepot.cli.output import print_json
from entrepot.cli.tables import plain_cell
from entrepot.client import Client
from entrepot.errors import AccessDenied, NameInvalid, NotFound, RegistryError, Unauthenticated, Unsupported
from entrepot.reference import DEFAULT_DOMAIN, ImageReference
from entrepot.transfer.listing import walk_repositories


@click.command()
@click.argument("host", metavar="HOST[:PORT]")
@click.option("--filter", "globs", metavar="GLOB", multiple=True, help="Only names like this: 'team/*'; repeatable.")
@click.option("--limit", metavar="N", type=click.IntRange(1), help="At most so many.")
@click.option("--full-ref", is_flag=True, help="Print names that can be pulled: HOST/REPOSITORY.")
@click.option("--json", "as_json", is_flag=True, help="Print an array of names.")
@network_options
def catalog(reach: Reach, host: str, globs: Sequence[str], limit: int | None, full_ref: bool, as_json: bool) -> None:
    """List the repositories of a registry.

    Many public registries, docker.io among them, do not offer this.

    \b
    Example:
      entrepot catalog localhost:5000
      entrepot catalog registry.example.com --filter 'team/*' --limit 100
    """
    domain = parse_host(host)
    names = reach.run(lambda client: _list(client, domain, globs, limit))
    if full_ref:
        names = [f"{domain}/{name}" for name in names]
    if as_json:
        print_json(names)
    else:
        click.echo("".join(f"{plain_cell(name)}\n" for name in names), nl=False)


def parse_host(text: str) -> str:
    """A registry's host and port. Raises NameInvalid."""
    host = text.partition("://")[2] or text
    try:
        reference = ImageReference.parse(f"{host.rstrip('/')}/x")
    except RegistryError as error:
        raise _no_host(text) from error
    expected = host.rstrip("/").lower()
    if expected == DEFAULT_DOMAIN or (reference.path == "x" and reference.domain == expected):
        return reference.domain
    raise _no_host(text)


async def _list(client: Client, domain: str, globs: Sequence[str], limit: int | None) -> list[str]:
    names: list[str] = []
    try:
        async for name in walk_repositories(client.registry(domain, remember=False)):
            if not globs or any(fnmatchcase(name, glob) for glob in globs):
                names.append(name)
            if limit is not None and len(names) >= limit:
                break
    except (NotFound, Unsupported) as error:
        raise _no_catalog(domain, error) from error
    except (AccessDenied, Unauthenticated) as error:
        raise type(error)(
            f"{domain} does not list its repositories to this user: {error.message}",
            **{**error.detail, "hint": _hint(domain)},
        ) from error
    return names


def _no_catalog(domain: str, error: RegistryError) -> Unsupported:
    return Unsupported(
        f"{domain} offers no catalog of its repositories: {error.message}", registry=domain, hint=_hint(domain)
    )


def _hint(domain: str) -> str:
    search = "entrepot search TERM" if domain == DEFAULT_DOMAIN else f"entrepot search {domain}/TERM"
    login = "" if domain == DEFAULT_DOMAIN else f"; entrepot login {domain} changes who you are"
    return f"{search} may find some, entrepot ls REPOSITORY lists the tags of one{login}"


def _no_host(text: str) -> NameInvalid:
    return NameInvalid(
        f"expected a registry, e.g. localhost:5000 or registry.example.com, got {text[:100]!r}", name=text[:100]
    )
