"""The functions of Go's templates and those that docker adds. None of them runs code or reads anything."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

from entrepot.cli.templates_printf import sprintf
from entrepot.cli.templates_values import (
    ValueRefused,
    as_json,
    equals,
    is_less,
    item_of,
    kind_of,
    show,
    show_with,
)

MAX_PADDING = 10_000


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueRefused(f"wrong type for value; expected string; got {kind_of(value)}")
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueRefused(f"wrong type for value; expected int; got {kind_of(value)}")
    return value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else show(value)


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode(errors="replace"))
    if isinstance(value, list | tuple | Mapping):
        return len(value)
    raise ValueRefused("len of nil pointer" if value is None else f"len of type {kind_of(value)}")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = item_of(value, key)
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    whole = value.encode(errors="replace") if isinstance(value, str) else value
    if not isinstance(whole, bytes | list | tuple):
        raise ValueRefused(f"can't slice item of type {kind_of(value)}")
    if len(bounds) > 2:
        raise ValueRefused(f"too many slice indexes: {len(bounds)}")
    start, end = ([_number(bound) for bound in bounds] + [0, len(whole)][len(bounds) :])[:2]
    if not 0 <= start <= end <= len(whole):
        raise ValueRefused(f"invalid slice index: {start} > {end}" if start > end else f"index out of range: {end}")
    part = whole[start:end]
    return part.decode(errors="replace") if isinstance(part, bytes) else part


def _print(*values: Any) -> str:
    """Go's Sprint: a blank between two values of which neither is a text."""
    parts: list[str] = []
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            parts.append(" ")
        parts.append(show_with(value, str))
    return "".join(parts)


def _println(*values: Any) -> str:
    return " ".join(show_with(value, str) for value in values) + "\n"


def _join(values: Any, separator: Any) -> str:
    if not isinstance(values, list | tuple):
        raise ValueRefused(f"wrong type for value; expected []string; got {kind_of(values)}")
    return _text(separator).join(_text(value) for value in values)


def _split(text: Any, separator: Any) -> list[str]:
    return _text(text).split(separator) if _text(separator) else list(_text(text))


def _title(text: Any) -> str:
    return re.sub(r"(?<!\w)\w", lambda match: match[0].upper(), _text(text))


def _pad(text: Any, before: Any, after: Any) -> str:
    for count in (_number(before), _number(after)):
        if not 0 <= count <= MAX_PADDING:
            raise ValueRefused(f"expected 0 to {MAX_PADDING} blanks, got {count}")
    return " " * before + text + " " * after if _text(text) else ""


def _truncate(text: Any, length: Any) -> str:
    if _number(length) < 0:
        raise ValueRefused(f"expected a length of 0 or more, got {length}")
    return _text(text)[:length]


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise ValueRefused("missing argument for comparison")
    return any(equals(first, other) for other in others)


def _html(*values: Any) -> str:
    text = "".join(_shown(value) for value in values)
    return html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;").replace("\0", "\ufffd")


_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


def _js(*values: Any) -> str:
    text = "".join(_shown(value) for value in values)
    return "".join(_JS.get(char) or (char if char.isprintable() else f"\\u{ord(char):04X}") for char in text)


# ``and`` and ``or`` are not here: they evaluate no more of their arguments than they need.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": _equal,
    "ge": lambda left, right: not is_less(left, right),
    "gt": lambda left, right: is_less(right, left),
    "html": _html,
    "index": _index,
    "join": _join,
    "js": _js,
    "json": as_json,
    "le": lambda left, right: not is_less(right, left),
    "len": _length,
    "lower": lambda text: _text(text).lower(),
    "lt": is_less,
    "ne": lambda left, right: not equals(left, right),
    "pad": _pad,
    "print": _print,
    "printf": lambda form, *values: sprintf(_text(form), values),
    "println": _println,
    "slice": _slice,
    "split": _split,
    "title": _title,
    "truncate": _truncate,
    "upper": lambda text: _text(text).upper(),
    "urlquery": lambda *values: quote_plus("".join(_shown(value) for value in values), errors="replace", safe="~"),
}
