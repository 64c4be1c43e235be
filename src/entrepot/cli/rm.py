"""``entrepot rm --remote``: delete in a registry, saying what goes before it does."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from entrepot.cli.network import Reach, network_options, parallel_option
from entrepot.cli.not_there import naming
from entrepot.cli.output import print_warning
from entrepot.client import Client
from entrepot.digest import Digest
from entrepot.errors import ParameterInvalid, RegistryError, Unsupported
from entrepot.reference import ImageReference, Tag
from entrepot.repositories.base import Repository
from entrepot.transfer.removing import Removal, TagsStay, look_up, remove_manifest, remove_tag

_MOST_SHOWN = 20


@click.command(short_help="Delete images in a registry.")
@click.argument("names", metavar="[HOST/]NAME:TAG|@DIGEST...", nargs=-1, required=True)
@click.option("--remote", is_flag=True, help="In the registry; without it nothing is done.")
@click.option("-f", "--force", is_flag=True, help="Do not ask, and delete by digest what other tags name as well.")
@parallel_option
@network_options
def rm(reach: Reach, names: Sequence[str], remote: bool, force: bool) -> None:
    """Delete tags and images in a registry.

    NAME:TAG deletes the tag; the image stays for others that name it. NAME@DIGEST deletes the image with all its tags.
    What goes is said first, and asked about. A registry that cannot delete a tag alone deletes the image by its digest
    if no other tag names it; with --force also if others do, and they go too.

    \b
    Example:
      entrepot rm --remote localhost:5000/team/app:old
      entrepot rm --remote --force localhost:5000/team/app@sha256:...
    """
    references = [ImageReference.parse(name) for name in names]
    for reference in references:
        _require_exact(reference)
    if not remote:
        shown = " ".join(reference.familiar for reference in references)
        raise ParameterInvalid(
            "rm deletes in registries only, and wants to hear it: --remote",
            hint=f"entrepot rmi {shown} removes it from this computer",
        )
    reach.run(lambda client: _remove_all(client, references, force=force))


async def _remove_all(client: Client, references: Sequence[ImageReference], *, force: bool) -> None:
    for reference in references:
        repository = client.registry(reference.domain, remember=False).repository(reference.path)
        work = _Work(reference, repository, client.access.parallel, force)
        with naming(reference):
            await (work.remove_digest(reference.digest) if reference.digest else work.remove_tag())


class _Work:
    """The removal of one name."""

    def __init__(self, reference: ImageReference, repository: Repository, parallel: int, force: bool) -> None:
        self._reference = reference
        self._repository = repository
        self._parallel = parallel
        self._force = force

    async def remove_tag(self) -> None:
        tag = Tag(self._reference.target)
        digest = (await self._repository.head_manifest(tag)).digest
        name = self._reference.familiar
        self._ask(f"This deletes the tag {name}. The image {digest} stays in the registry.")
        try:
            await remove_tag(self._repository, tag)
            click.echo(f"Untagged: {name}")
        except TagsStay as error:
            await self._remove_by_digest(tag, digest, error)

    async def _remove_by_digest(self, tag: Tag, digest: Digest, error: TagsStay) -> None:
        """The way round for registries that know digests only; not taken when it would hit somebody else's tag."""
        found = await look_up(self._repository, digest, parallel=self._parallel)
        others = [other for other in found.tags if other != tag]
        name = self._reference.familiar_name
        if others and not self._force:
            raise Unsupported(
                f"{self._reference.domain} cannot delete a tag alone, and the image of {name}:{tag} has other tags: "
                f"{_listed(others)} ({error.message})",
                hint=f"entrepot rm --remote --force {name}:{tag} deletes the image {digest} with all of them; to keep "
                "them, push another image to this tag instead",
            )
        print_warning(f"{self._reference.domain} cannot delete a tag alone; the image goes with it")
        if not self._force:
            self._ask(f"This deletes the image {name}@{digest}, which has no other tag than {tag}.")
        await self._remove(found)

    async def remove_digest(self, digest: Digest) -> None:
        found = await look_up(self._repository, digest, parallel=self._parallel)
        name = f"{self._reference.familiar_name}@{digest}"
        tags = f"and with it {_count(found.tags)}: {_listed(found.tags)}" if found.tags else "which has no tag"
        self._ask(f"This deletes the image {name}, {tags}.")
        await self._remove(found)

    async def _remove(self, found: Removal) -> None:
        try:
            await remove_manifest(self._repository, found.digest)
        except RegistryError as error:
            raise _explained(error, self._reference) from error
        for tag in found.tags:
            click.echo(f"Untagged: {self._reference.familiar_name}:{tag}")
        click.echo(f"Deleted: {self._reference.familiar_name}@{found.digest}")

    def _ask(self, what: str) -> None:
        """Say what goes; without --force, wait for a yes. Raises ParameterInvalid where nobody can be asked."""
        if self._force:
            return
        click.echo(what, err=True)
        if not sys.stdin.isatty():
            raise ParameterInvalid("nobody is there to be asked, so nothing was deleted", hint="--force does not ask")
        if not click.confirm("Delete it?", err=True):
            raise ParameterInvalid("nothing was deleted")


def _require_exact(reference: ImageReference) -> None:
    if reference.tag is None and reference.digest is None:
        name = reference.familiar_name
        raise ParameterInvalid(
            f"expected a tag or digest to delete, got the whole repository {name}",
            hint=f"entrepot ls {name} lists its tags",
        )


def _explained(error: RegistryError, reference: ImageReference) -> RegistryError:
    if not isinstance(error, Unsupported):
        return error
    return Unsupported(
        f"{reference.domain} does not delete images: {error.message}",
        **{
            **error.detail,
            "hint": "registries have to be told to allow it, e.g. distribution by REGISTRY_STORAGE_DELETE_ENABLED; "
            "others delete on their web pages only",
        },
    )


def _count(tags: Sequence[Tag]) -> str:
    return "its tag" if len(tags) == 1 else f"its {len(tags)} tags"


def _listed(tags: Sequence[Tag]) -> str:
    shown = ", ".join(tags[:_MOST_SHOWN])
    return shown if len(tags) <= _MOST_SHOWN else f"{shown} and {len(tags) - _MOST_SHOWN} more"
