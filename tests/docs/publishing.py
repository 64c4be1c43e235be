"""Puts images into a registry, for pages that pull them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from entrepot.client import Client
from entrepot.reference import RepositoryName, Tag
from entrepot.testing.images import Image, Index
from entrepot.testing.repository_suite import push


def publish(content: Image | Index, host: str, name: str, *tags: str) -> None:
    """Put an image into the registry at ``host``, under each tag."""

    async def upload() -> None:
        async with Client(Path("/nonexistent")) as client:
            repository = client.registry(host, remember=False).repository(RepositoryName(name))
            await push(repository, content, *(Tag(tag) for tag in tags))

    asyncio.run(upload())
