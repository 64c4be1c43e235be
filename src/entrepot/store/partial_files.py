"""The blocking half of partials: the files of one, and the order in which they are written::

    <root>/partials/<algorithm>/<hex>         the bytes, where they belong; with holes
    <root>/partials/<algorithm>/<hex>.json    the claim: what of them is there, and the state of the hash
    <root>/partials/<algorithm>/<hex>.note    a later claim that nothing was synced for; see notes.py
    <root>/partials/<algorithm>/<hex>.lock    held (flock) by whoever works on it

A claim is written when the bytes it speaks of are synced, to a new file that is renamed over the old one. So it
may say less than there is, and never more. Syncing takes its time and is done now and then only; what a note says in
between counts after a kill, and not after a power cut. The lock is a file of its own because a commit moves the bytes
away while their new place has still to be recorded: nobody may begin anew before that.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from entrepot.digest import Digest, is_digest
from entrepot.store.folder import BlobFolder, is_at
from entrepot.store.notes import Note
from entrepot.store.spans import Span, Spans
from entrepot.store.threads import is_full

_MAX_CLAIM_SIZE = 4 * 1024 * 1024  # some 100,000 spans
_ROOM_FOR_CLAIM = 64 * 1024
_BLOCK_SIZE = 512  # of st_blocks, whatever the file system's own is
_MOST_TRIES = 1000


@dataclass(frozen=True, slots=True)
class Claim:
    """What is there of a blob of ``size`` bytes; ``hashes`` (algorithm to state) have seen the first ``hashed``."""

    size: int
    spans: tuple[Span, ...] = ()
    hashed: int = 0
    hashes: dict[str, bytes] = field(default_factory=dict)
    validator: str | None = None

    @property
    def end(self) -> int:
        """Where the last span ends."""
        return self.spans[-1][1] if self.spans else 0

    @property
    def there(self) -> int:
        """How many bytes it speaks of."""
        return sum(end - start for start, end in self.spans)

    def without_last(self, count: int) -> Claim:
        """The same without the last bytes."""
        spans = Spans(self.spans)
        spans.remove(max(0, self.end - count), self.end)
        shorter = replace(self, spans=tuple(spans.as_list()))
        return shorter if spans.prefix() >= self.hashed else replace(shorter, hashed=0, hashes={})

    def format(self) -> bytes:
        return json.dumps(
            {
                "size": self.size,
                "spans": self.spans,
                "hashed": self.hashed,
                "hashes": {name: state.hex() for name, state in self.hashes.items()},
                "validator": self.validator,
            }
        ).encode()

    @classmethod
    def parse(cls, content: bytes) -> Claim | None:
        """None for what ``format`` cannot have written."""
        with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls._parse(content)
        return None

    @classmethod
    def _parse(cls, content: bytes) -> Claim:
        found: dict[str, Any] = json.loads(content)
        claim = cls(
            size=_number(found["size"]),
            spans=tuple((_number(start), _number(end)) for start, end in found["spans"]),
            hashed=_number(found["hashed"]),
            hashes={str(name): bytes.fromhex(state) for name, state in dict(found["hashes"]).items()},
            validator=None if found["validator"] is None else str(found["validator"]),
        )
        spans = Spans(claim.spans)
        if tuple(spans.as_list()) != claim.spans or spans.end() > claim.size or claim.hashed > spans.prefix():
            raise ValueError("a claim that contradicts itself")
        return claim


class PartialFiles:
    """The files of one partial, locked and open. Every method blocks."""

    def __init__(self, folder: BlobFolder, digest: Digest, lock: int) -> None:
        self.digest = digest
        self._folder = folder
        self._data, self._claim = _path(folder, digest), _path(folder, digest, ".json")
        self._lock = lock
        self._note = Note(_path(folder, digest, ".note"))
        self._is_known = False  # whether the folder's entries for these files are durable
        self.fd = os.open(self._data, os.O_RDWR | os.O_CREAT, 0o644)

    @classmethod
    def take(cls, folder: BlobFolder, digest: Digest) -> PartialFiles | None:
        """None while somebody else has them."""
        lock = _try_lock(folder, digest)
        if lock is None:
            return None
        try:
            return cls(folder, digest, lock)
        except BaseException:
            os.close(lock)
            raise

    def load(self, size: int) -> Claim:
        """What is there of a blob of that size; what cannot be told apart from rubbish is dropped."""
        length = os.fstat(self.fd).st_size
        claim = _usable(self._read_claim(), size, length)
        note = _usable(self._note.read(), size, length)
        if note is not None and (claim is None or note.there > claim.there):
            claim = note
        else:
            self._note.remove()  # it may speak of bytes that are cut off now
        if claim is None:
            self.clear()
            return Claim(size)
        self._cut(claim.end)
        return claim

    def _cut(self, size: int) -> None:
        if os.fstat(self.fd).st_size > size:
            os.ftruncate(self.fd, size)

    def _read_claim(self) -> bytes | None:
        try:
            with self._claim.open("rb") as file:
                return file.read(_MAX_CLAIM_SIZE)
        except FileNotFoundError:
            return None

    def clear(self) -> None:
        """Nothing is there any more. First the claim goes, durably, then the bytes it speaks of."""
        self._note.remove()
        with suppress(FileNotFoundError):
            self._claim.unlink()
            self._folder.disk.sync_folder(self._claim.parent)
        self._cut(0)

    def write(self, pieces: Sequence[bytes], position: int) -> None:
        self._folder.disk.write_at(self.fd, pieces, position)

    def sync(self) -> None:
        """What is written so far is durable then."""
        self._folder.disk.sync(self.fd)

    def note(self, claim: Claim) -> None:
        """Write down what is there, as long as the system runs."""
        self._note.write(claim.format())

    def drop_note(self) -> None:
        """Nobody knows any more what is there."""
        self._note.remove()

    def claim(self, claim: Claim) -> None:
        """Write down what is there, and synced."""
        new = _path(self._folder, self.digest, ".json.new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            self._folder.disk.write(fd, [claim.format()])
            self._folder.disk.sync(fd)
        finally:
            os.close(fd)
        self._folder.disk.rename(new, self._claim)
        if not self._is_known:
            self._folder.disk.sync_folder(new.parent)
            self._is_known = True

    def place(self, canonical: Digest) -> str:
        """Make the synced bytes a blob; return its location."""
        location = self._folder.place_file(self._data, canonical)
        _remove(self._folder, self.digest)  # the bytes too: renaming a file onto another name of its own does nothing
        return location

    def keep(self, claim: Claim) -> None:
        """Keep for the next one what ``claim`` says, and nothing else."""
        if not claim.spans:
            _remove(self._folder, self.digest)
            return
        self._cut(claim.end)
        self._sync_or_forget()
        try:
            self.claim(claim)
        except OSError as error:
            if not is_full(error):
                raise
            shorter = claim.without_last(_ROOM_FOR_CLAIM)  # better to lose these than all since the last claim
            self._note.write(shorter.format())  # file systems need not give back at once what is cut off
            self._cut(shorter.end)
            self.claim(shorter)
        self._note.remove()

    def _sync_or_forget(self) -> None:
        try:
            self.sync()
        except OSError:
            self.drop_note()
            raise

    def release(self) -> None:
        """Let the next one have them."""
        with suppress(OSError):  # it does no harm where it is
            _path(self._folder, self.digest, ".lock").unlink(missing_ok=True)
        self._note.close()
        os.close(self.fd)
        os.close(self._lock)


def _usable(content: bytes | None, size: int, length: int) -> Claim | None:
    """What it says of a blob of that size, if the file is long enough for it."""
    claim = Claim.parse(content) if content is not None else None
    return claim if claim is not None and claim.size == size and claim.end <= length else None


def walk(folder: BlobFolder) -> Iterator[tuple[Digest, int]]:
    """See ``PartialStore.walk_partials``."""
    sizes: dict[Digest, int] = {}
    for path in sorted(folder.partials.glob("*/*")):
        digest = Digest(f"{path.parent.name}:{path.name.partition('.')[0]}")
        with suppress(FileNotFoundError):  # committed or removed since we listed it
            sizes[digest] = sizes.get(digest, 0) + path.stat().st_blocks * _BLOCK_SIZE
    return ((digest, size) for digest, size in sizes.items() if is_digest(digest))


def discard(folder: BlobFolder, digest: Digest) -> bool:
    """See ``PartialStore.discard_partial``."""
    lock = _try_lock(folder, digest)
    if lock is None:
        return False
    try:
        _remove(folder, digest)
        _path(folder, digest, ".lock").unlink(missing_ok=True)
    finally:
        os.close(lock)
    return True


def _remove(folder: BlobFolder, digest: Digest) -> None:
    for suffix in (".note", ".json", ".json.new", ""):  # the claim before what it speaks of
        _path(folder, digest, suffix).unlink(missing_ok=True)


def _try_lock(folder: BlobFolder, digest: Digest) -> int | None:
    path = _path(folder, digest, ".lock")
    fd = _open_lock(folder, path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_at(path, fd):
            return fd
    except BlockingIOError:
        pass
    os.close(fd)  # somebody has it, or has just let go of it and removed it
    return None


def _open_lock(folder: BlobFolder, path: Path) -> int:
    """Others may remove the folder as often as it is empty; with the lock in it, it stays."""
    with suppress(FileNotFoundError):
        folder.make(path.parent)
    for _ in range(_MOST_TRIES):
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            with suppress(FileNotFoundError):
                folder.make_again(path.parent)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def _path(folder: BlobFolder, digest: Digest, suffix: str = "") -> Path:
    return folder.partials / digest.algorithm / f"{digest.encoded}{suffix}"


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a number of bytes, got {value!r}")
    return value
