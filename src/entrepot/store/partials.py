"""Blobs that arrive piece by piece, in any order, over several runs; ``partial_files.py`` draws what lies where."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from entrepot.digest import CANONICAL, Digest, require_match
from entrepot.errors import DigestInvalid, SizeInvalid, Unavailable
from entrepot.store import partial_files
from entrepot.store.base import StoredBlob
from entrepot.store.folder import BlobFolder
from entrepot.store.gathering import Gathering
from entrepot.store.partial_files import Claim, PartialFiles
from entrepot.store.prefix_hash import PrefixHash
from entrepot.store.spans import Spans
from entrepot.store.threads import DiskThreads, wait_out

WRITE_PIECE = 1024 * 1024
_FIRST_WAIT_SECONDS = 0.01
_LONGEST_WAIT_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Often:
    """After how many bytes, or seconds, it is time to save what came: what a power cut may cost.

    A kill costs no more than ``noted`` bytes of each stream, and what is in memory.
    """

    size: int = 32 * 1024 * 1024
    seconds: float = 5.0
    noted: int = 1024 * 1024


class FilesystemPartials:
    """The partials of one folder."""

    def __init__(self, folder: BlobFolder, threads: DiskThreads, often: Often) -> None:
        self._folder = folder
        self._threads = threads
        self._often = often

    @asynccontextmanager
    async def open(self, digest: Digest, size: int) -> AsyncIterator[FilesystemPartial]:
        """See ``PartialStore.open_partial``."""
        files = await self._take(digest)
        try:
            claim = await self._threads.run(files.load, size)
            partial = FilesystemPartial(files, self._threads, claim, self._often)
        except BaseException:
            files.release()
            raise
        try:
            yield partial
        except BaseException:
            with suppress(Unavailable):  # what went wrong before is more important
                await partial.close()
            raise
        else:
            await partial.close()

    async def _take(self, digest: Digest) -> PartialFiles:
        wait = _FIRST_WAIT_SECONDS
        while True:
            taken = await self._threads.run(PartialFiles.take, self._folder, digest, undo=_release)
            if taken is not None:
                return taken
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    async def walk(self) -> AsyncIterator[tuple[Digest, int]]:
        for found in await self._threads.run(partial_files.walk, self._folder):
            yield found

    async def discard(self, digest: Digest) -> bool:
        return await self._threads.run(partial_files.discard, self._folder, digest)


class FilesystemPartial:
    """A partial in its files. All but the disk work happens on the event loop, so nothing here needs a lock."""

    def __init__(self, files: PartialFiles, threads: DiskThreads, claim: Claim, often: Often) -> None:
        self.digest = files.digest
        self.size = claim.size
        self.validator = claim.validator
        self._files = files
        self._threads = threads
        self._there = Spans(claim.spans)
        self._taken = Spans(claim.spans)  # what is there and what is being written: nothing is written twice
        self._hash = PrefixHash.resume(threads, files.fd, self._algorithms, claim.hashed, claim.hashes)
        self._hash.advance(self._there.prefix())
        self._jobs: set[asyncio.Task[None]] = set()
        self._is_open, self._is_committed = True, False
        self._claimed = claim
        self._unsaved = self._unnoted = 0
        self._often = often
        self._saved_at = _now()
        self._saving: asyncio.Task[None] | None = None
        self._noting: asyncio.Task[None] | None = None
        self._refused: Unavailable | None = None  # a claim could not be written
        self._lost: Unavailable | None = None  # a sync failed: nobody knows what is on the disk

    @property
    def _algorithms(self) -> set[str]:
        return {CANONICAL, self.digest.algorithm}

    async def set_validator(self, validator: str) -> None:
        self.validator = validator

    def missing(self) -> list[tuple[int, int]]:
        return self._there.missing(0, self.size)

    def prefix(self) -> int:
        return self._there.prefix()

    async def write(self, start: int, pieces: AsyncIterable[bytes]) -> int:
        gathering = Gathering(self._require_inside(start, start))
        writing: asyncio.Task[None] | None = None
        written_at = _now()
        try:
            async for piece in pieces:
                room = self.size - gathering.end
                gathering.add(piece[:room] if len(piece) > room else piece)
                self._require_inside(start, gathering.end + max(0, len(piece) - room))
                if gathering.size >= WRITE_PIECE or _now() >= written_at + self._often.seconds:
                    await _ended(writing)
                    written_at = _now()
                    writing = self._begin(self._put(*gathering.take()))
        finally:
            await _ended(writing)
            if gathering.size:
                await _ended(self._begin(self._put(*gathering.take())))
        return gathering.end

    def _require_inside(self, start: int, end: int) -> int:
        if not 0 <= start <= end <= self.size:
            raise SizeInvalid(
                f"{self.digest} has {self.size} bytes, and there came some from {start} up to {end}",
                expected=self.size,
                actual=end,
            )
        return start

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._forget)
        return job

    def _forget(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        if not job.cancelled():
            job.exception()  # whoever waits for it is told; and if nobody does, asyncio need not complain

    async def _put(self, start: int, pieces: Sequence[bytes], size: int) -> None:
        self._require_sound()
        end = start + size
        gaps = self._taken.missing(start, end)
        self._taken.add(start, end)
        try:
            for first, last in gaps:
                whole = last - first == size
                await self._put_gap(first, pieces if whole else [b"".join(pieces)[first - start : last - start]], last)
        finally:
            for gap in gaps:
                for first, last in self._there.missing(*gap):
                    self._taken.remove(first, last)
        self._note_behind()
        await self._save_behind()

    async def _put_gap(self, start: int, pieces: Sequence[bytes], end: int) -> None:
        await self._threads.run(self._files.write, pieces, start)
        self._there.add(start, end)
        self._unsaved += end - start
        self._unnoted += end - start
        await self._hash.feed(start, pieces, end - start, prefix=self._there.prefix())

    def _require_sound(self) -> None:
        if not self._is_open:
            raise RuntimeError("a partial is written to after it was left")
        if self._lost is not None:
            raise self._lost
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused

    async def _save_behind(self) -> None:
        """Save now and then while more comes in; who is much faster than the disk has to wait for it."""
        while self._unsaved >= self._often.size and self._saving is not None:
            await asyncio.wait({self._saving})
        is_due = self._unsaved >= self._often.size or _now() >= self._saved_at + self._often.seconds
        if self._saving is None and self._unsaved and is_due:
            self._unsaved, self._saved_at = 0, _now()
            self._saving = self._begin(self._save(self._claim()))

    def _note_behind(self) -> None:
        if self._unnoted >= self._often.noted and self._noting is None and self._lost is None:
            self._unnoted = 0
            self._noting = self._begin(self._note(self._claim()))

    async def _note(self, claim: Claim) -> None:
        try:
            await self._threads.run(self._files.note, claim)
        finally:
            self._noting = None
        self._note_behind()  # what came meanwhile

    def _claim(self) -> Claim:
        hashed, states = self._hash.snapshot
        return Claim(self.size, tuple(self._there.as_list()), hashed, states, self.validator)

    async def _save(self, claim: Claim) -> None:
        try:
            if await self._sync():
                await self._threads.run(self._files.claim, claim)
                self._claimed = claim
        except Unavailable as error:
            self._refused = error
        finally:
            self._saving = None

    async def _sync(self) -> bool:
        try:
            await self._threads.run(self._files.sync)
        except Unavailable as error:
            self._lost = error
            await wait_out({self._noting} if self._noting else ())
            await self._threads.run(self._files.drop_note)
        return self._lost is None

    async def restart(self) -> None:
        await wait_out(self._jobs)
        await self._hash.stop()
        self._there, self._taken = Spans(), Spans()
        self._hash = PrefixHash(self._threads, self._files.fd, self._algorithms)
        self.validator, self._claimed = None, Claim(self.size)
        self._refused = self._lost = None
        self._unsaved = 0
        await self._threads.run(self._files.clear)

    async def commit(self) -> StoredBlob:
        self._require_all()
        syncing = self._begin(self._sync_all())
        await self._hash.finish()
        try:
            require_match(self.digest, self._hash.hashes[self.digest.algorithm].digest(), self.size)
        except DigestInvalid:
            await self.restart()
            raise
        await _ended(syncing)
        canonical = self._hash.hashes[CANONICAL].digest()
        location = await self._threads.run(self._files.place, canonical)
        self._is_committed = True
        return StoredBlob(canonical, self.size, location)

    def _require_all(self) -> None:
        missing = self.missing()
        if missing:
            there = self.size - sum(end - start for start, end in missing)
            raise SizeInvalid(
                f"{self.digest} has {self.size} bytes, {there} of them are there", expected=self.size, actual=there
            )

    async def _sync_all(self) -> None:
        while others := {job for job in self._jobs if not job.done()} - {asyncio.current_task()}:
            await wait_out(others)  # and for what these have begun
        if not await self._sync():
            self._require_sound()

    async def close(self) -> None:
        """Let go of it, and keep what is there and not committed. However it ends, the next one may have it."""
        self._is_open = False
        try:
            await self._end_jobs()
            claim = self._claim()
            if not self._is_committed and self._lost is None and (claim != self._claimed or not claim.spans):
                await self._threads.run(self._files.keep, claim)
        finally:
            self._files.release()

    async def _end_jobs(self) -> None:
        try:
            await wait_out(self._jobs)
        finally:
            await self._hash.stop()


async def _ended(job: asyncio.Task[None] | None) -> None:
    """Wait for it without taking it along when we are cancelled."""
    if job is not None:
        await asyncio.wait({job})
        job.result()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _release(taken: PartialFiles | None) -> None:
    if taken is not None:
        taken.release()
