"""The running hashes of an upload that goes from process to process."""

from __future__ import annotations

from collections.abc import Iterable

from entrepot import hashing
from entrepot.digest import CANONICAL, Digest
from entrepot.hashing import RunningHash
from entrepot.store.base import UploadState


class UploadHashes:
    """One hash for each algorithm; ``is_known`` is False when a saved state was of no use here.

    The bytes of an unfinished multipart upload cannot be read, so what was lost is made up for when it is complete.
    """

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._running: dict[str, RunningHash] = {name: hashing.begin(name) for name in algorithms}
        self.is_known = True

    @classmethod
    def resume(cls, state: UploadState) -> UploadHashes:
        """Go on from a saved state."""
        hashes = cls({CANONICAL, *state.hashes})
        if state.offset:
            resumed = {name: hashing.resume(name, state.hashes.get(name, b"")) for name in hashes._running}
            known = {name: running for name, running in resumed.items() if running is not None}
            hashes.is_known = len(known) == len(resumed)
            hashes._running.update(known if hashes.is_known else {})
        return hashes

    @property
    def running(self) -> list[RunningHash]:
        return list(self._running.values())

    def update(self, data: bytes) -> None:
        for running in self._running.values():
            running.update(data)

    def digest(self, algorithm: str = CANONICAL) -> Digest | None:
        """The digest so far; None when it is not known, or when there is no such hash."""
        running = self._running.get(algorithm)
        return running.digest() if running is not None and self.is_known else None

    def save(self) -> dict[str, bytes]:
        """For ``UploadState.hashes``."""
        return {name: running.save() if self.is_known else b"" for name, running in self._running.items()}
