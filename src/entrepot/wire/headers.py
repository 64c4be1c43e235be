"""Query strings and header values: text of the wire to Python values and back (RFC 9110, RFC 3986).

Pure functions for server and client. They accept any text a peer may send and raise nothing but the
``RegistryError`` named in their docstring. ``int()`` is never called before the digits are checked: it
would take ``+5``, ``1_000`` and Arabic digits, and raises on thousands of digits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import quote, unquote_to_bytes, urlencode

from entrepot.errors import ParameterInvalid, RangeInvalid, SizeInvalid, UploadInvalid

MAX_COUNT = 2**63 - 1  # longer numbers become this one: it fits SQL integers and exceeds every real size
MAX_RANGES = 1024  # zstd:chunked pulls ask for hundreds of ranges; nobody asks for thousands

_MAX_SHOWN = 80  # characters of a peer's text that an error repeats
_RANGE_SPEC = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)")
_CONTENT_RANGE = re.compile(r"(?:bytes )?([0-9]+)-([0-9]+)(?:/(?:[0-9]+|\*))?")
_ENTITY_TAG = re.compile(r'(?:W/)?"([^"]*)"|([^\s,"]+)')


def parse_query(raw: bytes) -> dict[str, list[str]]:
    """The parameters of a query string, each with its values in the order sent.

    Percent-encoded UTF-8 is decoded (bad sequences become U+FFFD), ``+`` stays ``+`` because media types
    contain it, and blank values are kept because ``artifactType=`` is a filter too.
    """
    parameters: dict[str, list[str]] = {}
    if not raw:
        return parameters
    for pair in raw.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            parameters.setdefault(_decode(name), []).append(_decode(value))
    return parameters


def parse_count(text: str) -> int:
    """The page size ``n``, at most ``MAX_COUNT``. Raises ParameterInvalid."""
    if _is_number(text):
        return _integer(text)
    raise ParameterInvalid(
        f"invalid n: expected a whole number of entries, e.g. 100, got {text[:_MAX_SHOWN]!r}",
        parameter="n",
        value=text[:_MAX_SHOWN],
    )


def parse_range(header: str, size: int) -> list[tuple[int, int]] | None:
    """The half-open byte spans of a ``size``-byte blob that a Range header asks for, in the order asked.

    None means that the header does not count and the whole blob is sent: another unit than bytes, bad
    syntax, or over ``MAX_RANGES`` ranges (RFC 9110, 14.2). Spans are clipped to the blob, never empty, and
    disjoint, so they never add up to more than ``size`` bytes: those that overlap become one. Those that
    only touch stay apart, because podman's partial pulls count the parts they get.
    Raises RangeInvalid when none of the ranges is in the blob, ``500-0`` included, as the OCI suite demands.
    """
    unit, _, specs = header.partition("=")
    if unit.lower() != "bytes" or specs.count(",") >= MAX_RANGES:
        return None
    spans = [_span(spec, size) for spec in (part.strip(" \t") for part in specs.split(",")) if spec]
    valid = [span for span in spans if span is not None]
    if not spans or len(valid) < len(spans):
        return None
    satisfiable = [(start, end) for start, end in valid if start < end]
    if not satisfiable:
        _refuse_range(header, size)
    return satisfiable if len(satisfiable) == 1 else _merge_overlapping(satisfiable)


def parse_content_range(header: str) -> tuple[int, int]:
    """First and last byte of an upload's chunk, both included: ``0-1023`` (OCI distribution-spec).

    The form of RFC 9110, ``bytes 0-1023/2048``, is taken as well. Raises UploadInvalid.
    """
    match = _CONTENT_RANGE.fullmatch(header)
    if match is not None:
        start, end = _integer(match[1]), _integer(match[2])
        if start <= end:
            return start, end
    raise UploadInvalid(
        f"invalid Content-Range: expected <first byte>-<last byte>, e.g. 0-1023, got {header[:_MAX_SHOWN]!r}",
        header="Content-Range",
        value=header[:_MAX_SHOWN],
    )


def parse_content_length(header: str) -> int:
    """The announced number of bytes, at most ``MAX_COUNT``. Raises SizeInvalid."""
    if _is_number(header):
        return _integer(header)
    raise SizeInvalid(
        f"invalid Content-Length: expected a number of bytes, got {header[:_MAX_SHOWN]!r}",
        header="Content-Length",
        value=header[:_MAX_SHOWN],
    )


def media_type(header: str) -> str:
    """A Content-Type without its parameters, in lower case."""
    return header.partition(";")[0].strip().lower()


def etag_matches(header: str, digest: str) -> bool:
    """Whether If-Match or If-None-Match names ``digest`` or is ``*``.

    Weak tags count too: an entity tag that is a digest is always strong, whatever a cache wrote before it.
    Bare digests are taken because several clients leave the quotes out.
    """
    header = header.strip()
    if header in (f'"{digest}"', digest, "*"):
        return True
    return any(digest in tag for tag in _ENTITY_TAG.findall(header))


def etag_digests(header: str) -> frozenset[str] | None:
    """The digests an If-Match names; None for ``*``, which any digest fulfils."""
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")}
    return None if "*" in tags else frozenset(tags)


def format_link(path: str, query: Mapping[str, str | int]) -> str:
    """A Link header to the next page, relative to the host (RFC 8288)."""
    # quote, not the default quote_plus: a blank written as "+" would be read as a plus
    target = f"{path}?{urlencode(query, quote_via=quote)}" if query else path
    return f'<{target}>; rel="next"'


def upload_range(offset: int) -> str:
    """The Range header of an upload that holds ``offset`` bytes.

    Of an empty one it is ``0-0`` as of one with a single byte: the suite and docker need a number there.
    """
    return f"0-{offset - 1}" if offset else "0-0"


def multipart_header(boundary: str, media_type: str, start: int, end: int, size: int) -> bytes:
    """What stands before the bytes ``start`` to ``end`` (excluded) in a multipart/byteranges body."""
    return (
        f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: bytes {start}-{end - 1}/{size}\r\n\r\n"
    ).encode("latin-1")


def multipart_footer(boundary: str) -> bytes:
    """What ends a multipart/byteranges body."""
    return f"\r\n--{boundary}--\r\n".encode("latin-1")


def _decode(text: bytes) -> str:
    return (unquote_to_bytes(text) if b"%" in text else text).decode("utf-8", "replace")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _integer(digits: str) -> int:
    if len(digits) < 19:
        return int(digits)
    significant = digits.lstrip("0")
    return MAX_COUNT if len(significant) > 19 else min(int(significant or "0"), MAX_COUNT)


def _span(spec: str, size: int) -> tuple[int, int] | None:
    match = _RANGE_SPEC.fullmatch(spec)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return max(0, size - _integer(suffix)), size
    return _integer(first), min(_integer(last) + 1, size) if last else size


def _merge_overlapping(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int, int]] = []  # place in the request, start, end
    for start, end, place in sorted((*span, place) for place, span in enumerate(spans)):
        if merged and start < merged[-1][2]:
            earlier_place, earlier_start, reach = merged.pop()
            merged.append((min(earlier_place, place), earlier_start, max(reach, end)))
        else:
            merged.append((place, start, end))
    return [(start, end) for _, start, end in sorted(merged)]


def _refuse_range(header: str, size: int) -> NoReturn:
    raise RangeInvalid(
        f"range not satisfiable: expected bytes of a blob of {size}, got {header[:_MAX_SHOWN]!r}",
        size=size,
        range=header[:_MAX_SHOWN],
    )
