from __future__ import annotations

import hashlib
import random

import pytest

from entrepot import hashing
from entrepot.digest import HEX_LENGTHS, Digest

ALGORITHMS = sorted(HEX_LENGTHS)
CONTENT = random.Random(1).randbytes(1000)
has_state = pytest.mark.skipif(
    not hashing.begin("sha256").save(), reason="OpenSSL's plain hash structs are not to be had here"
)


@pytest.fixture
def without_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_openssl", lambda algorithm: None)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_hash_of_nothing_is_the_empty_digest(algorithm: str) -> None:
    assert hashing.begin(algorithm).digest() == Digest.of(b"", algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [1, 63, 64, 65, 127, 128, 129, 1000])
def test_hash_fed_in_pieces_is_the_digest_of_the_whole(algorithm: str, size: int) -> None:
    running = hashing.begin(algorithm)
    for first in range(0, len(CONTENT), size):
        running.update(CONTENT[first : first + size])
    assert running.digest() == f"{algorithm}:{hashlib.new(algorithm, CONTENT).hexdigest()}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_digest_in_between_does_not_disturb(algorithm: str) -> None:
    running = hashing.begin(algorithm)
    running.update(CONTENT[:500])
    assert running.digest() == running.digest() == Digest.of(CONTENT[:500], algorithm)
    running.update(CONTENT[500:])
    assert running.digest() == Digest.of(CONTENT, algorithm)


@has_state
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("at", [0, 1, 63, 64, 65, 127, 128, 129, 500, 1000])
def test_resume_goes_on_where_the_state_was_saved(algorithm: str, at: int) -> None:
    first = hashing.begin(algorithm)
    first.update(CONTENT[:at])
    state = first.save()
    first.update(b"what comes after does not count")
    second = hashing.resume(algorithm, state)
    assert second is not None
    second.update(CONTENT[at:])
    assert second.digest() == Digest.of(CONTENT, algorithm)


@has_state
def test_resume_twice_from_one_state_gives_hashes_of_their_own() -> None:
    running = hashing.begin("sha256")
    running.update(b"same")
    state = running.save()
    one, other = hashing.resume("sha256", state), hashing.resume("sha256", state)
    assert one is not None
    assert other is not None
    one.update(b"x")
    assert other.digest() == Digest.of(b"same")
    assert one.digest() == Digest.of(b"samex")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("state", [b"", b"short", bytes(10_000)], ids=["empty", "short", "long"])
def test_resume_from_what_is_no_state_gives_none(algorithm: str, state: bytes) -> None:
    assert hashing.resume(algorithm, state) is None


@has_state
def test_resume_from_the_state_of_another_algorithm_gives_none() -> None:
    assert hashing.resume("sha512", hashing.begin("sha256").save()) is None


@has_state
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("at", [-8, -4], ids=["waiting", "length"])
def test_resume_from_a_state_that_would_lead_astray_gives_none(algorithm: str, at: int) -> None:
    """OpenSSL would write where these numbers point."""
    state = bytearray(hashing.begin(algorithm).save())
    state[at + 1] = 0xFF
    assert hashing.resume(algorithm, bytes(state)) is None


@has_state
def test_hash_of_more_than_four_gigabits_counts_its_length_right() -> None:
    """The length in bits passes 2**32, so it needs the second word of the struct."""
    piece = bytes(64 * 1024 * 1024)
    running, reference = hashing.begin("sha256"), hashlib.sha256()
    for _ in range(9):
        resumed = hashing.resume("sha256", running.save())
        assert resumed is not None
        running = resumed
        running.update(piece)
        reference.update(piece)
    assert running.digest().encoded == reference.hexdigest()


@pytest.mark.usefixtures("without_openssl")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_hash_without_openssl_works_and_has_no_state(algorithm: str) -> None:
    running = hashing.begin(algorithm)
    running.update(CONTENT)
    assert running.digest() == Digest.of(CONTENT, algorithm)
    assert running.save() == b""
    assert hashing.resume(algorithm, bytes(112)) is None


@pytest.mark.parametrize("library", [None, "no_functions"])
def test_hash_with_an_unusable_library_falls_back(library: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_libcrypto", lambda: library and object())
    hashing._openssl.cache_clear()
    try:
        running = hashing.begin("sha256")
        running.update(b"x")
        assert (running.digest(), running.save()) == (Digest.of(b"x"), b"")
    finally:
        hashing._openssl.cache_clear()


def test_hash_with_a_struct_of_another_layout_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_agrees_with_hashlib", lambda algorithm, functions: False)
    hashing._openssl.cache_clear()
    try:
        assert hashing.begin("sha256").save() == b""
    finally:
        hashing._openssl.cache_clear()
