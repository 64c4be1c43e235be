"""Where things lie in a bucket."""

from __future__ import annotations

import pytest

from entrepot.digest import Digest
from entrepot.store.s3_keys import S3Keys, Session, is_record, new_location, new_tail_path, record_location

DIGEST = Digest.of(b"content")
UPLOAD = "7f4f1d0e-1111-4222-8333-444455556666"
SESSION = Session("0a1b2c3d", "token:with/odd~characters")
FOLDER = f"sha256/{DIGEST.encoded[:2]}/{DIGEST.encoded}"


@pytest.fixture(params=["", "registry", "/a/b/"])
def keys(request: pytest.FixtureRequest) -> S3Keys:
    return S3Keys(request.param)


@pytest.mark.parametrize(("prefix", "expected"), [("", ""), ("a", "a/"), ("/a/b/", "a/b/"), ("//", "")])
def test_prefix_is_cut_to_shape(prefix: str, expected: str) -> None:
    assert S3Keys(prefix).prefix == expected


def test_session_survives_being_written_down() -> None:
    assert Session.parse(str(SESSION)) == SESSION


def test_location_of_bytes_put_at_once_tells_digest_and_is_where_they_are(keys: S3Keys) -> None:
    location = new_location(DIGEST)
    assert location.startswith(f"{FOLDER}/")
    assert keys.content(location) == keys.record(location) == f"{keys.prefix}blobs/{location}"
    blob = keys.parse_blob(keys.record(location), 7)
    assert blob is not None
    assert (blob.digest, blob.size, blob.location) == (DIGEST, 7, location)
    assert not is_record(location)


def test_location_of_bytes_in_parts_tells_digest_size_and_where_they_are(keys: S3Keys) -> None:
    location = record_location(DIGEST, UPLOAD, SESSION, 123)
    assert location == f"{FOLDER}/{UPLOAD}-0a1b2c3d.123"
    assert keys.content(location) == keys.session_data(UPLOAD, SESSION) == f"{keys.prefix}data/7f/{UPLOAD}-0a1b2c3d"
    blob = keys.parse_blob(keys.record(location), 0)
    assert blob is not None
    assert (blob.digest, blob.size, blob.location) == (DIGEST, 123, location)
    assert is_record(location)


def test_locations_are_never_the_same() -> None:
    assert len({new_location(DIGEST) for _ in range(100)}) == 100


def test_keys_of_uploads_tell_their_ids(keys: S3Keys) -> None:
    assert keys.parse_data(keys.session_data(UPLOAD, SESSION)) == (UPLOAD, SESSION.nonce)
    assert keys.parse_tail(keys.below(new_tail_path(UPLOAD))) == UPLOAD


@pytest.mark.parametrize(
    "name",
    [
        "sha256/README",
        f"{FOLDER}/data",
        f"{FOLDER}/{UPLOAD}.5",
        f"{FOLDER}/{UPLOAD}-0a1b2c3d",
        f"{FOLDER}/{UPLOAD}-0a1b2c3d.-1",
        f"sha256/00/{DIGEST.encoded}/{UPLOAD}",
        f"sha512/{DIGEST.encoded[:2]}/{DIGEST.encoded}/{UPLOAD}",
    ],
)
def test_foreign_keys_are_no_blobs(keys: S3Keys, name: str) -> None:
    assert keys.parse_blob(f"{keys.blobs}{name}", 1) is None
    assert keys.parse_data(f"{keys.data}{name}") is None
    assert keys.parse_tail(f"{keys.tails}{name}") is None
