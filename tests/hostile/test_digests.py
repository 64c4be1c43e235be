"""Digests of every shape they must not have, in every place where one is read."""

from __future__ import annotations

import pytest

from entrepot.digest import Digest
from entrepot.manifest import OCI_MANIFEST

from .raw import ask, assert_refused

pytestmark = pytest.mark.usefixtures("unchanged")

HEX = "0123456789abcdef" * 4

BAD_DIGESTS = {
    "no_digits": "sha256:",
    "63_digits": f"sha256:{HEX[1:]}",
    "65_digits": f"sha256:{HEX}0",
    "upper_case_digits": f"sha256:{HEX.upper()}",
    "no_hex": f"sha256:{'g' * 64}",
    "upper_case_algorithm": f"SHA256:{HEX}",
    "unknown_algorithm": f"md5:{HEX[:32]}",
    "registered_but_unsupported": f"blake3:{HEX}",
    "made_up_algorithm": f"sha256+b64u:{HEX}",
    "sha512_of_wrong_length": f"sha512:{HEX}",
    "no_algorithm": f":{HEX}",
    "two_colons": f"sha256::{HEX}",
    "parent": "sha256:..",
    "encoded_parents": "sha256:%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "encoded_slash": f"sha256:{HEX[:2]}%2F{HEX[3:]}",
    "newline_at_end": f"sha256:{HEX}%0A",
    "return_and_newline": f"sha256:{HEX}%0D%0A",
    "nul_at_end": f"sha256:{HEX}%00",
    "nul_inside": f"sha256:{HEX[:10]}%00{HEX[11:]}",
    "blank_at_end": f"sha256:{HEX}%20",
    "arabic_digits": "sha256:" + "%D9%A1" * 64,
    "fullwidth_digits": "sha256:" + "%EF%BC%91" * 64,
    "raw_umlauts": "sha256:" + "ü" * 64,
    "600_characters": "sha256:" + "a" * 593,
    "3000_characters": "sha256:" + "a" * 2993,
    "encoded_twice": f"sha256%253A{HEX}:",
}

PLACES = {
    "blob": ("GET", "blobs/{}"),
    "blob_head": ("HEAD", "blobs/{}"),
    "blob_delete": ("DELETE", "blobs/{}"),
    "manifest": ("GET", "manifests/{}"),
    "manifest_push": ("PUT", "manifests/{}"),
    "manifest_delete": ("DELETE", "manifests/{}"),
    "referrers": ("GET", "referrers/{}"),
    "upload_in_one": ("POST", "blobs/uploads/?digest={}"),
    "mount": ("POST", "blobs/uploads/?mount={}"),
    "mount_from": ("POST", "blobs/uploads/?mount={}&from=hostile/other"),
}


UNSUPPORTED = {"unknown_algorithm", "registered_but_unsupported", "made_up_algorithm"}  # well-formed, though
CALLS = [
    pytest.param(bad, place, id=f"{kind}-{place}")
    for kind, bad in BAD_DIGESTS.items()
    for place in PLACES
    if (kind in UNSUPPORTED, place) != (True, "referrers")
]


@pytest.mark.parametrize("kind", sorted(UNSUPPORTED))
def test_list_referrers_of_unsupported_digest_is_empty(port: int, kind: str) -> None:
    """A subject need not be anything that we could store."""
    reply = ask(port, "GET", f"/v2/hostile/digests/referrers/{BAD_DIGESTS[kind]}")
    assert (reply.status, reply.body.endswith(b'"manifests":[]}')) == (200, True)


@pytest.mark.parametrize(("bad", "place"), CALLS)
def test_call_by_bad_digest_is_refused(port: int, bad: str, place: str) -> None:
    method, pattern = PLACES[place]
    target = f"/v2/hostile/digests/{pattern.format(bad)}".encode()
    reply = ask(port, method, target, body=b"content" if method in ("PUT", "POST") else b"")
    if method == "HEAD":
        assert reply.status == 400
    else:
        assert_refused(reply, 400, "DIGEST_INVALID", "invalid digest: expected", "got")


@pytest.mark.parametrize("bad", ["md5", "sha1", "SHA256", "", "sha256%0A", "sha512%00", "blake3", "x" * 500, "%ff"])
def test_begin_upload_with_unknown_algorithm_is_refused(port: int, bad: str) -> None:
    reply = ask(port, "POST", f"/v2/hostile/digests/blobs/uploads/?digest-algorithm={bad}")
    if bad:
        assert_refused(reply, 400, "DIGEST_INVALID", "expected one of sha256, sha512", "got")
    else:  # the parameter without a value is the parameter left out
        assert reply.status == 202
        assert ask(port, "DELETE", reply.headers["location"]).status == 204


@pytest.mark.parametrize("bad", [*BAD_DIGESTS.values(), None])
def test_finish_upload_with_bad_digest_is_refused_and_the_upload_lives_on(port: int, bad: str | None) -> None:
    begun = ask(port, "POST", "/v2/hostile/digests/blobs/uploads/").headers["location"]
    query = "" if bad is None else f"?digest={bad}"
    reply = ask(port, "PUT", (begun + query).encode(), body=b"content")
    assert_refused(reply, 400, "DIGEST_INVALID", "expected", "got")
    assert ask(port, "GET", begun).headers["range"] == "0-0"
    assert ask(port, "DELETE", begun).status == 204


def test_push_blob_under_wrong_digest_names_both(port: int) -> None:
    wanted, sent = Digest.of(b"this"), b"that"
    reply = ask(port, "POST", f"/v2/hostile/digests/blobs/uploads/?digest={wanted}", body=sent)
    assert_refused(reply, 400, "DIGEST_INVALID", "digest mismatch", wanted, Digest.of(sent))
    assert reply.errors[0]["detail"]["actual"] == Digest.of(sent)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_push_manifest_under_wrong_digest_names_both(port: int, algorithm: str) -> None:
    sent = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    wanted, actual = Digest.of(b"this", algorithm), Digest.of(sent, algorithm)
    reply = ask(port, "PUT", f"/v2/hostile/digests/manifests/{wanted}", {"Content-Type": OCI_MANIFEST}, sent)
    assert_refused(reply, 400, "DIGEST_INVALID", "digest mismatch", wanted, actual)
