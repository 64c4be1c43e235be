"""Values as Go's templates see them: what is true, how they are printed, compared and found.

A value is what JSON has: None, bool, int, float, str, list, dict; and ``Record``, a dict with fixed fields.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

NO_VALUE = "<no value>"


class Record(dict[str, Any]):
    """What Go has as a struct: asking for a field it does not have is an error, not ``<no value>``."""


class OpenRecord(Record):
    """A record some of whose fields may be absent, as those that docker leaves out of JSON when they are not set."""


class ValueRefused(Exception):
    """A value that cannot be used as the template asks; becomes a TemplateInvalid that says where."""


def field_of(value: Any, name: str) -> Any:
    """``value.name``. Raises ValueRefused."""
    if isinstance(value, Record) and not isinstance(value, OpenRecord) and name not in value:
        raise ValueRefused(f"no field {name}; there is {', '.join(value)}")
    if isinstance(value, Mapping):
        return value[name]
    if value is None:
        raise ValueRefused(f"nil data; no entry for key {quote(name)}")
    raise ValueRefused(f"can't evaluate field {name} in type {kind_of(value)}")


def is_absent(value: Any, name: str) -> bool:
    """Whether ``value`` is a map without that key; whatever is asked of it then is ``<no value>``."""
    is_open = isinstance(value, Mapping) and (isinstance(value, OpenRecord) or not isinstance(value, Record))
    return is_open and name not in value


def is_true(value: Any) -> bool:
    """False, 0, nil and what is empty are false."""
    return isinstance(value, Record) or bool(value)


def kind_of(value: Any) -> str:
    """Go's name of the type that it would have."""
    for kind, name in _KINDS.items():
        if isinstance(value, kind):
            return name
    return "interface {}"


_KINDS: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "float64",
    str: "string",
    list: "[]interface {}",
    Record: "struct",
    dict: "map[string]interface {}",
    type(None): "nil",
}


def show(value: Any) -> str:
    """As Go prints it with %v: ``[a b]``, ``map[k:v]``, ``true``."""
    return NO_VALUE if value is None else show_with(value, str)


def show_with(value: Any, of_text: Callable[[str], str]) -> str:
    """As ``show``, with texts, also those inside, passed through ``of_text``; nil is ``<nil>``."""
    if isinstance(value, str):
        return of_text(value)
    if isinstance(value, Record):
        return "{" + " ".join(show_with(each, of_text) for each in value.values()) + "}"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{of_text(key)}:{show_with(value[key], of_text)}" for key in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(show_with(each, of_text) for each in value) + "]"
    return _show_scalar(value)


def _show_scalar(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return show_float(value) if isinstance(value, float) else str(value)


def show_float(value: float) -> str:
    """Go's %v: as few digits as tell it from others, with an exponent below 1e-4 and from 1e6 on."""
    if not math.isfinite(value):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    shortest = repr(value).removesuffix(".0")
    if "e" in shortest or abs(value) < 1e6:
        return shortest
    digits = shortest.lstrip("-").replace(".", "").rstrip("0")
    mantissa = digits[0] + (f".{digits[1:]}" if digits[1:] else "")
    return f"{'-' if value < 0 else ''}{mantissa}e+{len(str(int(abs(value)))) - 1:02}"


def as_json(value: Any, *, indent: int | None = None) -> str:
    """As Go's encoder writes it: keys of maps sorted, those of records in their order, no blanks unless indented."""
    separators = (",", ": ") if indent else (",", ":")
    text = json.dumps(_ordered(value), ensure_ascii=False, indent=indent, separators=separators)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        keys = list(value) if isinstance(value, Record) else sorted(value)
        return {key: _ordered(value[key]) for key in keys}
    if isinstance(value, list | tuple):
        return [_ordered(each) for each in value]
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e21
    return int(value) if whole else value


_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_ESCAPES |= {"\\": "\\\\", '"': '\\"'}


def quote(text: str) -> str:
    """Go's %q."""
    return '"' + "".join(_ESCAPES.get(char) or _quoted_char(char) for char in text) + '"'


def _quoted_char(char: str) -> str:
    if char == " " or char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def equals(left: Any, right: Any) -> bool:
    """Go's eq of two values of one kind. Raises ValueRefused for others."""
    for value in (left, right):
        if isinstance(value, list | dict):
            raise ValueRefused(f"non-comparable type {kind_of(value)}")
    if left is None or right is None:
        return left is right
    _check_kinds(left, right)
    return bool(left == right)


def is_less(left: Any, right: Any) -> bool:
    """Go's lt: numbers, or texts. Raises ValueRefused for others."""
    _check_kinds(left, right)
    if isinstance(left, bool) or not isinstance(left, int | float | str):
        raise ValueRefused("invalid type for comparison")
    return bool(left < right)


def _check_kinds(left: Any, right: Any) -> None:
    kinds = {_basic_kind(left), _basic_kind(right)}
    if len(kinds) > 1:
        raise ValueRefused(f"incompatible types for comparison: {kind_of(left)} and {kind_of(right)}")


def _basic_kind(value: Any) -> type:
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def item_of(value: Any, key: Any) -> Any:
    """Go's index with one key. Raises ValueRefused when there cannot be such an item."""
    if isinstance(value, Mapping):
        if not isinstance(key, str):
            raise ValueRefused(f"value has type {kind_of(key)}; should be string")
        return value[key] if key in value else _zero_of(value)
    if isinstance(value, str):
        return value.encode(errors="replace")[_position(key, len(value.encode(errors="replace")))]
    if isinstance(value, list | tuple):
        return value[_position(key, len(value))]
    raise ValueRefused("index of untyped nil" if value is None else f"can't index item of type {kind_of(value)}")


def _zero_of(value: Mapping[str, Any]) -> str | None:
    """What Go has for an absent key: docker's maps are all of texts, JSON of unknown shape is of anything."""
    return "" if all(isinstance(each, str) for each in value.values()) else None


def _position(key: Any, length: int) -> int:
    if isinstance(key, bool) or not isinstance(key, int):
        raise ValueRefused(f"cannot index slice/array with type {kind_of(key)}")
    if not 0 <= key < length:
        raise ValueRefused(f"index out of range: {key}")
    return key
