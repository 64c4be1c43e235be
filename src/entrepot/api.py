"""What ``import entrepot`` offers: images pulled, pushed, copied and listed from Python, as the commands do it.

All functions are coroutines or asynchronous context managers; from a plain program use ``asyncio.run``::

    import asyncio
    import entrepot

    pulled = asyncio.run(entrepot.pull("localhost:5000/team/app:v1"))
    print(pulled.digest)

Errors are subclasses of ``entrepot.RegistryError``. ``root`` is the folder of the image store, the user's own by
default; ``access`` says how registries are reached; ``platform`` is written ``linux/arm64``, ``"all"`` means every one.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from entrepot.client import Access, Client, only
from entrepot.digest import Digest
from entrepot.errors import RegistryError
from entrepot.folders import default_root
from entrepot.image_store.listing import ImageRow
from entrepot.image_store.opening import open_image_store
from entrepot.image_store.pulling import Pulled
from entrepot.image_store.store import ImageStore
from entrepot.platforms import Platform, host_platform
from entrepot.progress import Event, Listener
from entrepot.reference import ImageReference, Tag
from entrepot.repositories.remote import RemoteRegistry
from entrepot.transfer.copy import Copied
from entrepot.transfer.graph import Choice, Reader, everything

__all__ = [
    "Access",
    "Copied",
    "Event",
    "ImageReference",
    "ImageStore",
    "Pulled",
    "RegistryError",
    "RemoteRegistry",
    "list_images",
    "list_tags",
    "open_registry",
    "open_store",
    "pull",
    "push",
    "resolve",
    "tag",
]

ALL = "all"
_TAGS_PER_PAGE = 1000

Root = Path | str | None


@asynccontextmanager
async def open_registry(domain: str, *, access: Access | None = None) -> AsyncIterator[RemoteRegistry]:
    """The registry at ``domain``, e.g. ``docker.io`` or ``localhost:5000``: its repositories, manifests and blobs."""
    async with Client(_root(None), _access(access)) as client:
        yield client.registry(domain, remember=False)


@asynccontextmanager
async def open_store(root: Root = None) -> AsyncIterator[ImageStore]:
    """The image store below ``root``; it is made when it is not there. Raises Unavailable."""
    async with open_image_store(_root(root)) as store:
        yield store


async def resolve(name: str, *, platform: str | None = None, access: Access | None = None) -> Digest:
    """The digest that a name stands for at its registry now; of one platform's image when ``platform`` is given.

    Raises ManifestUnknown, PlatformUnknown, Unauthenticated, AccessDenied, Unavailable.
    """
    reference = ImageReference.parse(name)
    async with open_registry(reference.domain, access=access) as registry:
        repository = registry.repository(reference.path)
        if platform is None:
            return (await repository.head_manifest(reference.target)).digest
        root = await Reader(repository, only(Platform.parse(platform))).read(reference.target)
        return root.children[0].digest if root.children else root.digest


async def pull(
    name: str,
    *,
    root: Root = None,
    platform: str | None = None,
    access: Access | None = None,
    listener: Listener | None = None,
) -> Pulled:
    """Fetch an image into the image store. ``listener`` is told each Event of the transfer.

    Raises what ``resolve`` raises, DigestInvalid and LayerInvalid for wrong bytes, StorageFull.
    """
    reference = ImageReference.parse(name).with_default_tag()
    async with Client(_root(root), _access(access, listener)) as client:
        work = client.pull(reference, _choice(platform))
        return await work.run(reference, await work.read(reference))


async def push(
    name: str, *, root: Root = None, access: Access | None = None, listener: Listener | None = None
) -> Copied:
    """Send an image of the image store to the registry that its name begins with.

    Raises ManifestUnknown when it is not in the store, PlatformUnknown when only part of it is.
    """
    reference = ImageReference.parse(name).with_default_tag()
    async with Client(_root(root), _access(access, listener)) as client:
        work = client.push(reference)
        return await work.run(reference, await work.read(reference))


async def tag(source: str, target: str, *, root: Root = None) -> None:
    """Give an image of the store another name. Raises ManifestUnknown, Invalid."""
    async with open_store(root) as store:
        await store.tag(source, target)


async def list_images(*, root: Root = None) -> list[ImageRow]:
    """The images of the store as ``entrepot images`` lists them, the newest first."""
    async with open_store(root) as store:
        return await store.list_images()


async def list_tags(name: str, *, access: Access | None = None) -> list[Tag]:
    """All tags of a repository at its registry. Raises RepositoryUnknown."""
    reference = ImageReference.parse(name)
    tags: list[Tag] = []
    async with open_registry(reference.domain, access=access) as registry:
        last: str | None = ""
        while last is not None:
            page = await registry.repository(reference.path).list_tags(last=last, limit=_TAGS_PER_PAGE)
            tags += [Tag.parse(tag) for tag in page.items]
            last = page.last
    return tags


def _root(root: Root) -> Path:
    return default_root(os.environ) if root is None else Path(root)


def _access(access: Access | None, listener: Listener | None = None) -> Access:
    access = access or Access(environment=os.environ)
    return access if listener is None else replace(access, listener=listener)


def _choice(platform: str | None) -> Choice:
    if platform == ALL:
        return everything
    return only(Platform.parse(platform) if platform else host_platform())
