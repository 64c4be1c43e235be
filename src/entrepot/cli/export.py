"""``entrepot export``: the files of an image as one tar."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from entrepot.cli.network import Reach, network_options
from entrepot.cli.output import print_error
from entrepot.cli.save import output_to
from entrepot.cli.sources import open_image
from entrepot.client import Client
from entrepot.platforms import Platform
from entrepot.transfer.flattening import write_tar


@click.command(short_help="Write an image's files as one tar.")
@click.argument("image")
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file.",
)
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of an image for several platforms take this one.")
@network_options
@click.pass_context
def export(context: click.Context, /, reach: Reach, image: str, file: Path | None, platform: str | None) -> None:
    """Write the files of an image as one tar: all layers in one, without what later layers have removed.

    IMAGE is a name or ID of the image store, an archive or OCI layout (./app.tar, oci:DIR), or docker://HOST/NAME:TAG
    at a registry. Without -o the tar goes to standard output.

    \b
    Example:
      entrepot export -o rootfs.tar nginx:1.23.3
      entrepot export nginx:1.23.3 | tar -xf - etc/nginx
    """
    if file is None and sys.stdout.isatty():
        print_error("cowardly refusing to export to a terminal. Use the -o flag or redirect")
        context.exit(1)
    reach.run(lambda client: _export(client, image, file, Platform.parse(platform) if platform else None))


async def _export(client: Client, text: str, file: Path | None, platform: Platform | None) -> None:
    async with open_image(client, text, platform) as image:
        with output_to(file) as output:
            await write_tar(image, output)
