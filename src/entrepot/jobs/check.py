"""Reads everything that is stored and tells what is missing, corrupt or orphaned. May run beside a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from entrepot.digest import Digest
from entrepot.errors import Corrupt, Unavailable
from entrepot.metadata import audit
from entrepot.metadata.base import Metadata
from entrepot.store.base import BlobStore, StoredBlob
from entrepot.transfer.tasks import Crew

_AT_ONCE = 200
_READERS = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be; ``location`` is where, ``message`` is for people."""

    digest: str
    location: str
    message: str


@dataclass(slots=True)
class Report:
    """What a check has found.

    ``missing`` and ``corrupt`` are damage. ``incomplete`` are manifests that name something no longer in their
    repository, as happens when somebody deletes a blob. ``orphaned`` are bytes that nobody names: harmless,
    they only take space; a process that was killed in mid-push may leave one.
    """

    missing: list[Finding] = field(default_factory=list)
    corrupt: list[Finding] = field(default_factory=list)
    incomplete: list[Finding] = field(default_factory=list)
    orphaned: list[Finding] = field(default_factory=list)
    blobs: int = 0
    manifests: int = 0
    bytes: int = 0
    repaired: int = 0
    warning: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether everything that was ever acknowledged is there and unharmed."""
        return not self.missing and not self.corrupt


@dataclass(frozen=True, slots=True)
class Check:
    """The check. With ``repair``, blobs whose bytes are corrupt or missing are taken out.

    A push of the same content heals them then; before, clients are told that it is there, and do not send it.
    """

    store: BlobStore
    metadata: Metadata
    repair: bool = False
    grace_seconds: float = 2.0  # a push that is going on has put its bytes down before it says so

    async def run(self) -> Report:
        report = Report()
        await self._check_blobs(report)
        await self._check_manifests(report)
        await self._find_orphans(report)
        return report

    async def _check_blobs(self, report: Report) -> None:
        last, lost = 0, list[StoredBlob]()
        while rows := await self.metadata.read_much(audit.blobs_after(last, limit=_AT_ONCE)):
            last = rows[-1].id
            for first in range(0, len(rows), _READERS):
                async with Crew() as crew:
                    for row in rows[first : first + _READERS]:
                        crew.start(self._check_blob(report, row, lost))
        if self.repair and 2 * len(lost) > report.blobs:
            report.warning = "most blobs are missing, as in another store: those were left as they are"
            return
        for stored in lost:
            await self._take_out(report, stored)

    async def _check_blob(self, report: Report, row: audit.BlobRow, lost: list[StoredBlob]) -> None:
        report.blobs += 1
        if row.location is None:
            report.missing.append(Finding(row.digest, "", "was taken out before; push it again to heal it"))
            return
        report.bytes += row.size
        stored = StoredBlob(Digest(row.digest), row.size, row.location)
        try:
            problem = await self._problem(stored)
        except Unavailable as error:
            await self.store.check()  # one that is out of reach as a whole is no damage
            problem = f"its bytes cannot be read: {error.message}"
        except Corrupt:
            lost.append(stored)
            hint = "" if self.repair else "--repair, then "
            report.missing.append(Finding(row.digest, row.location, f"its bytes are missing; {hint}push it again"))
            return
        if problem:
            report.corrupt.append(Finding(row.digest, row.location, problem))
            await self._take_out(report, stored)

    async def _problem(self, stored: StoredBlob) -> str | None:
        size = await self.store.stat(stored.location)
        if size != stored.size:
            return f"has {size} bytes instead of {stored.size}"
        actual = await self.store.verify(stored.location)
        return None if actual == stored.digest else f"its bytes are those of {actual}"

    async def _take_out(self, report: Report, stored: StoredBlob) -> None:
        if not self.repair:
            return
        # the row first: a push that finds the bytes bad or gone writes both anew, and must have the last word
        await self.metadata.write(audit.mark_quarantined(stored))
        is_out = False
        try:
            is_out = await self.store.quarantine(stored)
        finally:  # when the store breaks off, nobody knows that they are bad
            if not is_out:
                await self.metadata.write(audit.mark_kept(stored))
        report.repaired += is_out

    async def _check_manifests(self, report: Report) -> None:
        last = 0
        while rows := await self.metadata.read_much(audit.manifests_after(last, limit=_AT_ONCE)):
            last = rows[-1].id
            for row in rows:
                report.manifests += 1
                actual = Digest.of(row.content, Digest(row.digest).algorithm)
                if actual != row.digest:
                    message = f"the manifest's bytes are those of {actual}"
                    report.corrupt.append(Finding(row.digest, row.repository, message))
                absent = await self.metadata.read_much(audit.absent_children(row.id))
                report.incomplete.extend(_incomplete(row, absent))

    async def _find_orphans(self, report: Report) -> None:
        suspects = [stored async for stored in self.store.walk() if not await self._is_named(stored)]
        if suspects:
            await asyncio.sleep(self.grace_seconds)
        for stored in suspects:
            if not await self._is_named(stored):
                message = f"{stored.size} bytes that nobody names; harmless"
                report.orphaned.append(Finding(stored.digest, stored.location, message))

    async def _is_named(self, stored: StoredBlob) -> bool:
        return await self.metadata.read(audit.location_of(stored.digest)) == stored.location


def _incomplete(row: audit.ManifestRow, absent: Iterable[str]) -> list[Finding]:
    return [
        Finding(row.digest, row.repository, f"names {digest}, which is not in {row.repository}") for digest in absent
    ]
