from __future__ import annotations

from email.parser import BytesParser

import pytest

from entrepot.errors import ParameterInvalid, RangeInvalid, SizeInvalid, UploadInvalid
from entrepot.wire.headers import (
    MAX_COUNT,
    MAX_RANGES,
    etag_matches,
    format_link,
    media_type,
    multipart_footer,
    multipart_header,
    parse_content_length,
    parse_content_range,
    parse_count,
    parse_query,
    parse_range,
    upload_range,
)

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
NOT_A_NUMBER = [
    pytest.param("", id="empty"),
    pytest.param("-1", id="negative"),
    pytest.param("+5", id="plus"),
    pytest.param(" 5", id="leading blank"),
    pytest.param("5\n", id="trailing newline"),
    pytest.param("1_000", id="underscore"),
    pytest.param("1.0", id="fraction"),
    pytest.param("1e3", id="exponent"),
    pytest.param("0x10", id="hexadecimal"),
    pytest.param("\u0665", id="arabic digit"),
    pytest.param("\u00b2", id="superscript"),
    pytest.param("ten", id="word"),
    pytest.param("5\0", id="NUL"),
    pytest.param("5, 5", id="list"),
]
NUMBERS = [
    pytest.param("0", 0, id="zero"),
    pytest.param("007", 7, id="leading zeros"),
    pytest.param("100", 100, id="hundred"),
    pytest.param("9223372036854775807", MAX_COUNT, id="largest"),
    pytest.param("9223372036854775808", MAX_COUNT, id="one more than the largest"),
    pytest.param("0" * 30 + "5", 5, id="many leading zeros"),
    pytest.param("0" * 5000, 0, id="nothing but zeros"),
    pytest.param("9" * 5000, MAX_COUNT, id="more digits than int takes"),
]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(b"", {}, id="empty"),
        pytest.param(b"n=5&last=v1", {"n": ["5"], "last": ["v1"]}, id="two"),
        pytest.param(b"tag=a&tag=b&tag=a", {"tag": ["a", "b", "a"]}, id="repeats in order"),
        pytest.param(b"artifactType=", {"artifactType": [""]}, id="blank value"),
        pytest.param(b"artifactType", {"artifactType": [""]}, id="no equals sign"),
        pytest.param(b"&&n=5&", {"n": ["5"]}, id="empty pairs"),
        pytest.param(b"t=a/vnd.x+json", {"t": ["a/vnd.x+json"]}, id="raw plus"),
        pytest.param(b"t=a%2Fvnd.x%2Bjson", {"t": ["a/vnd.x+json"]}, id="encoded plus and slash"),
        pytest.param(b"t=a%2Fvnd.x+json", {"t": ["a/vnd.x+json"]}, id="raw plus beside an escape"),
        pytest.param(b"digest=sha256%3Aab", {"digest": ["sha256:ab"]}, id="encoded colon"),
        pytest.param(b"a=b=c", {"a": ["b=c"]}, id="equals sign in the value"),
        pytest.param(b"a%26b=c%26d", {"a&b": ["c&d"]}, id="encoded ampersand"),
        pytest.param(b"a=1;b=2", {"a": ["1;b=2"]}, id="semicolon separates nothing"),
        pytest.param(b"a=%C3%A9", {"a": ["\u00e9"]}, id="encoded UTF-8"),
        pytest.param("a=\u00e9".encode(), {"a": ["\u00e9"]}, id="raw UTF-8"),
        pytest.param(b"a=%FF\xfe", {"a": ["\ufffd\ufffd"]}, id="not UTF-8"),
        pytest.param(b"a=%ED%A0%80", {"a": ["\ufffd" * 3]}, id="encoded surrogate"),
        pytest.param(b"a=%zz%4", {"a": ["%zz%4"]}, id="broken escapes"),
        pytest.param(b"a=%00", {"a": ["\0"]}, id="NUL"),
        pytest.param(b"=x", {"": ["x"]}, id="no name"),
    ],
)
def test_parse_query_returns_every_value_in_order(raw: bytes, expected: dict[str, list[str]]) -> None:
    assert parse_query(raw) == expected


