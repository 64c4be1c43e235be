"""The power is cut at each call that makes things durable, and the disk keeps only what it had promised.

The first half is in this process, where every single call has its turn; the second is the real server.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.errors import NotFound, Unavailable
from entrepot.jobs.check import Check
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.reference import RepositoryName, Tag
from entrepot.repositories.local import LocalRegistry, LocalRepository
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.testing.faults import Fault, FaultPlan, FaultyCommit, FaultyDisk
from entrepot.testing.images import Image, build_image
from entrepot.testing.power_cut import DurableView
from entrepot.testing.repository_suite import push
from entrepot.testing.repository_upload_suite import chunk, read

from .client import post_patch_put, push_blob, push_image
from .registry import FaultyRegistry, require_clean
from .test_kills import STEPS

ONE, OTHER, THIRD = (RepositoryName.parse(name) for name in ("team/one", "team/other", "team/third"))
V1 = Tag.parse("v1")
A, B = b"some content" * 100, b"other content" * 100
OLD, NEW = build_image(1, seed=1), build_image(1, seed=2)


@dataclass
class Promised:
    """What a client has been told."""

    blobs: dict[tuple[RepositoryName, Digest], bytes] = field(default_factory=dict)
    tags: dict[Tag, Image] = field(default_factory=dict)
    gone: set[tuple[RepositoryName, Digest | Tag]] = field(default_factory=set)


@dataclass
class Machine:
    """A registry in this process, whose power can be cut."""

    folder: Path
    database: Path  # a new one, to be copied

    def __post_init__(self) -> None:
        self.root = self.folder / "root"
        self.root.mkdir()
        shutil.copy(self.database, self.root)
        self.plan = FaultPlan(self.folder / "plan")
        self.view = DurableView(self.root, self.folder / "view")
        self.view.database_synced()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[LocalRegistry]:
        store = FilesystemBlobStore(self.root, disk=FaultyDisk(self.plan, self.view))
        metadata = SqliteMetadata(self.root / "entrepot.db", commit=FaultyCommit(self.plan, self.view))
        yield LocalRegistry(store, metadata)
        await metadata.close()


Act = Callable[[LocalRegistry, Promised], Awaitable[None]]


async def push_a(registry: LocalRegistry, promised: Promised) -> None:
    digest = Digest.of(A)
    await registry.repository(ONE).put_blob(digest, chunk(A))
    promised.blobs[ONE, digest] = A


async def push_a_elsewhere(registry: LocalRegistry, promised: Promised) -> None:
    digest = Digest.of(A, "sha512")
    await registry.repository(OTHER).put_blob(digest, chunk(A))
    promised.blobs[OTHER, digest] = A


async def push_b_in_chunks(registry: LocalRegistry, promised: Promised) -> None:
    repository = registry.repository(ONE)
    upload_id = await repository.begin_upload()
    await repository.append(upload_id, chunk(B[:100]))
    await repository.append(upload_id, chunk(B[100:500]))
    await repository.finish_upload(upload_id, Digest.of(B), chunk(B[500:]))
    promised.blobs[ONE, Digest.of(B)] = B


async def mount_a(registry: LocalRegistry, promised: Promised) -> None:
    assert await registry.repository(THIRD).mount_blob(Digest.of(A), ONE) is not None
    promised.blobs[THIRD, Digest.of(A)] = A


async def push_old(registry: LocalRegistry, promised: Promised) -> None:
    await push(registry.repository(ONE), OLD, V1)
    promised.tags[V1] = OLD


async def move_tag(registry: LocalRegistry, promised: Promised) -> None:
    promised.tags.pop(V1, None)  # from here on it may be either
    await push(registry.repository(ONE), NEW, V1)
    promised.tags[V1] = NEW


async def delete_old(registry: LocalRegistry, promised: Promised) -> None:
    with suppress(NotFound):  # it may be gone already, and nobody was told
        await registry.repository(ONE).delete_manifest(OLD.digest)
    promised.gone.add((ONE, OLD.digest))


async def delete_a_elsewhere(registry: LocalRegistry, promised: Promised) -> None:
    digest = Digest.of(A, "sha512")
    promised.blobs.pop((OTHER, digest), None)
    with suppress(NotFound):
        await registry.repository(OTHER).delete_blob(digest)
    promised.gone.add((OTHER, digest))


ACTS: list[Act] = [
    push_a, push_a_elsewhere, push_b_in_chunks, mount_a, push_old, move_tag, delete_old, delete_a_elsewhere
]  # fmt: skip


@pytest.fixture
def machines(database: Path) -> Iterator[Callable[[], Machine]]:
    """New machines, in memory if there is such a place: it is the view that makes things durable here."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="entrepot-power-", dir=memory if memory.is_dir() else None))
    made: list[Machine] = []

    def make() -> Machine:
        place = folder / str(len(made))
        place.mkdir()
        made.append(Machine(place, database))
        return made[-1]

    yield make
    shutil.rmtree(folder)


