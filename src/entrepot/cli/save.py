"""``entrepot save``: images as an archive that docker, podman, skopeo and containerd load."""

from __future__ import annotations

import os
import stat
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from entrepot.cli.completion import complete_image
from entrepot.cli.local import root_option
from entrepot.cli.network import Reach
from entrepot.cli.output import print_error
from entrepot.client import Client
from entrepot.image_store.saving import Save
from entrepot.platforms import Platform

_BUFFER = 1024 * 1024


@click.command(short_help="Put images into an archive.")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, shell_complete=complete_image)
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["docker", "oci"]),
    default="docker",
    help="docker is an OCI layout that docker load reads too; oci leaves out what only docker wants.",
)
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of an image for several platforms save this one only.")
@root_option
@click.pass_context
def save(
    context: click.Context, images: Sequence[str], file: Path | None, form: str, platform: str | None, root: Path
) -> None:
    """Put images into an archive, with names and digests unchanged.

    A name without a tag means all tags of it. The archive is a tar that docker load, podman load, skopeo, ctr and
    entrepot load read; without -o it goes to standard output.

    \b
    Example:
      entrepot save -o images.tar nginx:1.23.3 localhost:5000/team/app
      entrepot save app:v1 | ssh server.example.com docker load
    """
    if file is None and sys.stdout.isatty():
        print_error("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        context.exit(1)
    wanted = Platform.parse(platform) if platform else None
    Reach(root).run(lambda client: _save(client, images, file, wanted, docker=form == "docker"))


async def _save(
    client: Client, texts: Sequence[str], file: Path | None, platform: Platform | None, *, docker: bool
) -> None:
    work = Save(client.store, platform)
    chosen = await work.choose(texts)
    with output_to(file) as output:
        await work.write(chosen, output, docker=docker)


@contextmanager
def output_to(file: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that appears when it is complete, and that only its owner may read."""
    if file is None:
        yield sys.stdout.buffer
        return
    if file.exists() and not stat.S_ISREG(file.stat().st_mode):  # a device or pipe
        with file.open("wb") as output:
            yield output
        return
    temporary = file.with_name(f".{file.name[:200]}.{uuid.uuid4().hex[:8]}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", _BUFFER) as output:
            yield output
            output.flush()
            os.fsync(output.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
