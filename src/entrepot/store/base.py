"""The contract of a blob store: it keeps immutable bytes and knows neither repositories nor names.

Life of a blob: ``begin_upload`` opens an upload that nobody else can see; bytes are appended by ``write``,
over several requests and processes if need be (``save``, then ``resume_upload``); ``commit`` checks the digest
and gives the bytes a *location*, a string the store chose and the metadata remembers. From then on they never
change. The suite every store must pass is ``entrepot.testing.store_suite``.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from entrepot.digest import CANONICAL, Digest


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Bytes at rest: their canonical (sha256) digest, their size, and where this store keeps them."""

    digest: Digest
    size: int
    location: str


@dataclass(frozen=True, slots=True)
class UploadPart:
    """A part of an upload that an object store holds: its bytes, and the ETag it was answered with."""

    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class UploadState:
    """All that is needed to go on with an upload elsewhere; plain data.

    ``hashes`` maps an algorithm to the saved state of its running hash; an empty state means that the kept
    bytes have to be hashed again. The rest is for object stores: ``session`` names the multipart upload, ``parts``
    are those it has, in order from the first, and what comes behind them is a remainder too small for a part:
    ``tail``, or the bytes at ``tail_location`` when it is too large to be kept in here.
    """

    id: str
    offset: int = 0
    hashes: dict[str, bytes] = field(default_factory=dict)
    session: str = ""
    parts: tuple[UploadPart, ...] = ()
    tail: bytes = b""
    tail_location: str = ""

    @classmethod
    def empty(cls, upload_id: str, algorithm: str) -> UploadState:
        """The state of an upload that has no bytes yet and is to be hashed with ``algorithm``, and sha256."""
        return cls(upload_id, 0, dict.fromkeys((CANONICAL, algorithm), b""))


Checkpoint = Callable[[UploadState], Awaitable[None]]
UPLOAD_CLAIM = "upload:"  # and the upload's id: the name of the claim on it
IsRecorded = Callable[[StoredBlob], Awaitable[bool]]


class Claims(Protocol):
    """Names that one writer at a time may hold, over all processes; a claim that is not renewed ends by itself."""

    @property
    def seconds(self) -> float:
        """How long a claim lasts. Renew it several times as often."""

    async def take(self, name: str) -> str | None:
        """A token that proves the claim; None while another holds the name."""

    async def is_held(self, name: str) -> bool:
        """Whether anybody holds the name now; nothing is written for that."""

    async def renew(self, name: str, token: str) -> bool:
        """Prolong it; False when it was dropped, or had ended and another has taken the name.

        A renewal that is late must not bring a dropped claim back.
        """

    async def drop(self, name: str, token: str, *, is_clean: bool = True) -> None:
        """Let the name go, if it is still held with that token.

        A holder that dies leaves a trace of the name, by which what it left behind is found. So does one that is not
        ``is_clean``, and one that has taken the name over from either.
        """


class Upload(Protocol):
    """Bytes on their way in: invisible until ``commit``, and with one writer at a time."""

    @property
    def id(self) -> str:
        """A UUID."""

    @property
    def size(self) -> int:
        """The bytes appended so far, whether or not they are durable yet."""

    async def write(self, chunks: AsyncIterable[bytes], *, checkpoint: Checkpoint | None = None) -> int:
        """Append, and return the new size. When ``chunks`` raises, what came before is kept.

        Now and then, when much has been written, ``checkpoint`` is given a state that is durable. It is not
        called any more once ``write`` has raised.
        """

    async def save(self) -> UploadState:
        """Make everything written so far durable and return the state to resume from."""

    async def recorded(self) -> None:
        """Told that what ``save`` or ``commit`` has returned last is recorded: earlier states are needed no more."""

    async def commit(self, digest: Digest) -> StoredBlob:
        """Make the bytes durable and give them a location, if their digest is ``digest``.

        The upload stays held until ``close``, so that nobody goes on with it before the bytes are recorded.

        Raises DigestInvalid when the digest is another one: it can only be cancelled then. After any other error it
        can be resumed from its last saved state, even when the commit was done and only its answer was lost.
        Committing bytes that are already there replaces them by the ones just verified, or puts these beside them
        under another location.
        """

    async def cancel(self) -> None:
        """Forget the bytes. Safe to call twice, and after ``commit``."""

    async def close(self) -> None:
        """Let go of the upload without ending it, so that another writer may resume it. Safe to call twice.

        Bytes that no saved state knows of may be given up right away: on a full disk they would be in the way.
        """


