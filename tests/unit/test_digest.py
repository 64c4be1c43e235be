from __future__ import annotations

import hashlib

import pytest

from entrepot.digest import Digest, is_digest, require_algorithm, require_digest
from entrepot.errors import DigestInvalid

SHA256 = "sha256:" + hashlib.sha256(b"entrepot").hexdigest()
SHA512 = "sha512:" + hashlib.sha512(b"entrepot").hexdigest()
BLAKE3 = "blake3:" + "a" * 64

MALFORMED = [
    pytest.param("", id="empty"),
    pytest.param("sha256", id="algorithm only"),
    pytest.param("sha256:", id="nothing after the colon"),
    pytest.param(":" + "a" * 64, id="no algorithm"),
    pytest.param("sha256:" + "a" * 63, id="a digit short"),
    pytest.param("sha256:" + "a" * 65, id="a digit long"),
    pytest.param("sha512:" + "a" * 64, id="sha512 with the length of sha256"),
    pytest.param("sha256:" + "A" * 64, id="upper-case hex"),
    pytest.param("blake3:" + "a" * 63, id="blake3, a digit short"),
    pytest.param("blake3:" + "A" * 64, id="blake3, upper-case hex"),
    pytest.param("SHA256:" + "a" * 64, id="upper-case algorithm"),
    pytest.param("sha256:" + "g" * 64, id="no hex digit"),
    pytest.param(SHA256 + "\n", id="trailing newline"),
    pytest.param(SHA256 + "\0", id="trailing NUL"),
    pytest.param(" " + SHA256, id="leading blank"),
    pytest.param("sha256:../../" + "a" * 58, id="path"),
    pytest.param("sha256%3A" + "a" * 64, id="encoded colon"),
    pytest.param("sha256:" + "\u0661" * 64, id="arabic digits"),
    pytest.param("sha256:" + "a" * 100_000, id="very long"),
]
FOREIGN = [
    pytest.param(BLAKE3, id="blake3"),
    pytest.param("md5:" + "a" * 32, id="md5"),
    pytest.param("multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8", id="combined algorithm"),
    pytest.param("sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", id="base64url"),
]


@pytest.mark.parametrize("text", [pytest.param(SHA256, id="sha256"), pytest.param(SHA512, id="sha512")])
def test_parse_digest_supported_returns_the_same_text(text: str) -> None:
    digest = Digest.parse(text)

    assert digest == text
    assert f"{digest.algorithm}:{digest.encoded}" == text


@pytest.mark.parametrize("text", [*MALFORMED, *FOREIGN])
def test_parse_digest_malformed_or_unsupported_is_refused(text: str) -> None:
    with pytest.raises(DigestInvalid) as refusal:
        Digest.parse(text)

    assert "expected" in refusal.value.message
    assert refusal.value.detail == {"digest": text[:512]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("sha256:abc", "followed by 64 lower-case hex digits", id="wrong length"),
        pytest.param(BLAKE3, "an algorithm out of sha256, sha512", id="unsupported algorithm"),
        pytest.param("latest", "algorithm:hex", id="no digest at all"),
    ],
)
def test_parse_digest_refused_says_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(DigestInvalid, match=expected):
        Digest.parse(text)


@pytest.mark.parametrize(("algorithm", "expected"), [pytest.param("sha256", SHA256), pytest.param("sha512", SHA512)])
def test_compute_digest_of_content_agrees_with_hashlib(algorithm: str, expected: str) -> None:
    assert Digest.of(b"entrepot", algorithm) == expected


def test_compute_digest_without_algorithm_is_sha256() -> None:
    assert Digest.of(b"entrepot") == SHA256


@pytest.mark.parametrize("text", [pytest.param(SHA256), pytest.param(SHA512), *FOREIGN])
def test_check_digest_within_grammar_is_true(text: str) -> None:
    assert is_digest(text)


@pytest.mark.parametrize("text", MALFORMED)
def test_check_digest_outside_grammar_is_false(text: str) -> None:
    assert not is_digest(text)


@pytest.mark.parametrize("text", [pytest.param(SHA256), *FOREIGN])
def test_require_digest_within_grammar_returns_it(text: str) -> None:
    assert require_digest(text) == text


@pytest.mark.parametrize("text", MALFORMED)
def test_require_digest_outside_grammar_is_refused(text: str) -> None:
    with pytest.raises(DigestInvalid) as refusal:
        require_digest(text)

    assert refusal.value.detail == {"digest": text[:512]}


@pytest.mark.parametrize("name", ["sha256", "sha512"])
def test_require_algorithm_supported_returns_its_name(name: str) -> None:
    assert require_algorithm(name) == name


@pytest.mark.parametrize("name", ["", "md5", "blake3", "SHA256", "sha256\n", "x" * 1000])
def test_require_algorithm_unsupported_lists_the_supported_ones(name: str) -> None:
    with pytest.raises(DigestInvalid) as refusal:
        require_algorithm(name)

    assert refusal.value.detail == {"algorithm": name[:64], "supported": ["sha256", "sha512"]}
