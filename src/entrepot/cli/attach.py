"""``entrepot attach``: put a signature, an SBOM or any other file beside an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from entrepot.cli.network import Reach, network_options
from entrepot.cli.not_there import naming
from entrepot.client import Client
from entrepot.digest import Digest
from entrepot.errors import ParameterInvalid
from entrepot.manifest import ManifestHead
from entrepot.platforms import Platform
from entrepot.reference import ImageReference
from entrepot.repositories.base import Repository
from entrepot.store.threads import DiskThreads
from entrepot.transfer.attaching import DEFAULT_TYPE, AttachedFile, FileBlob, build_artifact_manifest, push_artifact
from entrepot.transfer.pick import pick_platform


@click.command(short_help="Attach files to an image in a registry.")
@click.argument("name", metavar="[HOST/]NAME[:TAG|@DIGEST]")
@click.argument("files", metavar="FILE[:MEDIATYPE]", nargs=-1)
@click.option("--type", "artifact_type", metavar="TYPE", required=True, help="What it is, as a media type.")
@click.option("--annotation", "annotations", metavar="KEY=VALUE", multiple=True, help="Say this of it; repeatable.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Attach it to this platform's image.")
@network_options
def attach(
    reach: Reach,
    name: str,
    files: Sequence[str],
    artifact_type: str,
    annotations: Sequence[str],
    platform: str | None,
) -> None:
    """Attach files to an image in a registry, and print the digest of what holds them.

    The image itself stays as it is: the files go into an artifact that refers to it, and that entrepot referrers
    lists. The same files give the same digest.

    \b
    Example:
      entrepot attach localhost:5000/team/app:v1 --type application/spdx+json sbom.json:application/spdx+json
      entrepot attach localhost:5000/team/app:v1 --type application/vnd.example.approval --annotation by=anna
    """
    reference = ImageReference.parse(name)
    wanted = Platform.parse(platform) if platform is not None else None
    said = dict(map(_annotation, annotations))
    chosen = [_file(text) for text in files]
    click.echo(reach.run(lambda client: _attach(client, reference, wanted, artifact_type, chosen, said)))


async def _attach(
    client: Client,
    reference: ImageReference,
    platform: Platform | None,
    artifact_type: str,
    files: Sequence[tuple[Path, str]],
    annotations: dict[str, str],
) -> Digest:
    repository = client.remote(reference)
    threads = DiskThreads(1)
    attached = [AttachedFile(await FileBlob.of(path, threads), kind) for path, kind in files]
    with naming(reference):
        subject = await _subject(repository, reference, platform)
    content = build_artifact_manifest(subject, artifact_type, attached, annotations)
    return await push_artifact(repository, content, attached)


async def _subject(repository: Repository, reference: ImageReference, platform: Platform | None) -> ManifestHead:
    if platform is None:
        return await repository.head_manifest(reference.target)
    node = await pick_platform(repository, reference.target, platform)
    return ManifestHead(node.digest, node.manifest.media_type, len(node.manifest.content))


def _file(text: str) -> tuple[Path, str]:
    """``FILE:MEDIATYPE``, or a file alone, whatever its name. Raises ParameterInvalid when there is no such file."""
    path, colon, kind = text.rpartition(":")
    if not colon or "/" not in kind or Path(text).is_file():
        path, kind = text, DEFAULT_TYPE
    if not Path(path).is_file():
        raise ParameterInvalid(f"there is no file {path}", file=path)
    return Path(path), kind


def _annotation(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ParameterInvalid(f"expected an annotation as KEY=VALUE, got {text!r}", annotation=text)
    return key, value