class Partial(Protocol):
    """A blob of known digest and size that arrives in any order, and over several runs of the program if need be.

    Whoever holds it is the only one on this machine. The bytes are hashed while they come, from the beginning as
    far as there are no gaps, so that ``commit`` has little left to do. Every method may raise StorageFull or
    Unavailable; what is there stays, as far as it is known to be good.
    """

    @property
    def digest(self) -> Digest: ...

    @property
    def size(self) -> int: ...

    @property
    def validator(self) -> str | None:
        """What ``set_validator`` was told, in this run or an earlier one: the ETag of what the bytes come from."""

    async def set_validator(self, validator: str) -> None:
        """Remember it beside the bytes; it is durable when they are."""

    def missing(self) -> list[tuple[int, int]]:
        """The spans (start, end excluded) that are not there yet, in order; none of them is empty."""

    def prefix(self) -> int:
        """How many bytes there are without a gap from the beginning."""

    async def write(self, start: int, pieces: AsyncIterable[bytes]) -> int:
        """Put bytes from ``start`` on and return where they end; several spans may be written at once.

        Bytes that are there already, or that another call is writing, are passed over: the first ones stay. When
        ``pieces`` raises, what came before is kept. Raises SizeInvalid for bytes beyond ``size``; those before
        are kept.
        """

    async def restart(self) -> None:
        """Give up what is there, and the validator: all is missing again. Not while something is written."""

    async def commit(self) -> StoredBlob:
        """Make the bytes durable and give them a location.

        Raises SizeInvalid while something is missing, DigestInvalid when the digest is another one. After the
        latter it is as after ``restart``: when some of the bytes were from an earlier run they may be to blame,
        and fetching all of it again is worth a try.
        """


class BlobStore(Protocol):
    """Content-addressed bytes. Every method may raise Unavailable or StorageFull."""

    async def begin_upload(self, *, algorithm: str = CANONICAL) -> Upload:
        """A new, empty upload, hashed with ``algorithm``, and sha256 in any case, while it arrives."""

    async def resume_upload(self, state: UploadState, *, wait: bool = True) -> Upload:
        """Go on where ``state`` was saved. What was written after that is dropped by the first ``write``,
        ``save`` or ``commit``, and not before, so that a state that turns out to be old does no harm.

        May ``wait`` a little for another writer to let go, then raises UploadBusy. Raises UploadUnknown when the
        bytes are gone, though some stores see that only when they need them; a state without bytes, or with all
        of them in itself, can be resumed even then.
        """

    async def wait_for_writer(self, upload_id: str) -> bool:
        """Whether somebody was writing to an upload; then he has had a little time to finish. Changes nothing."""

    def open(
        self, blob: StoredBlob, *, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes from ``start`` up to, not including, ``end``.

        Entering raises Corrupt when nothing is there, or not as many bytes as ``blob.size`` says.
        """

    async def stat(self, location: str) -> int:
        """The size in bytes. Raises Corrupt when nothing is there."""

    async def verify(self, location: str) -> Digest:
        """The sha256 of what is really there now. Raises Corrupt when nothing is there."""

    async def quarantine(self, blob: StoredBlob) -> bool:
        """Move bytes that are not what their digest says out of the way.

        They are looked at once more: True when they are bad or gone, False when they are good (somebody pushed
        them anew meanwhile) and stay.
        """

    async def delete(self, location: str) -> None:
        """Remove the bytes for good. Raises Corrupt when nothing is there."""

    async def redirect_url(self, blob: StoredBlob) -> str | None:
        """Where a client may fetch the bytes himself for a while; None when they are to be had from here only."""

    def walk(self) -> AsyncIterator[StoredBlob]:
        """Everything that was committed, whether or not anybody still names it.

        Bytes of an upload that is going on may be among them, if the store keeps them under their digest.
        """

    def walk_uploads(self) -> AsyncIterator[UploadState]:
        """The uploads that hold bytes: what ``discard_upload`` needs of each; one may come several times."""

    async def discard_upload(self, state: UploadState) -> bool:
        """Remove the bytes of an upload that nobody records any more, unless a writer holds it; False when one does.

        What has been committed stays.
        """

    async def discard_remains(self, upload_id: str, is_recorded: IsRecorded) -> bool:
        """Remove what a writer that died has left of an upload, also where ``walk_uploads`` does not see it.

        To be called when nobody records the upload any more, and so long after its last claim has ended that no
        writer can be about to record its bytes. False when a writer holds it, or when it has to be tried again. What
        has been committed stays, and what ``is_recorded`` holds for. May take as long as reading all of the bytes.
        """

    def guard(self, *, alone: bool = False) -> AbstractAsyncContextManager[None]:
        """Held from before a commit until the metadata names the bytes, by any number of processes at once.

        Whoever deletes bytes that nobody names takes it ``alone``, so that no commit is between the two; he waits
        until those that hold it have let go, and they that come after him wait for him. Who holds it must not
        take it once more. A store that never uses a location twice needs none: a deletion there cannot hit the
        bytes of a later commit.
        """

    async def check(self) -> None:
        """Whether the store can be read. Raises Unavailable with the reason when it cannot."""


@runtime_checkable
class PartialStore(BlobStore, Protocol):
    """A BlobStore that can also be filled from elsewhere piece by piece."""

    def open_partial(self, digest: Digest, size: int) -> AbstractAsyncContextManager[Partial]:
        """What is there of a blob so far, to go on with. Waits while somebody else holds it, also in this process.

        Leaving keeps what is not committed, for the next one who asks for the same size: for another all is
        missing again. Once committed, nobody else gets the partial before it is left, so that there is time to
        record the blob. Raises StorageFull, Unavailable.
        """

    async def find_bytes(self, digest: Digest, size: int) -> StoredBlob | None:
        """Bytes that were committed and have that digest, whether or not anybody names them; they are read to see.

        None also when the store could only find them by reading everything.
        """

    def walk_partials(self) -> AsyncIterator[tuple[Digest, int]]:
        """The digests that were begun and not committed, with the bytes each takes on the disk."""

    async def discard_partial(self, digest: Digest) -> bool:
        """Remove what was begun; False when somebody holds it."""
