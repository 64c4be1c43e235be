"""``entrepot inspect --remote``: the same of an image at its registry, without fetching its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from entrepot.cli.inspect import print_documents, require_type
from entrepot.cli.network import Reach, network_options
from entrepot.client import Client, only
from entrepot.digest import Digest
from entrepot.errors import ManifestInvalid, RegistryError, RegistryErrors
from entrepot.image import image_config, image_layers, parse_config
from entrepot.image_store.documents import image_document
from entrepot.image_store.lookup import ImageRecord
from entrepot.image_store.pulling import MAX_CONFIG, read_blob
from entrepot.manifest import IMAGE_TYPES
from entrepot.platforms import Platform, host_platform
from entrepot.reference import ImageReference
from entrepot.transfer.graph import Node, Reader


@click.command(short_help="Show everything about an image at its registry.")
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True)
@click.option("-f", "--format", "form", metavar="FORMAT", default="", help="json, or a Go template.")
@click.option("--type", "kind", metavar="TYPE", default="", help="image, as docker has it; there is nothing else here.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of an image for several platforms, this one.")
@click.option("--remote", is_flag=True, help="Ask the registry.")
@network_options
def inspect(
    reach: Reach,
    names: Sequence[str],
    form: str,
    kind: str,
    platform: str | None,
    remote: bool,  # noqa: ARG001
) -> None:
    """Show everything about images at their registries, as JSON.

    Size is that of the compressed layers.

    \b
    Example:
      entrepot inspect --remote nginx:1.23.3
      entrepot inspect --remote --platform linux/arm64 -f '{{.Id}}' nginx:1.23.3
    """
    require_type(kind)
    wanted = Platform.parse(platform) if platform else host_platform()

    async def inspect_all(client: Client) -> tuple[list[dict[str, Any]], list[RegistryError]]:
        documents: list[dict[str, Any]] = []
        errors: list[RegistryError] = []
        for name in names:
            try:
                documents.append(await _inspect(client, ImageReference.parse(name).with_default_tag(), wanted))
            except RegistryError as error:
                errors.append(error)
        return documents, errors

    documents, errors = reach.run(inspect_all)
    print_documents(documents, form)
    if errors:
        raise RegistryErrors(errors)


async def _inspect(client: Client, reference: ImageReference, wanted: Platform) -> dict[str, Any]:
    repository = client.registry(reference.domain, remember=False).repository(reference.path)
    top = await repository.get_manifest(reference.target)
    root = await Reader(repository, only(wanted)).read(top.digest)
    image = next((node for node in root.walk() if node.manifest.media_type in IMAGE_TYPES), None)
    if image is None:
        raise ManifestInvalid(f"{reference.familiar} is no image but {top.media_type}", media_type=top.media_type)
    config = parse_config(await _config_of(repository, image))
    layers = tuple(layer.descriptor for layer in image_layers(image.manifest))
    descriptor = image_config(image.manifest)
    record = ImageRecord(
        reference.stored_name, reference.tag, top, top, Digest.parse(descriptor.digest), descriptor, layers
    )
    names = [*([reference] if reference.tag and not reference.digest else []), reference.at(top.digest)]
    return image_document(record, config, names, size=sum(layer.size for layer in layers), tagged_at=None)


async def _config_of(repository: Any, image: Node) -> bytes:
    digest = Digest.parse(image_config(image.manifest).digest)
    return await read_blob(await repository.find_blob(digest), limit=MAX_CONFIG)
