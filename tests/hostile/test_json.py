"""Manifests that are no JSON, or JSON that two readers would read differently."""

from __future__ import annotations

import json

import pytest

from entrepot.digest import Digest
from entrepot.manifest import OCI_INDEX

from .raw import ask, assert_refused, chunked

pytestmark = pytest.mark.usefixtures("unchanged")

HEAD = b'{"schemaVersion":2,"manifests":[]'


def with_member(member: bytes) -> bytes:
    """An index that would be accepted without ``member``."""
    return HEAD + b"," + member + b"}"


def nested(levels: int, opening: bytes, closing: bytes) -> bytes:
    return with_member(b'"x":' + opening * levels + closing * levels)


BAD_DOCUMENTS = {
    "nothing": (b"", "JSON", "column 1"),
    "blanks": (b" \r\n\t ", "JSON", "column"),
    "no_json": (b"hello", "JSON", "column 1"),
    "half": (HEAD, "JSON", "column"),
    "trailing_bytes": (HEAD + b"}x", "JSON", "Extra data"),
    "two_documents": ((HEAD + b"}") * 2, "JSON", "Extra data"),
    "trailing_comma": (HEAD + b",}", "JSON", "column"),
    "single_quotes": (b"{'schemaVersion':2}", "JSON", "column"),
    "comment": (b"/* */" + HEAD + b"}", "JSON", "column 1"),
    "nul": (HEAD + b"}\0", "JSON", "Extra data"),
    "nul_first": (b"\0" + HEAD + b"}", "JSON", "column 1"),
    "control_character_in_text": (with_member(b'"x":"a\nb"'), "JSON", "control character"),
    "bad_escape": (with_member(rb'"x":"\x41"'), "JSON", "escape"),
    "not_utf_8": (with_member(b'"x":"\xff"'), "UTF-8", "byte 0xff at offset"),
    "overlong_utf_8": (with_member(b'"x":"\xc0\xaf"'), "UTF-8", "byte 0xc0"),
    "surrogate_as_utf_8": (with_member(b'"x":"\xed\xa0\x80"'), "UTF-8", "byte 0xed"),
    "cut_utf_8": (HEAD + b',"x":"\xe2\x82', "UTF-8", "byte 0xe2"),
    "utf_16": ((HEAD + b"}").decode().encode("utf-16"), "UTF-8", "byte 0xff"),
    "utf_16_without_mark": ((HEAD + b"}").decode().encode("utf-16-le"), "JSON", "column"),
    "utf_32": ((HEAD + b"}").decode().encode("utf-32"), "UTF-8", "byte 0xff"),
    "byte_order_mark": (b"\xef\xbb\xbf" + HEAD + b"}", "byte order mark", "one"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "UTF-8", "byte 0x8b"),
    "half_a_surrogate_pair": (with_member(rb'"x":"\ud800"'), "Unicode text", "half of a surrogate pair"),
    "surrogates_in_wrong_order": (with_member(rb'"x":"\udc00\ud800"'), "Unicode text", "half of a surrogate pair"),
    "half_a_surrogate_pair_as_name": (with_member(rb'"\udfff":1'), "Unicode text", "half of a surrogate pair"),
    "array": (b"[" + HEAD + b"}]", "a JSON object", "an array"),
    "text": (b'"manifest"', "a JSON object", '"manifest"'),
    "number": (b"2", "a JSON object", "got 2"),
    "true": (b"true", "a JSON object", "true"),
    "null": (b"null", "a JSON object", "nothing"),
    "100_arrays": (nested(100, b"[", b"]"), "at most 64 levels deep", "more"),
    "100_objects": (nested(100, b'{"x":', b"}").replace(b":}", b":1}", 1), "at most 64 levels deep", "more"),
    "100000_arrays": (nested(100_000, b"[", b"]"), "at most 64 levels deep", "more"),
    "100000_open_arrays": (with_member(b'"x":' + b"[" * 100_000), "", ""),
    "2000000_open_arrays": (b"[" * 2_000_000, "", ""),
    "repeated_name": (with_member(b'"manifests":[]'), "free of repeated names", '"manifests" more than once'),
    "repeated_escaped_name": (with_member(rb'"manifest\u0073":[]'), "free of repeated names", '"manifests"'),
    "repeated_name_inside": (with_member(b'"annotations":{"a":"1","a":"2"}'), "free of repeated names", '"a"'),
    "repeated_name_in_unknown_part": (with_member(b'"x":[{"y":{"z":1,"z":1}}]'), "free of repeated names", '"z"'),
    "repeated_empty_name": (with_member(b'"":1,"":2'), "free of repeated names", '""'),
    "nan": (with_member(b'"x":NaN'), "JSON", "NaN"),
    "infinity": (with_member(b'"x":Infinity'), "JSON", "Infinity"),
    "minus_infinity": (with_member(b'"x":-Infinity'), "JSON", "-Infinity"),
    "beyond_a_double": (with_member(b'"x":1e999'), "numbers beyond a double", "1e999"),
    "beyond_64_bits": (with_member(b'"x":9223372036854775808'), "integers beyond 64 bits", "9223372036854775808"),
    "below_64_bits": (with_member(b'"x":-9223372036854775809'), "integers beyond 64 bits", "-9223372036854775809"),
    "5000_digits": (with_member(b'"x":' + b"9" * 5000), "integers beyond 64 bits", "999"),
    "a_million_digits": (with_member(b'"x":' + b"9" * 1_000_000), "integers beyond 64 bits", "999"),
    "leading_zero": (with_member(b'"x":01'), "JSON", "column"),
    "plus": (with_member(b'"x":+1'), "JSON", "column"),
    "hexadecimal": (with_member(b'"x":0x1'), "JSON", "column"),
    "no_digits_after_point": (with_member(b'"x":1.'), "JSON", "column"),
    "arabic_digits": (with_member('"x":١'.encode()), "JSON", "column"),
}