async def act_until_the_power_fails(machine: Machine, promised: Promised) -> list[Act]:
    """Returns what was not done."""
    left = list(ACTS)
    async with machine.running() as registry:
        try:
            while left:
                await left[0](registry, promised)
                del left[0]
        except Unavailable:
            return left
    return []


async def require_promises(registry: LocalRegistry, promised: Promised) -> None:
    for (name, digest), content in promised.blobs.items():
        assert await read(await registry.repository(name).find_blob(digest)) == content
    for tag, image in promised.tags.items():
        assert (await registry.repository(ONE).get_manifest(tag)).content == image.manifest.data
    for name, reference in promised.gone:
        with pytest.raises(NotFound):
            await _find(registry.repository(name), reference)


async def _find(repository: LocalRepository, reference: Digest | Tag) -> object:
    if isinstance(reference, Tag) or reference == OLD.digest:
        return await repository.get_manifest(reference)
    return await repository.find_blob(reference)


@pytest.mark.parametrize("names_survive", [False, True], ids=["names_are_lost", "names_survive"])
async def test_everything_promised_survives_a_cut_at_every_call(
    machines: Callable[[], Machine], names_survive: bool
) -> None:
    """One cut before each call of the disk or the database, until there are no more calls."""
    number, left = 0, ACTS
    while left:
        number += 1
        machine, promised = machines(), Promised()
        machine.plan.set(Fault("any", "error", nth=number, times=0))
        left = await act_until_the_power_fails(machine, promised)
        last = machine.plan.calls()[-1]
        machine.view.cut(names_survive=names_survive)
        machine.plan.clear()
        async with machine.running() as registry:
            try:
                await require_promises(registry, promised)
                require_clean(await Check(registry.store, registry.metadata, grace_seconds=0).run())
                for act in left:
                    await act(registry, promised)
                await require_promises(registry, promised)
                require_clean(await Check(registry.store, registry.metadata, grace_seconds=0).run())
            except Exception as error:
                raise AssertionError(f"after a cut at call {number}, {last}, {len(left)} acts to go") from error
    assert number > 50  # else the scenario has shrunk


@pytest.mark.parametrize(
    ("step", "names_survive"),
    [
        ("saved", False),
        ("sync_folder", True),
        ("sync_folder", False),
        ("second_record", False),
        ("second_recorded", False),
    ],
)
def test_pushes_to_the_server_survive_a_cut(faulty: FaultyRegistry, step: str, names_survive: bool) -> None:
    content = f"{step} {names_survive}".encode() * 100
    before = b"before " + content
    client = faulty.run()
    digest = push_blob(client, "team/app", before)
    push_image(client, "team/app", "latest", OLD)
    faulty.die_at(STEPS[step], lambda client: post_patch_put(client, "team/app", content))
    faulty.view.cut(names_survive=names_survive)
    require_clean(faulty.check())
    client = faulty.run()
    assert client.get_blob("team/app", digest).body == before
    assert client.get_manifest("team/app", "latest").body == OLD.manifest.data
    assert post_patch_put(client, "team/app", content).status == 201
    require_clean(faulty.check())


def test_push_that_was_answered_survives_a_cut_right_after(fresh: FaultyRegistry) -> None:
    client = fresh.run()
    digests = [push_blob(client, f"team/{number}", b"%d" % number) for number in range(5)]
    assert post_patch_put(client, "team/app", A).status == 201
    push_image(client, "team/app", "latest", NEW)
    fresh.process.kill()
    fresh.view.cut()
    require_clean(fresh.check())
    client = fresh.run()
    assert [client.get_blob(f"team/{number}", digest).status for number, digest in enumerate(digests)] == [200] * 5
    assert client.get_blob("team/app", Digest.of(A)).body == A
    assert client.get_manifest("team/app", "latest").body == NEW.manifest.data
