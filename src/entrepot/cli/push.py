"""``entrepot push``: with docker's words, and the way out of the mistake that everybody makes once."""

from __future__ import annotations

import click

from entrepot.cli.completion import complete_image
from entrepot.cli.network import Reach, network_options, parallel_option
from entrepot.cli.not_there import warn_of_bare_registry
from entrepot.cli.progress import Mode, progress_for, progress_option
from entrepot.cli.pull import Talk
from entrepot.client import Client
from entrepot.errors import (
    AccessDenied,
    ManifestUnknown,
    NotFound,
    ParameterInvalid,
    PlatformUnknown,
    RegistryError,
    RepositoryUnknown,
    Unauthenticated,
)
from entrepot.image_store.pushing import require_pushable
from entrepot.platforms import Platform
from entrepot.reference import DEFAULT_DOMAIN, DEFAULT_TAG, ImageReference, Tag

_OFFICIAL = "library/"
_TAGS_AT_ONCE = 10_000
_TAGS_SHOWN = 5


@click.command(short_help="Send an image to a registry.")
@click.argument("name", metavar="[HOST/]NAME[:TAG]", shell_complete=complete_image)
@click.option("-a", "--all-tags", is_flag=True, help="Send all tags of the repository.")
@click.option("-q", "--quiet", is_flag=True, help="Print the full name of the image only.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Send the image for this platform alone.")
@parallel_option
@progress_option
@network_options
def push(reach: Reach, name: str, all_tags: bool, quiet: bool, platform: str | None, progress: Mode) -> None:
    """Send an image of the image store to the registry that its name begins with.

    Without a host that is docker.io, without a tag it is latest. To send it elsewhere, give it a name that begins with
    that registry first, by entrepot tag. Layers that are there are not sent again; an interrupted push goes on from
    where it was.

    \b
    Example:
      entrepot tag nginx:1.23.3 localhost:5000/team/nginx:1.23.3
      entrepot push localhost:5000/team/nginx:1.23.3
    """
    reference = ImageReference.parse(name)
    warn_of_bare_registry(reference)
    require_pushable(reference)
    if all_tags and reference.tag:
        raise ParameterInvalid("tag can't be used with --all-tags/-a", name=name)
    wanted = Platform.parse(platform) if platform else None
    with progress_for("none" if quiet else progress, "push") as shown:
        talk = Talk(quiet, shown)
        reach.run(
            lambda client: _push(client, reference, wanted, talk, all_tags=all_tags),
            listener=shown,
        )


async def _push(
    client: Client, reference: ImageReference, platform: Platform | None, talk: Talk, *, all_tags: bool
) -> None:
    if not all_tags and not reference.tag:
        talk.say(f"Using default tag: {DEFAULT_TAG}")
    talk.say(f"The push refers to repository [{reference.name}]")
    tags = await _all_tags(client, reference) if all_tags else [Tag(reference.target)]
    for tag in tags:
        await _push_one(client, reference.at(tag), platform, talk)
    click.echo(reference.name if all_tags else str(reference.with_default_tag())) if talk.quiet else None


async def _all_tags(client: Client, reference: ImageReference) -> list[Tag]:
    tags = await _tags(client, reference)
    if not tags:
        raise ManifestUnknown(f"An image does not exist locally with the tag: {reference.familiar_name}")
    return tags


async def _tags(client: Client, reference: ImageReference) -> list[Tag]:
    try:
        page = await client.store.repository(reference.stored_name).list_tags(limit=_TAGS_AT_ONCE)
    except RepositoryUnknown:
        return []
    return [Tag(tag) for tag in page.items]


async def _push_one(client: Client, reference: ImageReference, platform: Platform | None, talk: Talk) -> None:
    push = client.push(reference)
    try:
        root = await (push.read_one(reference, platform) if platform else push.read(reference))
    except (ManifestUnknown, RepositoryUnknown) as error:
        raise await _absent(client, reference) from error
    _require_owner(client, reference)
    try:
        copied = await push.run(reference, root)
    except PlatformUnknown:
        raise
    except (AccessDenied, Unauthenticated, NotFound) as error:
        raise _explained(client, error, reference) from error
    talk.say(f"{reference.tag}: digest: {copied.digest} size: {len(copied.root.manifest.content)}")
    if copied.digest != root.digest:
        talk.progress.message(
            "Not all platforms of this image are here, so the one that is was pushed alone:\n"
            f"{root.digest} -> {copied.digest}"
        )


async def _absent(client: Client, reference: ImageReference) -> ManifestUnknown:
    """Docker's words, which depend on whether there is any image of that repository."""
    tags = await _tags(client, reference)
    if not tags:
        message = f"An image does not exist locally with the tag: {reference.familiar_name}"
        hint = "entrepot images lists what there is; entrepot tag gives an image this name"
        return ManifestUnknown(message, hint=hint)
    shown = ", ".join(tags[:_TAGS_SHOWN]) + (", ..." if len(tags) > _TAGS_SHOWN else "")
    return ManifestUnknown(f"tag does not exist: {reference.familiar}", hint=f"here it has the tags: {shown}")


def _require_owner(client: Client, reference: ImageReference) -> None:
    """Whoever is not logged in cannot push an official image; that is said before anything is tried."""
    if _is_official(reference) and client.find_credentials(reference.domain) is None:
        raise _explained(client, AccessDenied("requested access to the resource is denied"), reference)


def _explained(client: Client, error: RegistryError, reference: ImageReference) -> RegistryError:
    message = error.message if error.message.startswith(("denied:", "unauthorized:")) else f"denied: {error.message}"
    hint = _advice(client, reference) if _is_official(reference) else _login(reference)
    return type(error)(message, **{**error.detail, "hint": hint})


def _is_official(reference: ImageReference) -> bool:
    return reference.domain == DEFAULT_DOMAIN and reference.path.startswith(_OFFICIAL)


def _advice(client: Client, reference: ImageReference) -> str:
    credentials = client.find_credentials(DEFAULT_DOMAIN)
    user = credentials.username if credentials and credentials.username else "USER"
    target = f"{user}/{reference.path.removeprefix(_OFFICIAL)}:{reference.tag}"
    login = "" if credentials else "\n  entrepot login"
    return (
        f"{reference.familiar} names neither a registry nor a user, so it would go among the official images of "
        f"{DEFAULT_DOMAIN}. Tag it with the user or registry that it is to go to:{login}\n"
        f"  entrepot tag {reference.familiar} {target}\n"
        f"  entrepot push {target}\n"
        f"Or, for a registry of your own: localhost:5000/{reference.path.removeprefix(_OFFICIAL)}:{reference.tag}"
    )


def _login(reference: ImageReference) -> str:
    where = "" if reference.domain == DEFAULT_DOMAIN else f" {reference.domain}"
    return f"may {reference.familiar_name} be pushed by this user? entrepot login{where} changes who you are"
