"""Running hashes whose state can be saved and taken up again, by another process if need be.

``hashlib`` objects cannot be saved, and a pickled object read back from a database is code somebody else
may have written. OpenSSL's ``SHA256_CTX`` and ``SHA512_CTX`` however are plain C structs of fixed layout
(openssl/sha.h), so their bytes are the state. Where the library or the layout is not as expected the hash
still works, its state is then empty, and whoever resumes has to hash the kept bytes again.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import hashlib
import struct
from typing import Protocol, TypedDict

from entrepot.digest import Digest


class _Struct(TypedDict):
    name: str
    size: int  # of the context, bytes
    length: int  # of the digest, bytes


_STRUCTS: dict[str, _Struct] = {
    "sha256": {"name": "SHA256", "size": 112, "length": 32},
    "sha512": {"name": "SHA512", "size": 216, "length": 64},
}

_TAIL = struct.Struct("=II")  # of the contexts: num, md_len


class RunningHash(Protocol):
    """A hash that bytes are fed to, piece by piece."""

    def update(self, data: bytes) -> None: ...

    def digest(self) -> Digest:
        """The digest of everything fed so far; feeding may go on afterwards."""

    def save(self) -> bytes:
        """The state, for ``resume``; empty when this hash cannot be saved."""


def begin(algorithm: str) -> RunningHash:
    """A new running hash; ``algorithm`` is one of ``digest.HEX_LENGTHS``."""
    functions = _openssl(algorithm)
    return _OpenSslHash(algorithm, functions) if functions else _HashlibHash(algorithm)


def resume(algorithm: str, state: bytes) -> RunningHash | None:
    """The hash whose ``save`` gave ``state``; None when that is not possible here."""
    functions = _openssl(algorithm)
    if functions is None or not _is_sound(state, functions):
        return None
    return _OpenSslHash(algorithm, functions, state)


def _is_sound(state: bytes, functions: _Functions) -> bool:
    # OpenSSL trusts the two numbers at the end of the struct: bytes waiting for their block, length of the digest
    if len(state) != functions.size:
        return False
    waiting, length = _TAIL.unpack(state[-_TAIL.size :])
    return bool(length == functions.length and waiting < 2 * functions.length)


class _HashlibHash:
    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)

    def update(self, data: bytes) -> None:
        self._hash.update(data)

    def digest(self) -> Digest:
        return Digest(f"{self._algorithm}:{self._hash.hexdigest()}")

    def save(self) -> bytes:
        return b""


class _Functions:
    """``SHA256_Init``, ``_Update`` and ``_Final``, or those of SHA512, and the size of their struct."""

    def __init__(self, library: ctypes.CDLL, *, name: str, size: int, length: int) -> None:
        self.size = size
        self.length = length
        self.init = getattr(library, f"{name}_Init")
        self.init.argtypes = [ctypes.c_void_p]
        self.update = getattr(library, f"{name}_Update")
        self.update.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        self.final = getattr(library, f"{name}_Final")
        self.final.argtypes = [ctypes.c_void_p, ctypes.c_void_p]


class _OpenSslHash:
    def __init__(self, algorithm: str, functions: _Functions, state: bytes | None = None) -> None:
        self._algorithm = algorithm
        self._functions = functions
        self._context = ctypes.create_string_buffer(functions.size)
        if state is None:
            functions.init(self._context)
        else:
            self._context.raw = state

    def update(self, data: bytes) -> None:
        self._functions.update(self._context, data, len(data))  # a foreign call, so the GIL is released

    def digest(self) -> Digest:
        copy = ctypes.create_string_buffer(self._context.raw, self._functions.size)
        result = ctypes.create_string_buffer(self._functions.length)
        self._functions.final(result, copy)
        return Digest(f"{self._algorithm}:{result.raw.hex()}")

    def save(self) -> bytes:
        return self._context.raw


@functools.cache
def _openssl(algorithm: str) -> _Functions | None:
    library = _libcrypto()
    if library is None:
        return None
    try:
        functions = _Functions(library, **_STRUCTS[algorithm])
    except AttributeError:
        return None
    return functions if _agrees_with_hashlib(algorithm, functions) else None


def _libcrypto() -> ctypes.CDLL | None:
    # by its usual names first: find_library starts other programs, which takes a tenth of a second
    for name in ("libcrypto.so.3", "libcrypto.so.1.1"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    path = ctypes.util.find_library("crypto")
    try:
        return ctypes.CDLL(path) if path else None
    except OSError:
        return None


def _agrees_with_hashlib(algorithm: str, functions: _Functions) -> bool:
    head, tail = b"entrepot" * 23, b"probe" * 61
    first = _OpenSslHash(algorithm, functions)
    first.update(head)
    second = _OpenSslHash(algorithm, functions, first.save())
    second.update(tail)
    return second.digest() == Digest.of(head + tail, algorithm)
