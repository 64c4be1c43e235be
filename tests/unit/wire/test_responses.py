from __future__ import annotations

import pytest

from entrepot.wire.headers import format_link, upload_range
from entrepot.wire.responses import parse_content_range_206, parse_link_next, parse_retry_after, parse_upload_range

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("0", 0.0, id="zero"),
        pytest.param("120", 120.0, id="seconds"),
        pytest.param(" 5 ", 5.0, id="blanks"),
        pytest.param("1.5", 1.5, id="fraction"),
        pytest.param("Tue, 14 Nov 2023 22:14:20 GMT", 60.0, id="date"),
        pytest.param("Tue, 14 Nov 2023 23:14:20 +0100", 60.0, id="date with a zone"),
        pytest.param("Tue, 14 Nov 2023 22:14:20 -0000", 60.0, id="date with no zone"),
        pytest.param("Tuesday, 14-Nov-23 22:14:20 GMT", 60.0, id="date as of RFC 850"),
        pytest.param("Tue, 14 Nov 2023 22:00:00 GMT", 0.0, id="date that is past"),
        pytest.param("", None, id="empty"),
        pytest.param("-1", None, id="negative"),
        pytest.param("soon", None, id="word"),
        pytest.param("9" * 5000, None, id="long number"),
        pytest.param("Tue, 99 Nov 2023 22:14:20 GMT", None, id="no such day"),
        pytest.param("Tue, 14 Nov 99999 22:14:20 GMT", None, id="no such year"),
        pytest.param("\u0665", None, id="arabic digit"),
    ],
)
def test_parse_retry_after_gives_seconds_or_none(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    ("value", "target"),
    [
        pytest.param('</v2/_catalog?n=2&last=b>; rel="next"', "/v2/_catalog?n=2&last=b", id="usual"),
        pytest.param("</v2/_catalog?last=b>;rel=next", "/v2/_catalog?last=b", id="no quotes"),
        pytest.param("<https://r.example/v2/x>; REL = NEXT", "https://r.example/v2/x", id="capitals"),
        pytest.param('</a>; rel="prev", </b>; rel="next"', "/b", id="second of two"),
        pytest.param('</a>; title="x"; rel="last next"', "/a", id="one of several relations"),
        pytest.param('</a?x=1,2;3>; rel="next"', "/a?x=1,2;3", id="comma and semicolon in the address"),
        pytest.param('</a>; rel="nextish"', None, id="another relation"),
        pytest.param("</a>", None, id="no relation"),
        pytest.param('/a; rel="next"', None, id="no brackets"),
        pytest.param("", None, id="empty"),
        pytest.param("<" * 60_000, None, id="brackets"),
        pytest.param("<a>;rel" + " " * 60_000, None, id="blanks"),
    ],
)
def test_parse_link_next_gives_address_or_none(value: str, target: str | None) -> None:
    assert parse_link_next(value) == target


def test_parse_link_next_reads_what_format_link_writes() -> None:
    assert parse_link_next(format_link("/v2/a/tags/list", {"n": 5, "last": "v1+x"})) == (
        "/v2/a/tags/list?n=5&last=v1%2Bx"
    )


@pytest.mark.parametrize(
    ("value", "sent", "size"),
    [
        pytest.param("0-1023", 0, 1024, id="usual"),
        pytest.param("bytes=0-1023", 0, 1024, id="with a unit"),
        pytest.param("bytes 0-1023", 0, 1024, id="with a unit and a blank"),
        pytest.param("0-0", 0, 0, id="empty"),
        pytest.param("0-0", 1, 1, id="one byte"),
        pytest.param("0-0", 5, 0, id="nothing of what was sent"),
        pytest.param("0-1", 1, 2, id="two bytes"),
        pytest.param("", 0, None, id="no header"),
        pytest.param("5-9", 0, None, id="not from the beginning"),
        pytest.param("0--1", 0, None, id="negative"),
        pytest.param("0-", 0, None, id="open"),
        pytest.param("0-" + "9" * 5000, 0, None, id="long number"),
    ],
)
def test_parse_upload_range_gives_size_or_none(value: str, sent: int, size: int | None) -> None:
    assert parse_upload_range(value, sent=sent) == size


@pytest.mark.parametrize("size", [0, 2, 1024])
def test_parse_upload_range_reads_what_upload_range_writes(size: int) -> None:
    assert parse_upload_range(upload_range(size)) == size


@pytest.mark.parametrize(
    ("value", "span"),
    [
        pytest.param("bytes 0-99/1000", (0, 100, 1000), id="usual"),
        pytest.param("bytes 500-999/1000", (500, 1000, 1000), id="to the end"),
        pytest.param("bytes 5-9/*", (5, 10, None), id="size not told"),
        pytest.param("Bytes 5-9/10", (5, 10, 10), id="capital"),
        pytest.param("bytes=5-9/10", (5, 10, 10), id="equals sign"),
        pytest.param("bytes 9-5/10", None, id="backwards"),
        pytest.param("bytes 5-10/10", None, id="beyond the end"),
        pytest.param("bytes */10", None, id="that of a 416"),
        pytest.param("5-9/10", None, id="no unit"),
        pytest.param("lines 5-9/10", None, id="another unit"),
        pytest.param("bytes 0-99/" + "9" * 5000, None, id="long number"),
        pytest.param("", None, id="no header"),
    ],
)
def test_parse_content_range_gives_span_or_none(value: str, span: tuple[int, int, int | None] | None) -> None:
    assert parse_content_range_206(value) == span
