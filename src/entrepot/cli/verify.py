"""``entrepot verify``: whether an image is what it says of itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from entrepot.cli.human import human_size
from entrepot.cli.network import Reach, network_options
from entrepot.cli.output import print_json
from entrepot.cli.sources import open_read
from entrepot.cli.tables import plain_cell
from entrepot.client import Client
from entrepot.errors import ArchiveInvalid
from entrepot.transfer.verification import Report, lines, verify_reference


@click.command(short_help="Recompute every digest, size and diff ID of an image.")
@click.argument("image")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@network_options
@click.pass_context
def verify(context: click.Context, /, reach: Reach, image: str, as_json: bool) -> None:
    """Recompute every digest, size and diff ID of an image, and compare its config with its layers.

    IMAGE is a name or ID of the image store, an archive or OCI layout (./app.tar, oci:DIR), of which all images are
    looked at, or docker://HOST/NAME:TAG at a registry. The exit code is 1 when something is wrong.

    \b
    Example:
      entrepot verify nginx:1.23.3
      entrepot verify ./images.tar
      entrepot verify docker://localhost:5000/team/app:v1
    """
    reports = reach.run(lambda client: _verify(client, image))
    if as_json:
        print_json([_as_data(title, report) for title, report in reports])
    else:
        for title, report in reports:
            for line in lines(report):
                click.echo(plain_cell(line))
            click.echo(plain_cell(f"{title}: {_summary(report)}"))
    context.exit(0 if all(report.is_clean for _, report in reports) else 1)


async def _verify(client: Client, text: str) -> list[tuple[str, Report]]:
    async with open_read(client, text, whole=True) as found:
        if not found.references:
            raise ArchiveInvalid(f"there is nothing in {text} to verify")
        return [
            (title, await verify_reference(found.repository, reference, may_lack=found.is_partial))
            for title, reference in found.references
        ]


def _summary(report: Report) -> str:
    outcome = "ok" if report.is_clean else _count(len(report.problems), "problem")
    seen = f"{_count(report.manifests, 'manifest')}, {_count(report.blobs, 'blob')}, {human_size(report.bytes)}"
    return f"{outcome}; read {seen}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _as_data(title: str, report: Report) -> dict[str, Any]:
    return {"image": title, "clean": report.is_clean, **asdict(report)}
