"""``entrepot diff``: what two images differ in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from entrepot.cli.formats import format_rows
from entrepot.cli.human import human_size
from entrepot.cli.network import Reach, network_options
from entrepot.cli.output import print_json
from entrepot.cli.sources import open_image
from entrepot.cli.tables import plain_cell
from entrepot.client import Client
from entrepot.platforms import Platform
from entrepot.transfer.differences import ABSENT, ConfigChange, Differences, FileChange, compare

HEADERS = {"Change": "CHANGE", "Path": "PATH", "Kind": "KIND", "Size": "SIZE", "OldSize": "OLD SIZE", "What": "WHAT"}


@click.command(short_help="Show what two images differ in: config, layers, files.")
@click.argument("image")
@click.argument("other")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of images for several platforms compare this one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--format", "form", metavar="FORMAT", default="", help="For each file: json, table, or a Go template.")
@network_options
def diff(reach: Reach, image: str, other: str, platform: str | None, as_json: bool, form: str) -> None:
    """Show what two images differ in: keys of the config, layers, and files with their sizes.

    Files are added (A), changed (C) or removed (D) on the way from IMAGE to OTHER, content, owner and mode count, times
    do not. Each is a name or ID of the image store, an archive or OCI layout (./app.tar, oci:DIR), or
    docker://HOST/NAME:TAG at a registry. The exit code is 0 whether or not they differ.

    \b
    Example:
      entrepot diff app:v1 app:v2
      entrepot diff app:v1 docker://registry.example.com/app:v1
      entrepot diff --format '{{.Change}} {{.Path}}' app:v1 app:v2
    """
    wanted = Platform.parse(platform) if platform else None
    found = reach.run(lambda client: _compare(client, image, other, wanted))
    if as_json:
        print_json(_as_data(found))
    elif form:
        click.echo("".join(format_rows(form, map(_fields, found.files), HEADERS)), nl=False)
    else:
        for line in _lines(found):
            click.echo(plain_cell(line))


async def _compare(client: Client, one: str, other: str, platform: Platform | None) -> Differences:
    async with open_image(client, one, platform) as first, open_image(client, other, platform) as second:
        return await compare(first, second)


def _lines(found: Differences) -> Iterator[str]:
    yield "Config:" if found.config else "Config: the same"
    yield from (f"  {_of_config(change)}" for change in found.config)
    are_same = all(layer.sign == "=" for layer in found.layers)
    yield "Layers: the same" if are_same else "Layers:"
    if not are_same:
        yield from (f"  {layer.sign} {layer.digest} {human_size(layer.size)}" for layer in found.layers)
    yield "Files:" if found.files else "Files: the same"
    yield from (f"  {_of_file(change)}" for change in found.files)


def _of_config(change: ConfigChange) -> str:
    if change.before is ABSENT:
        return f"+ {change.key}: {json.dumps(change.after, ensure_ascii=False)}"
    if change.after is ABSENT:
        return f"- {change.key}: {json.dumps(change.before, ensure_ascii=False)}"
    before, after = (json.dumps(value, ensure_ascii=False) for value in (change.before, change.after))
    return f"~ {change.key}: {before} -> {after}"


def _of_file(change: FileChange) -> str:
    path = f"/{change.path}" + ("/" if change.kind == "folder" and change.path else "")
    if change.sign != "C":
        size = human_size(change.after if change.sign == "A" else change.before)
        return f"{change.sign} {path} {size}" if change.kind == "file" else f"{change.sign} {path}"
    sizes = f" {human_size(change.before)} -> {human_size(change.after)}" if change.kind == "file" else ""
    return f"C {path}{sizes} ({', '.join(change.what)})"


def _fields(change: FileChange) -> dict[str, str]:
    return {
        "Change": change.sign,
        "Path": f"/{change.path}",
        "Kind": change.kind,
        "Size": human_size(change.after),
        "OldSize": human_size(change.before),
        "What": ", ".join(change.what),
    }


def _as_data(found: Differences) -> dict[str, Any]:
    return {
        "config": [
            {
                "key": change.key,
                **({} if change.before is ABSENT else {"before": change.before}),
                **({} if change.after is ABSENT else {"after": change.after}),
            }
            for change in found.config
        ],
        "layers": [{"sign": layer.sign, "digest": layer.digest, "size": layer.size} for layer in found.layers],
        "files": [{**asdict(change), "path": f"/{change.path}"} for change in found.files],
    }
