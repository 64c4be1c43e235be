"""``entrepot referrers``: what refers to an image, e.g. its signatures and SBOMs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from entrepot.cli.formats import format_rows
from entrepot.cli.human import human_size
from entrepot.cli.network import Reach, network_options
from entrepot.cli.not_there import naming
from entrepot.cli.output import print_json
from entrepot.cli.tables import format_table, plain_cell
from entrepot.client import Client
from entrepot.digest import Digest
from entrepot.platforms import Platform
from entrepot.reference import ImageReference
from entrepot.transfer.pick import pick_platform
from entrepot.transfer.referrers import Referrer, list_referrers, read_tree

HEADERS = {"Digest": "DIGEST", "ArtifactType": "ARTIFACT TYPE", "MediaType": "MEDIA TYPE", "Size": "SIZE"}
_UNKNOWN = "<unknown>"


@click.command(short_help="List what refers to an image in a registry.")
@click.argument("name", metavar="[HOST/]NAME[:TAG|@DIGEST]")
@click.option("--type", "artifact_type", metavar="TYPE", help="Only those of this artifact type.")
@click.option("--tree", is_flag=True, help="Also what refers to those, as a tree.")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON, with annotations.")
@click.option("--format", "form", metavar="FORMAT", default="", help="json, table, or a Go template.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="What refers to this platform's image.")
@network_options
def referrers(
    reach: Reach,
    name: str,
    artifact_type: str | None,
    tree: bool,
    as_json: bool,
    form: str,
    platform: str | None,
) -> None:
    """List what refers to an image in a registry: signatures, SBOMs, attestations.

    Where the registry has no list of its own, the one that clients keep under a tag is read.

    \b
    Example:
      entrepot referrers localhost:5000/team/app:v1
      entrepot referrers --tree localhost:5000/team/app:v1
      entrepot referrers --type application/vnd.example.sbom --format '{{.Digest}}' localhost:5000/team/app:v1
    """
    reference = ImageReference.parse(name)
    wanted = Platform.parse(platform) if platform is not None else None
    subject, found = reach.run(
        lambda client: _read(client, reference, wanted, artifact_type, deep=tree or as_json),
    )
    full = f"{reference.name}@{subject}"
    if as_json:
        print_json({"reference": full, "digest": subject, "referrers": [_document(one) for one in found]})
    elif tree:
        click.echo("\n".join([full, *_branches(found)]))
    elif form:
        click.echo("".join(format_rows(form, map(_fields, found), HEADERS)), nl=False)
    else:
        click.echo(_table(found), nl=False)


async def _read(
    client: Client, reference: ImageReference, platform: Platform | None, artifact_type: str | None, *, deep: bool
) -> tuple[Digest, list[Referrer]]:
    repository = client.registry(reference.domain, remember=False).repository(reference.path)
    with naming(reference):
        if platform is None:
            subject = (await repository.head_manifest(reference.target)).digest
        else:
            subject = (await pick_platform(repository, reference.target, platform)).digest
    read = read_tree if deep else list_referrers
    return subject, await read(repository, subject, artifact_type)


def _table(found: Sequence[Referrer]) -> str:
    header = [HEADERS[name] for name in ("ArtifactType", "Digest", "Size")]
    return format_table(header, ([one.artifact_type or _UNKNOWN, one.digest, human_size(one.size)] for one in found))


def _fields(one: Referrer) -> dict[str, Any]:
    return {
        "Digest": one.digest,
        "ArtifactType": one.artifact_type,
        "MediaType": one.media_type,
        "Size": human_size(one.size),
        "Annotations": dict(one.annotations),
    }


def _document(one: Referrer) -> dict[str, Any]:
    return {
        "mediaType": one.media_type,
        "digest": one.digest,
        "size": one.size,
        "artifactType": one.artifact_type,
        "annotations": dict(one.annotations),
        "referrers": [_document(child) for child in one.children],
    }


def _branches(found: Sequence[Referrer]) -> Iterator[str]:
    """The lines below a manifest: a line for each referrer, and what hangs on it below that."""
    for place, one in enumerate(found, 1):
        is_last = place == len(found)
        kind = plain_cell(one.artifact_type) or _UNKNOWN
        yield f"{'└── ' if is_last else '├── '}{kind} {one.digest}"
        yield from (f"{'    ' if is_last else '│   '}{line}" for line in _branches(one.children))