@pytest.mark.parametrize("sending", ["with_length", "in_chunks"])
@pytest.mark.parametrize(
    ("document", "expected", "came"), [pytest.param(*row, id=key) for key, row in BAD_DOCUMENTS.items()]
)
def test_push_bad_json_is_refused(
    port: int, name: str, document: bytes, expected: str, came: str, sending: str
) -> None:
    fields = {"Content-Type": OCI_INDEX}
    if sending == "in_chunks":
        fields["Transfer-Encoding"] = "chunked"
        document = chunked(*filter(None, (document[start : start + 8192] for start in range(0, len(document), 8192))))
    reply = ask(port, "PUT", f"/v2/{name}/manifests/v1", fields, document)
    assert_refused(reply, 400, "MANIFEST_INVALID", "invalid manifest: expected document to be", expected, came)
    assert reply.errors[0]["detail"]["field"] == "document"
    assert len(reply.body) < 2000


@pytest.mark.parametrize("document", [b"NaN", b"[]", b"{", b"\xff"], ids=["nan", "array", "half", "not_utf_8"])
def test_push_bad_json_by_its_digest_is_refused(port: int, name: str, document: bytes) -> None:
    reply = ask(
        port, "PUT", f"/v2/{name}/manifests/{Digest.of(document)}?tag=v1", {"Content-Type": OCI_INDEX}, document
    )
    assert_refused(reply, 400, "MANIFEST_INVALID", "expected document to be")


def test_push_json_that_is_as_odd_as_it_may_be_is_not_about_json(port: int, name: str) -> None:
    """What passes as JSON: deep, large numbers, escapes, emoji. It fails only for what it names."""
    odd = {"a": [[[[]]]], "b": 2**63 - 1, "c": -(2**63), "d": 1e308, "e": "\u0000\U0001f40b", "": None}
    child = {"mediaType": OCI_INDEX, "digest": Digest.of(b"absent"), "size": 1}
    document = json.dumps({"schemaVersion": 2, "manifests": [child], **odd}).encode()
    reply = ask(port, "PUT", f"/v2/{name}/manifests/v1", {"Content-Type": OCI_INDEX}, document)
    assert_refused(reply, 400, "MANIFEST_BLOB_UNKNOWN", Digest.of(b"absent"))
