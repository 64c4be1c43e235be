"""``entrepot copy``: images from anywhere to anywhere, digests unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import click

from entrepot.cli.human import human_size
from entrepot.cli.network import (
    Reach,
    network_options,
    parallel_option,
    platform_options,
    split_option,
    unpacked_option,
)
from entrepot.cli.progress import Mode, Progress, progress_for, progress_option
from entrepot.client import Client
from entrepot.client_copy import Copying, CopyWishes, Outcome
from entrepot.errors import ParameterInvalid, RegistryError
from entrepot.folders import DATABASE_FILE
from entrepot.platforms import Platform
from entrepot.reference import ImageReference
from entrepot.transfer.places import Kind, Place


@click.command(short_help="Copy an image from one place to another.")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@platform_options
@click.option("--referrers", is_flag=True, help="Take along signatures, SBOMs and whatever else refers to it.")
@click.option("--all-tags", is_flag=True, help="Copy every tag; SRC and DST name repositories.")
@click.option("--filter", "globs", metavar="GLOB", multiple=True, help="With --all-tags only those like '1.*'.")
@click.option("--no-clobber", is_flag=True, help="Leave alone what is at DST already.")
@click.option("--dry-run", is_flag=True, help="Say what would be copied, and copy nothing.")
@click.option("-q", "--quiet", is_flag=True, help="Print the digest only.")
@parallel_option
@split_option
@unpacked_option
@progress_option
@network_options
def copy(
    reach: Reach,
    source: str,
    target: str,
    platforms: Sequence[str],
    all_platforms: bool,
    referrers: bool,
    all_tags: bool,
    globs: Sequence[str],
    no_clobber: bool,
    dry_run: bool,
    quiet: bool,
    progress: Mode,
) -> None:
    """Copy an image from one place to another, and print its digest.

    Places are images in a registry (HOST/NAME:TAG), and

    \b
      store:NAME[:TAG]                  the image store of this computer
      oci:DIR[:TAG]                     a folder that is an OCI image layout
      oci-archive:FILE[:TAG]            the same in a tar
      docker-archive:FILE[:NAME[:TAG]]  what docker save writes
      docker-daemon:NAME[:TAG]          the docker engine

    All platforms are copied (to an engine: this computer's), and digests stay as they are. Where DST has no tag, the
    one of SRC is taken. Between registries the bytes go through this computer's memory, not its disk; within one
    registry nothing is moved at all.

    \b
    Example:
      entrepot copy nginx:1.23.3 localhost:5000/mirror/nginx
      entrepot copy --referrers localhost:5000/team/app:v1 oci:backup/app
      entrepot copy --all-tags --filter '1.*' nginx registry.example.com/nginx
      entrepot copy docker-daemon:app:v1 localhost:5000/team/app:v1
    """
    from_place, to_place = Place.parse(source), Place.parse(target)
    if platforms and all_platforms:
        raise ParameterInvalid("expected --platform or --all-platforms, got both", platforms=list(platforms))
    if globs and not all_tags:
        raise ParameterInvalid("--filter chooses tags: it needs --all-tags")
    wishes = CopyWishes(
        platforms=tuple(Platform.parse(platform) for platform in platforms),
        all_platforms=all_platforms,
        referrers=referrers,
        no_clobber=no_clobber,
    )
    with progress_for("none" if quiet or dry_run else progress, "copy") as shown:
        talk = _Talk(shown, dry_run=dry_run, with_tags=all_tags)
        if all_tags:
            reach.run(lambda client: _copy_all(client, wishes, from_place, to_place, globs, talk), listener=shown)
        else:
            reach.run(lambda client: _copy_one(client, wishes, from_place, to_place, talk), listener=shown)


class _Talk:
    """What is printed of each copy."""

    def __init__(self, progress: Progress, *, dry_run: bool, with_tags: bool) -> None:
        self._progress = progress
        self._dry_run = dry_run
        self._with_tags = with_tags

    @property
    def is_dry(self) -> bool:
        return self._dry_run

    def tell(self, outcome: Outcome) -> None:
        if outcome.kept is not None:
            self._progress.message(f"{outcome.target} is there already ({outcome.kept}); left alone")
        elif self._dry_run:
            self._progress.say(_prospect(outcome))
        else:
            tag = f"{outcome.target.tag}: " if self._with_tags else ""
            self._progress.say(f"{tag}{outcome.digest}")


def _prospect(outcome: Outcome) -> str:
    blobs = outcome.root.blobs()
    size = sum(blob.size for blob in blobs)
    lacking = sum(blob.size for blob in outcome.lacking)
    return (
        f"would copy {outcome.source} to {outcome.target}: {outcome.digest}, {len(blobs)} blobs of "
        f"{human_size(size)}, {len(outcome.lacking)} of them ({human_size(lacking)}) not there yet"
    )


async def _copy_one(client: Client, wishes: CopyWishes, source: Place, target: Place, talk: _Talk) -> None:
    try:
        outcome = await Copying(client, wishes).run(source, target, dry_run=talk.is_dry)
    except RegistryError as error:
        if await _is_here(client, source):
            error.detail["hint"] = f"an image of this computer is meant by store:{_reference(source).familiar}"
        raise
    talk.tell(outcome)


async def _is_here(client: Client, place: Place) -> bool:
    """Whether the name of an image in a registry is also that of one in the image store."""
    if place.kind is not Kind.REGISTRY or not (client.root / DATABASE_FILE).exists():
        return False
    reference = _reference(place)
    try:
        await client.store.repository(reference.stored_name).head_manifest(reference.target)
    except RegistryError:
        return False
    return True


def _reference(place: Place) -> ImageReference:
    assert place.reference is not None  # those of registries have one
    return place.reference


async def _copy_all(
    client: Client, wishes: CopyWishes, source: Place, target: Place, globs: Sequence[str], talk: _Talk
) -> None:
    def takes(tag: str) -> bool:
        return not globs or any(fnmatchcase(tag, glob) for glob in globs)

    copied = 0
    async for outcome in Copying(client, wishes).run_all(source, target, takes, dry_run=talk.is_dry):
        talk.tell(outcome)
        copied += 1
    if not copied:
        raise ParameterInvalid(f"{source} has no tag like that", globs=list(globs))
