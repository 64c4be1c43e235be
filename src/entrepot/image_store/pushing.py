"""Push: an image of the store to the registry that its name begins with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from entrepot.digest import Digest
from entrepot.errors import NameInvalid, NotFound, PlatformUnknown
from entrepot.image import index_entries
from entrepot.image_store.catalogue import read_shelf
from entrepot.image_store.pulling import stored_names
from entrepot.metadata import origins
from entrepot.platforms import Platform
from entrepot.reference import ImageReference, RepositoryName, Tag
from entrepot.repositories.base import Repository
from entrepot.repositories.local import LocalRegistry
from entrepot.transfer.copy import Copied, Options, copy_graph
from entrepot.transfer.graph import Node, OnlyPlatforms, Reader


@dataclass(frozen=True, slots=True)
class Push:
    """Sends images of the store to one repository."""

    store: LocalRegistry
    target: Repository
    options: Options

    async def read(self, reference: ImageReference) -> Node:
        """What there is to push: what the tag points to, with all below it that is here. Raises ManifestUnknown."""
        source = self.store.repository(reference.stored_name)
        return await Reader(source, self.options.choice, skip_absent=True).read(reference.target)

    async def _acceptable(self, reference: ImageReference, root: Node) -> Node:
        """``root``, if the registry has what is missing of it here; else the one image that is here."""
        if not root.left_out or await self._has_rest(root):
            return root
        if len(_platforms(root)) == 1 and len(root.children) == 1:
            return root.children[0]
        require_whole(reference, root, await self._pulled_as(root) or reference)
        return root

    async def _has_rest(self, root: Node) -> bool:
        try:
            for entry in root.left_out:
                await self.target.head_manifest(Digest.parse(entry.descriptor.digest))
        except NotFound:
            return False
        return True

    async def _pulled_as(self, root: Node) -> ImageReference | None:
        """The name that a part of an index came by, before it was given others."""
        for child in root.children:
            for name in await self.store.metadata.read_much(origins.holders(child.digest)):
                shelf = await self.store.metadata.read_much(read_shelf(RepositoryName(name)))
                kept = shelf.manifests.get(root.digest) if shelf is not None else None
                if kept is not None:
                    target = Tag(kept.tags[0].name) if kept.tags else root.digest
                    return ImageReference.from_stored_name(name, target)
        return None

    async def read_one(self, reference: ImageReference, platform: Platform) -> Node:
        """The image for one platform, to be pushed without the index around it.

        Raises ManifestUnknown, and PlatformUnknown when it is not there.
        """
        source = self.store.repository(reference.stored_name)
        root = await Reader(source, OnlyPlatforms((platform,)), skip_absent=True).read(reference.target)
        if not root.is_index:
            return root
        if not root.children:
            raise PlatformUnknown(
                f"{reference.familiar} is not here for {platform}",
                platform=str(platform),
                hint=f"fetch it first with: entrepot pull --platform {platform} {reference.familiar}",
            )
        return root.children[0]

    async def run(self, reference: ImageReference, root: Node) -> Copied:
        """Push what ``read`` has found, and let the registry's tag point to it.

        Registries refuse an index of which they lack a part. So of one that is here for a single platform, that
        image is pushed alone; the outcome's ``root`` says so. Raises PlatformUnknown for a larger part.
        """
        root = await self._acceptable(reference, root)
        name = reference.stored_name
        source = self.store.repository(name)
        options = replace(self.options, mounts=MountsOf(self.store, reference).candidates)
        copied = await copy_graph(source, self.target, root, tags=[Tag(reference.target)], options=options)
        await self.store.metadata.write(origins.record_origin(name, copied.digest, self.store.now()))
        return copied


def require_whole(reference: ImageReference, root: Node, pulled_as: ImageReference) -> None:
    """Raises PlatformUnknown unless every image of an index is there: registries refuse an index without them."""
    here = _platforms(root)
    missing = [str(entry.platform or entry.descriptor.digest) for entry in root.left_out if not entry.is_attestation]
    if not missing and not here:
        return
    name = reference.familiar
    raise PlatformUnknown(
        f"{name} is an image for several platforms, and only part of it is here: "
        f"{', '.join(here) or 'none'}; missing: {', '.join(missing) or 'attestations'}",
        missing=missing,
        hint=f"push one platform alone with: entrepot push --platform {here[0] if here else 'linux/amd64'} {name}, "
        f"or fetch the rest first with: entrepot pull --all-platforms {pulled_as.familiar}"
        + ("" if pulled_as == reference else f", then entrepot tag {pulled_as.familiar} {name}"),
    )


def _platforms(root: Node) -> list[str]:
    left_out = {entry.descriptor.digest for entry in root.left_out}
    here = [entry for entry in index_entries(root.manifest) if entry.descriptor.digest not in left_out]
    return [str(entry.platform) for entry in here if entry.platform and not entry.is_attestation]


@dataclass(frozen=True, slots=True)
class MountsOf:
    """Which repositories of the registry are known to hold a layer: those it was pulled from or pushed to."""

    store: LocalRegistry
    reference: ImageReference

    async def candidates(self, digest: Digest) -> list[RepositoryName]:
        names = await self.store.metadata.read_much(origins.holders(digest))
        found = stored_names(names, self.reference.domain)
        return [name for name in found if name != self.reference.path][:3]


@dataclass(frozen=True, slots=True)
class StoredPushes:
    """Remembers unfinished uploads in the store's database, for the next run."""

    store: LocalRegistry

    async def find(self, domain: str, name: str, digest: Digest) -> str | None:
        return await self.store.metadata.read(origins.find_push(f"{domain}/{name}", digest))

    async def remember(self, domain: str, name: str, digest: Digest, location: str) -> None:
        put = origins.put_push(f"{domain}/{name}", digest, location, self.store.now())
        await self.store.metadata.write(put, durable=False)

    async def forget(self, domain: str, name: str, digest: Digest) -> None:
        await self.store.metadata.write(origins.forget_push(f"{domain}/{name}", digest), durable=False)


def require_pushable(reference: ImageReference) -> None:
    """Raises NameInvalid for a digest: only tags can be pushed."""
    if reference.digest is not None:
        raise NameInvalid("cannot push a digest reference", name=reference.familiar)