@pytest.mark.parametrize(("text", "expected"), NUMBERS)
def test_parse_count_of_digits_returns_it_clamped(text: str, expected: int) -> None:
    assert parse_count(text) == expected


@pytest.mark.parametrize("text", NOT_A_NUMBER)
def test_parse_count_of_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ParameterInvalid, match="expected a whole number") as refusal:
        parse_count(text)

    assert refusal.value.detail == {"parameter": "n", "value": text}


@pytest.mark.parametrize(("text", "expected"), NUMBERS)
def test_parse_content_length_of_digits_returns_it_clamped(text: str, expected: int) -> None:
    assert parse_content_length(text) == expected


@pytest.mark.parametrize("text", NOT_A_NUMBER)
def test_parse_content_length_of_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SizeInvalid, match="expected a number of bytes") as refusal:
        parse_content_length(text)

    assert refusal.value.detail == {"header": "Content-Length", "value": text}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("bytes=500-1499", [(500, 1500)], id="middle"),
        pytest.param("bytes=500-", [(500, 2048)], id="from an offset"),
        pytest.param("bytes=-500", [(1548, 2048)], id="suffix"),
        pytest.param("bytes=2000-5000", [(2000, 2048)], id="clipped"),
        pytest.param("bytes=0-2047", [(0, 2048)], id="whole"),
        pytest.param("bytes=2047-2047", [(2047, 2048)], id="last byte"),
        pytest.param("bytes=0-0", [(0, 1)], id="first byte"),
        pytest.param("bytes=-5000", [(0, 2048)], id="suffix longer than the blob"),
        pytest.param("Bytes=0-0", [(0, 1)], id="unit in another case"),
        pytest.param("bytes= 0-0 ,\t5-5 ", [(0, 1), (5, 6)], id="blanks around the commas"),
        pytest.param("bytes=,0-0,,", [(0, 1)], id="empty list elements"),
        pytest.param("bytes=10-19,0-4,-8", [(10, 20), (0, 5), (2040, 2048)], id="kept in the order asked"),
        pytest.param("bytes=0-4,9000-,10-14", [(0, 5), (10, 15)], id="unsatisfiable one dropped"),
        pytest.param("bytes=0-4,7-5", [(0, 5)], id="backward one dropped"),
        pytest.param("bytes=0-4,5-9", [(0, 5), (5, 10)], id="neighbours stay apart"),
        pytest.param("bytes=0-4,4-9", [(0, 10)], id="overlap joined"),
        pytest.param("bytes=0-9,2-3", [(0, 10)], id="inner joined"),
        pytest.param("bytes=7-7,7-7,7-7", [(7, 8)], id="repeats joined"),
        pytest.param("bytes=100-199,0-49,150-299", [(100, 300), (0, 50)], id="joined at the earlier place"),
        pytest.param("bytes=0-9,20-29,5-24", [(0, 30)], id="bridge joins three"),
        pytest.param("bytes=0-" + "9" * 5000, [(0, 2048)], id="more digits than int takes"),
        pytest.param("bytes=-" + "9" * 5000, [(0, 2048)], id="suffix of more digits than int takes"),
    ],
)
def test_parse_range_satisfiable_returns_half_open_spans(header: str, expected: list[tuple[int, int]]) -> None:
    assert parse_range(header, 2048) == expected


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="empty"),
        pytest.param("bytes", id="no ranges"),
        pytest.param("bytes=", id="empty list"),
        pytest.param("bytes=,,", id="list of nothing"),
        pytest.param("bytes=-", id="hyphen only"),
        pytest.param("bytes=a-b", id="letters"),
        pytest.param("bytes=0-4,x", id="one bad of two"),
        pytest.param("bytes=0-4-8", id="two hyphens"),
        pytest.param("bytes=5", id="no hyphen"),
        pytest.param("bytes=--5", id="double hyphen"),
        pytest.param("bytes=+1-5", id="plus"),
        pytest.param("bytes=1_0-20", id="underscore"),
        pytest.param("bytes=\u0661-\u0662", id="arabic digits"),
        pytest.param("bytes=0 - 4", id="blanks within"),
        pytest.param("bytes 0-4", id="blank for the equals sign"),
        pytest.param("items=0-4", id="other unit"),
        pytest.param("0-4", id="no unit"),
        pytest.param("bytes=0-4\n", id="trailing newline"),
    ],
)
def test_parse_range_of_other_unit_or_bad_syntax_is_ignored(header: str) -> None:
    assert parse_range(header, 2048) is None


