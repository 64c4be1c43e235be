"""One image out of an index, when a platform is asked for."""

from __future__ import annotations

from entrepot.digest import Digest
from entrepot.platforms import Platform
from entrepot.reference import Tag
from entrepot.repositories.base import Repository
from entrepot.transfer.graph import Node, OnlyPlatforms, Reader


async def pick_platform(source: Repository, reference: Tag | Digest, platform: Platform) -> Node:
    """The image for ``platform``; what is no index is taken as it is. Raises NotFound, PlatformUnknown."""
    return lone_image(await Reader(source, OnlyPlatforms((platform,))).read(reference))


def lone_image(root: Node) -> Node:
    """The image of an index of which only one is to be copied; else ``root``."""
    while root.is_index and len(root.children) == 1 and not root.loose:
        [root] = root.children
    return root
