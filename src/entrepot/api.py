"""What ``import entrepot`` offers: images pulled, pushed, copied and listed from Python, as the commands do it.

All functions are coroutines or asynchronous context managers; from a plain program use ``asyncio.run``::

    import asyncio
    import entrepot

    pulled = asyncio.run(entrepot.pull("localhost:5000/team/app:v1"))
    print(pulled.digest)

Errors are subclasses of RegistryError, or RegistryErrors when a registry names several at once. These arguments mean
the same everywhere: ``root`` is the folder of the image store, by default ``ENTREPOT_ROOT`` or the user's own;
``access`` says how registries are reached, and as whom; ``platform`` is written ``linux/arm64``; ``listener`` is told
each Event of a transfer, in the event loop's thread.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from entrepot.auth.secret import Credentials, Secret
from entrepot.client import NO_ENVIRONMENT, Access, Client, only
from entrepot.client_copy import Copying, CopyWishes
from entrepot.digest import Digest
from entrepot.errors import NotFound, RegistryError, RegistryErrors
from entrepot.folders import default_root
from entrepot.image_store.listing import ImageRow
from entrepot.image_store.opening import open_image_store
from entrepot.image_store.pulling import Pulled
from entrepot.image_store.pushing import require_pushable
from entrepot.image_store.store import ImageStore
from entrepot.platforms import Platform, host_platform
from entrepot.progress import Event, Listener, State
from entrepot.reference import ImageReference, RepositoryName, Tag
from entrepot.repositories.remote import RemoteRegistry
from entrepot.transfer.copy import Copied
from entrepot.transfer.graph import Choice, Reader, everything
from entrepot.transfer.listing import walk_repositories, walk_tags
from entrepot.transfer.places import Place

__all__ = [
    "Access",
    "Copied",
    "Credentials",
    "Digest",
    "Event",
    "ImageReference",
    "ImageRow",
    "ImageStore",
    "Listener",
    "NotFound",
    "Pulled",
    "RegistryError",
    "RegistryErrors",
    "RemoteRegistry",
    "RepositoryName",
    "Secret",
    "State",
    "Tag",
    "copy",
    "list_images",
    "list_repositories",
    "list_tags",
    "open_registry",
    "open_store",
    "pull",
    "push",
    "resolve",
    "tag",
]

ALL_PLATFORMS = "all"
ROOT_VARIABLE = "ENTREPOT_ROOT"  # the commands heed it as well

Root = Path | str | None


@asynccontextmanager
async def open_registry(domain: str, *, access: Access | None = None) -> AsyncIterator[RemoteRegistry]:
    """The registry at ``domain``, e.g. ``docker.io`` or ``localhost:5000``; nothing is asked before it is used.

    ``registry.repository(name)`` fulfils the contract in ``entrepot.repositories.base``: manifests, blobs, uploads,
    tags and referrers of one repository, whose name is spelt out there (``library/nginx``).
    """
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
    """Fetch an image into the image store, for this computer unless ``platform`` says another one or ``"all"``.

    What has come when it fails or is cancelled is kept, and the next call goes on from there. Raises what ``resolve``
    raises, DigestInvalid, SizeInvalid and LayerInvalid for wrong bytes, StorageFull.
    """
    reference = ImageReference.parse(name).with_default_tag()
    async with Client(_root(root), _access(access, listener)) as client:
        work = client.pull(reference, _choice(platform))
        return await work.run(reference, await work.read(reference))


async def push(
    name: str,
    *,
    root: Root = None,
    platform: str | None = None,
    access: Access | None = None,
    listener: Listener | None = None,
) -> Copied:
    """Send an image of the image store to the registry that its name begins with; one platform's alone if given.

    Raises ManifestUnknown or RepositoryUnknown when it is not in the store, PlatformUnknown when only part of it is,
    NameInvalid for a name with a digest, and Unauthenticated, AccessDenied, Unavailable as the registry says.
    """
    reference = ImageReference.parse(name).with_default_tag()
    require_pushable(reference)
    async with Client(_root(root), _access(access, listener)) as client:
        work = client.push(reference)
        wanted = Platform.parse(platform) if platform else None
        graph = await (work.read_one(reference, wanted) if wanted else work.read(reference))
        return await work.run(reference, graph)


async def copy(
    source: str,
    target: str,
    *,
    platform: str | None = None,
    referrers: bool = False,
    root: Root = None,
    access: Access | None = None,
    listener: Listener | None = None,
) -> Copied:
    """Copy an image from one place to another, its digest unchanged; all platforms unless one is given.

    Places are written as for ``entrepot copy``: a name (``HOST/NAME:TAG``), ``store:NAME``, ``oci:DIR:TAG``,
    ``oci-archive:FILE``, ``docker-archive:FILE``, ``docker-daemon:NAME``. ``referrers`` takes along signatures and
    whatever else is about the image. Raises NameInvalid, ArchiveInvalid, and what ``pull`` and ``push`` raise.
    """
    wishes = CopyWishes(platforms=(Platform.parse(platform),) if platform else (), referrers=referrers)
    async with Client(_root(root), _access(access, listener)) as client:
        done = await Copying(client, wishes).run(Place.parse(source), Place.parse(target))
        return Copied(done.root, done.moved)


async def tag(source: str, target: str, *, root: Root = None) -> None:
    """Give an image of the store another name. Raises ManifestUnknown, Invalid."""
    async with open_store(root) as store:
        await store.tag(source, target)


async def list_images(*, root: Root = None) -> list[ImageRow]:
    """The images of the store as ``entrepot images`` lists them, the newest first; sizes in bytes."""
    async with open_store(root) as store:
        return await store.list_images()


async def list_tags(name: str, *, access: Access | None = None) -> list[Tag]:
    """All tags of a repository at its registry, in the order in which that lists them. Raises RepositoryUnknown."""
    reference = ImageReference.parse(name)
    async with open_registry(reference.domain, access=access) as registry:
        return [each async for each in walk_tags(registry.repository(reference.path))]


async def list_repositories(domain: str, *, access: Access | None = None) -> list[str]:
    """The repositories of a registry that tells them. Raises Unsupported, Unauthenticated, AccessDenied."""
    async with open_registry(domain, access=access) as registry:
        return [each async for each in walk_repositories(registry)]


def _root(root: Root) -> Path:
    chosen = root if root is not None else os.environ.get(ROOT_VARIABLE)
    return Path(chosen).expanduser() if chosen else default_root(os.environ)


def _access(access: Access | None, listener: Listener | None = None) -> Access:
    access = access or Access()
    if access.environment is NO_ENVIRONMENT:
        access = replace(access, environment=os.environ)
    return access if listener is None else replace(access, listener=listener)


def _choice(platform: str | None) -> Choice:
    if platform == ALL_PLATFORMS:
        return everything
    return only(Platform.parse(platform) if platform else host_platform())