def test_parse_range_of_as_many_ranges_as_allowed_returns_all() -> None:
    header = "bytes=" + ",".join(f"{2 * i}-{2 * i}" for i in range(MAX_RANGES))

    assert parse_range(header, 1 << 20) == [(2 * i, 2 * i + 1) for i in range(MAX_RANGES)]


def test_parse_range_of_too_many_ranges_is_ignored() -> None:
    assert parse_range("bytes=" + ",".join(["0-0"] * (MAX_RANGES + 1)), 2048) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [
        pytest.param("bytes=500-0", 2048, id="backward"),
        pytest.param("bytes=5000-10000", 2048, id="behind the end"),
        pytest.param("bytes=2048-", 2048, id="at the end"),
        pytest.param("bytes=-0", 2048, id="empty suffix"),
        pytest.param("bytes=3000-,4000-,-0", 2048, id="none of several"),
        pytest.param("bytes=" + "9" * 5000 + "-", 2048, id="more digits than int takes"),
        pytest.param("bytes=0-", 0, id="empty blob from the start"),
        pytest.param("bytes=0-0", 0, id="empty blob, first byte"),
        pytest.param("bytes=-1", 0, id="empty blob, suffix"),
    ],
)
def test_parse_range_with_nothing_satisfiable_is_refused_with_the_size(header: str, size: int) -> None:
    with pytest.raises(RangeInvalid, match="not satisfiable") as refusal:
        parse_range(header, size)

    assert refusal.value.size == size
    assert refusal.value.detail == {"size": size, "range": header[:80]}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("0-0", (0, 0), id="one byte"),
        pytest.param("0-1023", (0, 1023), id="first chunk"),
        pytest.param("1024-2047", (1024, 2047), id="next chunk"),
        pytest.param("bytes 0-1023", (0, 1023), id="with unit"),
        pytest.param("bytes 0-1023/2048", (0, 1023), id="with unit and total"),
        pytest.param("bytes 0-1023/*", (0, 1023), id="with unit and unknown total"),
        pytest.param("0-1023/2048", (0, 1023), id="with total"),
        pytest.param("5-" + "9" * 5000, (5, MAX_COUNT), id="more digits than int takes"),
    ],
)
def test_parse_content_range_returns_first_and_last_byte(header: str, expected: tuple[int, int]) -> None:
    assert parse_content_range(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="empty"),
        pytest.param("1-0", id="backward"),
        pytest.param("5-", id="no end"),
        pytest.param("-5", id="no start"),
        pytest.param("5", id="no hyphen"),
        pytest.param("a-b", id="letters"),
        pytest.param("0-1-2", id="two hyphens"),
        pytest.param("+0-5", id="plus"),
        pytest.param("0 - 5", id="blanks"),
        pytest.param(" 0-5", id="leading blank"),
        pytest.param("0-5\n", id="trailing newline"),
        pytest.param("\u0660-\u0665", id="arabic digits"),
        pytest.param("bytes=0-5", id="form of the Range header"),
        pytest.param("bytes */5", id="unsatisfied range"),
        pytest.param("0-5/x", id="bad total"),
        pytest.param("0-5, 6-9", id="list"),
    ],
)
def test_parse_content_range_malformed_or_backward_is_refused(header: str) -> None:
    with pytest.raises(UploadInvalid, match="expected <first byte>-<last byte>") as refusal:
        parse_content_range(header)

    assert refusal.value.detail == {"header": "Content-Range", "value": header}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("application/json", "application/json", id="plain"),
        pytest.param("application/json; charset=utf-8", "application/json", id="parameter"),
        pytest.param("application/json;charset=utf-8;x=y", "application/json", id="two parameters"),
        pytest.param("  Application/JSON ; q=1", "application/json", id="blanks and upper case"),
        pytest.param("", "", id="empty"),
        pytest.param(";", "", id="parameters only"),
    ],
)
def test_read_media_type_leaves_out_parameters(header: str, expected: str) -> None:
    assert media_type(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(f'"{DIGEST}"', id="quoted"),
        pytest.param(DIGEST, id="bare"),
        pytest.param(f'W/"{DIGEST}"', id="weak"),
        pytest.param("*", id="star"),
        pytest.param(" * ", id="star with blanks"),
        pytest.param(f'"{OTHER}", "{DIGEST}"', id="second of two"),
        pytest.param(f'"{OTHER}","{DIGEST}","x"', id="without blanks"),
        pytest.param(f'"x", W/"{DIGEST}"', id="weak and second"),
        pytest.param(f"{OTHER}, {DIGEST}", id="bare and second"),
        pytest.param(f'"a,b", "{DIGEST}"', id="comma in another"),
    ],
)
def test_match_etag_naming_the_digest_is_true(header: str) -> None:
    assert etag_matches(header, DIGEST)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="empty"),
        pytest.param('""', id="empty tag"),
        pytest.param(f'"{OTHER}"', id="other digest"),
        pytest.param(f'"{DIGEST}0"', id="longer"),
        pytest.param(f'"{DIGEST[:-1]}"', id="shorter"),
        pytest.param(f'"{DIGEST.upper()}"', id="upper case"),
        pytest.param(f'"x,{DIGEST},y"', id="within another tag"),
        pytest.param('"*"', id="quoted star"),
        pytest.param('"x", *', id="star in a list"),
        pytest.param(f'w/"{OTHER}"', id="weak other"),
    ],
)
def test_match_etag_naming_something_else_is_false(header: str) -> None:
    assert not etag_matches(header, DIGEST)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({"n": 5, "last": "x"}, '</v2/a/tags/list?n=5&last=x>; rel="next"', id="page"),
        pytest.param({"last": "a/b"}, '</v2/a/tags/list?last=a%2Fb>; rel="next"', id="slash"),
        pytest.param({"t": "a/b+c d"}, '</v2/a/tags/list?t=a%2Fb%2Bc%20d>; rel="next"', id="plus and blank"),
        pytest.param({"t": '">;'}, '</v2/a/tags/list?t=%22%3E%3B>; rel="next"', id="delimiters of Link"),
        pytest.param({"t": ""}, '</v2/a/tags/list?t=>; rel="next"', id="blank value"),
        pytest.param({}, '</v2/a/tags/list>; rel="next"', id="no query"),
    ],
)
def test_format_link_encodes_its_values(query: dict[str, str | int], expected: str) -> None:
    assert format_link("/v2/a/tags/list", query) == expected


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        pytest.param(0, "0-0", id="empty"),
        pytest.param(1, "0-0", id="one byte"),
        pytest.param(2, "0-1", id="two bytes"),
        pytest.param(1 << 40, "0-1099511627775", id="a TiB"),
    ],
)
def test_format_upload_range_names_the_last_byte(offset: int, expected: str) -> None:
    assert upload_range(offset) == expected


def test_format_multipart_body_is_read_back_part_by_part() -> None:
    """The pieces with the bytes between them are a body that a MIME parser splits into the ranges."""
    blob = bytes(range(256)).replace(b"\n", b".").replace(b"\r", b".")
    spans = [(10, 20), (0, 1), (250, 256)]
    body = b"".join(multipart_header("XYZ", "text/plain", s, e, 256) + blob[s:e] for s, e in spans)
    head = b"Content-Type: multipart/byteranges; boundary=XYZ\r\n\r\n"

    message = BytesParser().parsebytes(head + body + multipart_footer("XYZ"))

    parts = [part for part in message.walk() if not part.is_multipart()]
    assert [part["Content-Range"] for part in parts] == [
        "bytes 10-19/256",
        "bytes 0-0/256",
        "bytes 250-255/256",
    ]
    assert [part.get_payload(decode=True) for part in parts] == [blob[s:e] for s, e in spans]
    assert not message.defects
