"""Digests: the names of immutable content (image-spec, descriptor.md, "Digests").

A ``Digest`` is a ``str`` that has been checked, so it goes into SQL, headers and JSON as it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, Self

from entrepot.errors import DigestInvalid

HEX_LENGTHS = {"sha256": 64, "sha512": 128}
CANONICAL = "sha256"

_GRAMMAR = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", re.ASCII)
_SUPPORTED = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)
_REGISTERED = re.compile(rf"{_SUPPORTED.pattern}|blake3:[0-9a-f]{{64}}", re.ASCII)
_REGISTERED_ALGORITHMS = frozenset({*HEX_LENGTHS, "blake3"})
_MAX_LENGTH = 512
_HASHES: dict[str, Callable[[bytes], Any]] = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}


class Digest(str):
    """``algorithm:hex`` of a supported algorithm: sha256 (64 lower-case hex digits) or sha512 (128)."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check and wrap. Raises DigestInvalid for anything else, unsupported algorithms included."""
        if len(text) <= _MAX_LENGTH and _SUPPORTED.fullmatch(text):
            return cls(text)
        raise DigestInvalid(_explain(text), digest=text[:_MAX_LENGTH])

    @classmethod
    def of(cls, content: bytes, algorithm: str = CANONICAL) -> Self:
        """The digest of ``content``."""
        return cls(f"{algorithm}:{_HASHES[algorithm](content).hexdigest()}")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        return self.partition(":")[2]


def is_digest(text: str) -> bool:
    """Whether ``text`` fits the grammar, whatever its algorithm: the test for digests inside descriptors.

    Those of the algorithms that image-spec registers have to fit their length too.
    """
    if len(text) > _MAX_LENGTH or not _GRAMMAR.fullmatch(text):
        return False
    return text.partition(":")[0] not in _REGISTERED_ALGORITHMS or _REGISTERED.fullmatch(text) is not None


def require_digest(text: str) -> str:
    """``text`` if it is a digest of any algorithm: what content refers to need not be here. Raises DigestInvalid."""
    if is_digest(text):
        return text
    raise DigestInvalid(_explain(text), digest=text[:_MAX_LENGTH])


def require_match(expected: Digest, actual: Digest, size: int) -> None:
    """Raises DigestInvalid unless the ``size`` bytes that came have the digest they were announced with."""
    if actual != expected:
        raise DigestInvalid(
            f"digest mismatch: expected {expected}, got {actual} after {size} bytes",
            expected=expected,
            actual=actual,
            size=size,
        )


def require_algorithm(name: str) -> str:
    """``name`` if blobs can be stored under it; raises DigestInvalid."""
    if name in HEX_LENGTHS:
        return name
    raise DigestInvalid(
        f"unsupported digest algorithm: expected one of {', '.join(HEX_LENGTHS)}, got {name[:64]!r}",
        algorithm=name[:64],
        supported=list(HEX_LENGTHS),
    )


def _explain(text: str) -> str:
    algorithm, colon, _ = text.partition(":")
    if colon and algorithm in HEX_LENGTHS:
        expected = f"{algorithm}: followed by {HEX_LENGTHS[algorithm]} lower-case hex digits"
    elif is_digest(text):
        expected = f"an algorithm out of {', '.join(HEX_LENGTHS)}"
    else:
        expected = "algorithm:hex, e.g. sha256: followed by 64 lower-case hex digits"
    return f"invalid digest: expected {expected}, got {text[:80]!r}"
