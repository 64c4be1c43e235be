"""``entrepot load``: every dialect of image archive into the image store, with docker's words."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from entrepot.cli.local import root_option
from entrepot.cli.network import Reach, unpacked_option
from entrepot.cli.output import print_error
from entrepot.cli.progress import Progress, progress_for
from entrepot.client import Client
from entrepot.errors import ArchiveInvalid
from entrepot.image_store.loading import Load, Loaded
from entrepot.platforms import Platform
from entrepot.repositories.archive import ArchiveRepository
from entrepot.transfer.copy import MAX_UNPACKED, unpacked_limit


@click.command(short_help="Take images out of an archive.")
@click.option(
    "-i",
    "--input",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read from this file.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print the names of the images only.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of an image for several platforms take this one.")
@unpacked_option
@root_option
@click.pass_context
def load(
    context: click.Context, file: Path | None, quiet: bool, platform: str | None, max_unpacked: int, root: Path
) -> None:
    """Take images out of an archive into the image store.

    Reads what docker save, podman save, skopeo, buildah, kaniko and others write: docker-archives, OCI layouts in a
    tar, both in one; compressed with gzip or zstd or not; from a file or from standard input.

    \b
    Example:
      entrepot load -i images.tar
      ssh build.example.com docker save app:v1 | entrepot load
    """
    if file is None and _is_empty(sys.stdin.fileno()):
        print_error("requested load from stdin, but stdin is empty")
        context.exit(1)
    wanted = Platform.parse(platform) if platform else None
    # like docker: bars for who looks on, and nothing for scripts
    with progress_for("auto" if sys.stdout.isatty() and not quiet else "none", "copy") as shown:
        limit = max_unpacked or (unpacked_limit(file.stat().st_size) if file else MAX_UNPACKED)
        Reach(root, max_unpacked=limit).run(
            lambda client: _load(client, file, wanted, shown, quiet=quiet, limit=limit), listener=shown
        )


def _is_empty(fd: int) -> bool:
    """Whether nothing was given: a terminal, /dev/null, or a file without bytes."""
    found = os.fstat(fd)
    return stat.S_ISCHR(found.st_mode) or (stat.S_ISREG(found.st_mode) and not found.st_size)


async def _load(
    client: Client, file: Path | None, platform: Platform | None, shown: Progress, *, quiet: bool, limit: int
) -> None:
    store = client.store
    archive = await ArchiveRepository.open(
        file.open("rb") if file else sys.stdin.buffer,
        str(file) if file else "standard input",
        spool_folder=client.root,
        spool_limit=limit,
        unpacked_limit=limit,
    )
    try:
        if not archive.images:
            raise ArchiveInvalid(f"there is no image in {file or 'standard input'}")
        work = Load(store, archive, client.options(), platform)
        for image in archive.images:
            for line in _lines(await work.run(image), quiet=quiet):
                shown.say(line)
    finally:
        archive.close()


def _lines(loaded: Loaded, *, quiet: bool) -> Iterator[str]:
    for name, previous in loaded.names:
        if previous is not None and not quiet:
            yield f"The image {name.familiar} already exists, renaming the old one with ID {previous} to empty string"
        yield f"Loaded image: {name.familiar}"
    if not loaded.names:
        yield f"Loaded image ID: {loaded.id}"
