"""Sizes and times as docker writes them (go-units, and Go's own ``time``)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

NOT_KNOWN = "N/A"

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_MINUTE = 60
_HOUR = 60 * _MINUTE
_HOURS_A_DAY = 24

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]{1,30}))?"
    r"(?:(Z)|([+-])([0-9]{2}):([0-9]{2}))"
)
_ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)  # what Go writes for "not known"


def human_size(count: float) -> str:
    """Bytes in decimal units with three digits: ``0B``, ``300kB``, ``1.09GB``."""
    return _scaled(count, digits=3)


def bar_size(count: float) -> str:
    """Bytes as they stand beside a bar, with four digits: ``163.8kB``."""
    return _scaled(count, digits=4)


def _scaled(count: float, *, digits: int) -> str:
    size, unit = float(count), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.{digits}g}{_UNITS[unit]}"


def human_duration(seconds: float) -> str:
    """A length of time in words: ``Less than a second``, ``About a minute``, ``3 weeks``."""
    if seconds < _MINUTE:
        return _of_seconds(int(seconds))
    minutes = int(seconds / _MINUTE)
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    return _of_hours(int(seconds / _HOUR + 0.5), int(seconds / _HOUR))


def _of_seconds(seconds: int) -> str:
    if seconds < 1:
        return "Less than a second"
    return "1 second" if seconds == 1 else f"{seconds} seconds"


def _of_hours(rounded: int, whole: int) -> str:
    days = rounded // _HOURS_A_DAY
    if rounded < 48:
        return "About an hour" if rounded == 1 else f"{rounded} hours"
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    if days < 2 * 365:
        return f"{days // 30} months"
    return f"{whole // _HOURS_A_DAY // 365} years"


def parse_rfc3339(text: object) -> datetime | None:
    """A time such as ``2026-11-23T10:02:03.123456789+01:00``, in UTC, cut to microseconds; None for anything else."""
    match = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    *numbers, fraction, _, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    micros = int((fraction or "")[:6].ljust(6, "0"))
    try:
        moment = datetime(*(int(number) for number in numbers), micros, tzinfo=UTC)  # type: ignore[misc,arg-type]  # six
        return moment + offset if sign == "-" else moment - offset
    except (ValueError, OverflowError):
        return None


def created_since(created: object, now: datetime) -> str:
    """``3 weeks ago``; N/A when the image does not say when it was made, or not in RFC 3339."""
    moment = parse_rfc3339(created)
    if moment is None or moment == _ZERO_TIME:
        return NOT_KNOWN
    return f"{human_duration((now - moment).total_seconds())} ago"


def created_at(created: object, zone: tzinfo | None = None) -> str:
    """As Go prints a time, to the second: ``2026-11-23 10:02:03 +0000 UTC``; N/A as in ``created_since``.

    ``zone`` is the local one by default.
    """
    moment = parse_rfc3339(created)
    if moment is None or moment == _ZERO_TIME:
        return NOT_KNOWN
    try:
        local = moment.astimezone(zone)
    except OverflowError:
        local = moment
    offset = local.strftime("%z")
    name = local.tzname() or ""
    return f"{local:%Y-%m-%d %H:%M:%S} {offset} {offset if name.startswith(('UTC+', 'UTC-')) else name}"
