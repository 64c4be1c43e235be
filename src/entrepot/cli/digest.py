"""``entrepot digest``: what a name stands for right now."""

from __future__ import annotations

import click

from entrepot.cli.network import Reach, network_options
from entrepot.cli.not_there import naming
from entrepot.client import Client
from entrepot.digest import Digest
from entrepot.platforms import Platform
from entrepot.reference import ImageReference
from entrepot.transfer.pick import pick_platform


@click.command()
@click.argument("name", metavar="[HOST/]NAME[:TAG|@DIGEST]")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of this platform's image, not of the index.")
@click.option("--full-ref", is_flag=True, help="Print it with its repository: HOST/NAME@DIGEST.")
@network_options
def digest(reach: Reach, name: str, platform: str | None, full_ref: bool) -> None:
    """Print the digest of an image in a registry.

    That is the digest of its manifest, or of its index when it is there for several platforms.

    \b
    Example:
      entrepot digest nginx:1.23.3
      entrepot digest --platform linux/arm64 --full-ref localhost:5000/team/app
    """
    reference = ImageReference.parse(name)
    wanted = Platform.parse(platform) if platform is not None else None
    found = reach.run(lambda client: _resolve(client, reference, wanted))
    click.echo(f"{reference.name}@{found}" if full_ref else found)


async def _resolve(client: Client, reference: ImageReference, platform: Platform | None) -> Digest:
    repository = client.registry(reference.domain, remember=False).repository(reference.path)
    with naming(reference):
        if platform is None:
            return (await repository.head_manifest(reference.target)).digest
        return (await pick_platform(repository, reference.target, platform)).digest
