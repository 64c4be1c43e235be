"""A program that fetches one blob, to be killed: ``python -m tests.faults.fetching FOLDER SIZE``.

``FOLDER`` holds the store (``root``), the plan of faults (``plan``) and what a power cut leaves (``view``).
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from entrepot.digest import Digest
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.reference import RepositoryName
from entrepot.repositories.base import Fetch
from entrepot.repositories.local import LocalRegistry, LocalRepository
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.store.partials import Often
from entrepot.testing.faults import FaultPlan, FaultyCommit, FaultyDisk
from entrepot.testing.power_cut import DurableView

MIB = 1024 * 1024
SAVE_EVERY = MIB
NAME = RepositoryName.parse("docker.io/library/app")
_REPOSITORY_FOLDER = Path(__file__).parents[2]


def content_of(size: int) -> bytes:
    """The same bytes in every process."""
    return random.Random(size).randbytes(size)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[LocalRepository]:
    """The repository in ``folder``, under its faults."""
    plan, view = FaultPlan(folder / "plan"), DurableView(folder / "root", folder / "view")
    disk = FaultyDisk(plan, view)
    store = FilesystemBlobStore(folder / "root", disk=disk, save_partials=Often(size=SAVE_EVERY, seconds=3600))
    metadata = SqliteMetadata(folder / "root" / "entrepot.db", commit=FaultyCommit(plan, view))
    try:
        yield LocalRegistry(store, metadata).repository(NAME)
    finally:
        await metadata.close()


async def pieces_of(content: bytes) -> AsyncIterator[bytes]:
    """As a connection gives them."""
    for start in range(0, len(content), 64 * 1024):
        yield content[start : start + 64 * 1024]
        await asyncio.sleep(0)


async def fill(fetch: Fetch, content: bytes) -> None:
    """Write what is missing in two halves of each span at once."""
    async with asyncio.TaskGroup() as tasks:
        for start, end in fetch.missing():
            middle = (start + end) // 2
            for first, last in ((start, middle), (middle, end)):
                tasks.create_task(fetch.write(first, pieces_of(content[first:last])))


async def fetch_blob(folder: Path, size: int) -> None:
    """Fetch it if it is not there."""
    content = content_of(size)
    async with opened(folder) as repository, repository.fetch_blob(Digest.of(content), size) as fetch:
        if fetch.blob is None:
            await fill(fetch, content)
            await fetch.commit()


def start(folder: Path, size: int) -> subprocess.Popen[bytes]:
    """The program, running."""
    command = [sys.executable, "-m", "tests.faults.fetching", str(folder), str(size)]
    return subprocess.Popen(command, cwd=_REPOSITORY_FOLDER)


if __name__ == "__main__":
    asyncio.run(fetch_blob(Path(sys.argv[1]), int(sys.argv[2])))
