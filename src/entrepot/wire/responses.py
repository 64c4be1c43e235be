"""Header values that a registry's answers carry, read by a client (RFC 9110, RFC 8288, OCI distribution-spec).

A value that makes no sense is None, never an error: what then is for the caller to say.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

_NUMBER = "([0-9]{1,18})"  # anything longer is no size and no time
_SIZE = re.compile(_NUMBER)
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_RELATION = re.compile(r';[ \t]*rel[ \t]*=[ \t]*(?:"([^"]*)"|([^";, \t]+))', re.IGNORECASE)
_UPLOAD_RANGE = re.compile(rf"(?:bytes[= ])?0-{_NUMBER}")
_CONTENT_RANGE = re.compile(rf"bytes[ =]{_NUMBER}-{_NUMBER}/(?:{_NUMBER}|\*)", re.IGNORECASE)


def parse_size(value: str) -> int | None:
    """A number of bytes, as in Content-Length."""
    match = _SIZE.fullmatch(value.strip())
    return int(match[1]) if match else None


def parse_retry_after(value: str, now: float) -> float | None:
    """Seconds to wait, from a number of them or from a date; ``now`` in seconds since 1970. Never negative."""
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:  # "-0000": UTC, from somebody who does not say where they are
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def parse_link_next(value: str) -> str | None:
    """The address of the next page, as it stands there: mostly a path, which counts from the page's own address."""
    for target, parameters in _LINK.findall(value):
        relation = _RELATION.search(parameters)
        if relation is not None and "next" in (relation[1] or relation[2] or "").lower().split():
            return str(target)
    return None


def parse_upload_range(value: str, *, sent: int = 0) -> int | None:
    """How many bytes an upload holds, from its Range header: ``0-1023`` is 1024; ``bytes=0-1023`` is taken too.

    ``0-0`` stands for one byte and for none (distribution, and everybody after it, say so of an empty upload). It is
    one if the caller has ``sent`` exactly one, else none. Where that is wrong the registry refuses the next chunk.
    """
    match = _UPLOAD_RANGE.fullmatch(value.strip())
    if match is None:
        return None
    last = int(match[1])
    return last + 1 if last or sent == 1 else 0


def parse_content_range_206(value: str) -> tuple[int, int, int | None] | None:
    """Start, end (not included) and whole size, None for ``*``, of the part that an answer with status 206 is."""
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if match is None:
        return None
    start, end, size = int(match[1]), int(match[2]) + 1, int(match[3]) if match[3] else None
    return (start, end, size) if start < end and (size is None or end <= size) else None
