"""``entrepot pull``: with docker's words, and help where docker leaves people alone."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import click

from entrepot.cli.network import (
    Reach,
    choice_of,
    network_options,
    parallel_option,
    platform_options,
    split_option,
    unpacked_option,
)
from entrepot.cli.not_there import warn_of_bare_registry
from entrepot.cli.progress import Mode, Progress, progress_for, progress_option
from entrepot.client import Client
from entrepot.errors import (
    AccessDenied,
    ManifestUnknown,
    NotFound,
    ParameterInvalid,
    RegistryError,
    RepositoryUnknown,
    Unauthenticated,
)
from entrepot.image_store.pulling import Pulled
from entrepot.reference import DEFAULT_TAG, ImageReference, Tag
from entrepot.repositories.base import Repository
from entrepot.transfer.graph import Choice

_CLOSE = 5
_TAGS_PER_PAGE = 1000
_MOST_TAGS = 20_000  # to look for close ones in, and to pull with --all-tags


@click.command(short_help="Fetch an image from a registry.")
@click.argument("name", metavar="[HOST/]NAME[:TAG|@DIGEST]")
@click.option("-a", "--all-tags", is_flag=True, help="Fetch all tags of the repository.")
@click.option("-q", "--quiet", is_flag=True, help="Print the full name of the image only.")
@platform_options
@parallel_option
@split_option
@unpacked_option
@progress_option
@network_options
def pull(
    reach: Reach,
    name: str,
    all_tags: bool,
    quiet: bool,
    platforms: Sequence[str],
    all_platforms: bool,
    progress: Mode,
) -> None:
    """Fetch an image from a registry into the image store.

    Without a host the name is one of docker.io, without a tag it means latest. Out of an image for several platforms
    this computer's is fetched. What an interrupted pull has fetched is kept, and the next one goes on from there.

    \b
    Example:
      entrepot pull nginx:1.23.3
      entrepot pull --platform linux/arm64 localhost:5000/team/app
      entrepot pull --all-tags localhost:5000/team/app
    """
    reference = ImageReference.parse(name)
    warn_of_bare_registry(reference)
    choice = choice_of(platforms, all_platforms=all_platforms)
    if all_tags and (reference.tag or reference.digest):
        raise ParameterInvalid("tag can't be used with --all-tags/-a", name=name)
    with progress_for("none" if quiet else progress, "pull") as shown:
        talk = Talk(quiet, shown)
        reach.run(lambda client: _pull(client, reference, choice, talk, all_tags=all_tags), listener=shown)


@dataclass(frozen=True, slots=True)
class Talk:
    """What is printed around the progress; nothing but results if ``quiet``."""

    quiet: bool
    progress: Progress

    def say(self, line: str) -> None:
        if not self.quiet:
            self.progress.say(line)


async def _pull(client: Client, reference: ImageReference, choice: Choice, talk: Talk, *, all_tags: bool) -> None:
    if all_tags:
        await _pull_all(client, reference, choice, talk)
        return
    if not reference.tag and not reference.digest:
        talk.say(f"Using default tag: {DEFAULT_TAG}")
    reference = reference.with_default_tag()
    pulled = await _pull_one(client, reference, choice, talk)
    talk.say(f"Digest: {pulled.digest}")
    talk.say(f"Status: {_status(pulled.is_new)} for {reference.familiar}")
    click.echo(str(reference))


async def _pull_all(client: Client, reference: ImageReference, choice: Choice, talk: Talk) -> None:
    is_new = False
    try:
        tags = await _tags(client.remote(reference))
    except RegistryError as error:
        raise _explained(error, reference) from error
    for tag in tags:
        pulled = await _pull_one(client, reference.at(tag), choice, talk)
        talk.say(f"Digest: {pulled.digest}")
        is_new = is_new or pulled.is_new
    talk.say(f"Status: {_status(is_new)} for {reference.familiar_name}")
    click.echo(reference.name)


async def _pull_one(client: Client, reference: ImageReference, choice: Choice, talk: Talk) -> Pulled:
    pull = client.pull(reference, choice)
    try:
        root = await pull.read(reference)
        talk.say(f"{_first_word(reference)}: Pulling from {reference.path}")
        return await pull.run(reference, root)
    except ManifestUnknown as error:
        raise await _not_found(client, reference, error) from error
    except RegistryError as error:
        raise _explained(error, reference) from error


def _first_word(reference: ImageReference) -> str:
    return str(reference) if reference.digest else str(reference.tag)


def _status(is_new: bool) -> str:
    return "Downloaded newer image" if is_new else "Image is up to date"


async def _not_found(client: Client, reference: ImageReference, error: ManifestUnknown) -> RegistryError:
    hint = await _close_tags(client.remote(reference), reference) if not reference.digest else None
    return ManifestUnknown(
        f"manifest for {reference.familiar} not found: manifest unknown: {error.message}",
        **{**error.detail, **({"hint": hint} if hint else {})},
    )


async def _close_tags(repository: Repository, reference: ImageReference) -> str | None:
    """What to ask for instead, None when the registry does not say."""
    try:
        tags = await _tags(repository)
    except RegistryError:
        return None
    close = difflib.get_close_matches(str(reference.target), tags, n=_CLOSE, cutoff=0.5) or tags[-_CLOSE:]
    if not close:
        return None
    return f"tags that come close: {', '.join(close)}; all of them: entrepot ls {reference.familiar_name}"


async def _tags(repository: Repository) -> list[Tag]:
    tags: list[Tag] = []
    last: str | None = ""
    while last is not None and len(tags) < _MOST_TAGS:
        page = await repository.list_tags(last=last, limit=_TAGS_PER_PAGE)
        tags += [Tag.parse(tag) for tag in page.items]
        last = page.last
    return tags


def _explained(error: RegistryError, reference: ImageReference) -> RegistryError:
    """A refusal says little: registries hide what exists from those who may not see it."""
    if isinstance(error, RepositoryUnknown):
        hint = f"entrepot catalog {reference.domain} lists the repositories there"
        message = f"repository {reference.familiar_name} not found: name unknown: {error.message}"
        return RepositoryUnknown(message, **{"hint": hint, **error.detail})
    if not isinstance(error, AccessDenied | Unauthenticated | NotFound) or "platforms" in error.detail:
        return error
    where = "" if reference.domain == "docker.io" else f" {reference.domain}"
    message = (
        f"pull access denied for {reference.familiar_name}, repository does not exist or may require "
        f"'entrepot login{where}': {error.message}"
    )
    return type(error)(message, **error.detail)
