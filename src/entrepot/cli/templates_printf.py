"""Go's ``printf``, as far as it makes sense for texts, numbers, lists and maps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from entrepot.cli.templates_values import kind_of, quote, show_float, show_with

MAX_WIDTH = 10_000

_DIRECTIVE = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<width>[0-9]+|\*)?(?:\.(?P<precision>[0-9]*|\*))?(?P<verb>.)?", re.DOTALL
)


def sprintf(form: str, values: Sequence[Any]) -> str:
    """``form`` with its directives filled in; like Go it says inside the text what does not fit."""
    waiting = iter(values)
    parts, position = [], 0
    for match in _DIRECTIVE.finditer(form):
        parts += [form[position : match.start()], _fill(match, waiting)]
        position = match.end()
    left = ", ".join(f"{kind_of(value)}={show_with(value, str)}" for value in waiting)
    return "".join([*parts, form[position:], f"%!(EXTRA {left})" if left else ""])


def _fill(match: re.Match[str], values: Iterator[Any]) -> str:
    verb = match["verb"]
    if verb is None:
        return "%!(NOVERB)"
    if verb == "%":
        return "%"
    try:
        width, precision = _count(match["width"], values), _count(match["precision"], values)
        value = next(values)
    except StopIteration:
        return f"%!{verb}(MISSING)"
    text = _format(verb, value, match["flags"], precision)
    return _padded(text, match["flags"], width or 0, number=verb in "bdoxXeEfFgG")


def _count(text: str | None, values: Iterator[Any]) -> int | None:
    if text is None:
        return None
    number = next(values) if text == "*" else int(text[:9] or 0)
    return min(number, MAX_WIDTH) if isinstance(number, int) else 0


def _padded(text: str, flags: str, width: int, *, number: bool) -> str:
    if "-" in flags or width < 0:
        return text.ljust(abs(width))
    if "0" in flags and number:
        sign = text[:1] if text[:1] in ("+", "-") else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def _format(verb: str, value: Any, flags: str, precision: int | None) -> str:
    if verb == "v":
        return show_with(value, str) if not isinstance(value, float) else show_float(value)
    if verb == "T":
        return kind_of(value)
    if verb in "sq":
        return _format_text(verb, value, precision)
    if isinstance(value, list | tuple):
        return "[" + " ".join(_format(verb, each, flags, precision) for each in value) + "]"
    if isinstance(value, dict):
        items = sorted(value.items())
        return (
            "map[" + " ".join(":".join(_format(verb, part, flags, precision) for part in item) for item in items) + "]"
        )
    for kind, verbs in _BY_KIND:
        if isinstance(value, kind) and verb in verbs:
            return verbs[verb](value, flags, precision)
        if isinstance(value, kind):
            break
    return _unfit(verb, value)


def _format_text(verb: str, value: Any, precision: int | None) -> str:
    def form(text: str) -> str:
        cut = text if precision is None else text[:precision]
        return quote(cut) if verb == "q" else cut

    if isinstance(value, str | list | tuple | dict):
        return show_with(value, form)
    if verb == "q" and isinstance(value, int) and not isinstance(value, bool):
        return f"'{_char(value)}'"
    return _unfit(verb, value)


def _unfit(verb: str, value: Any) -> str:
    return f"%!{verb}(<nil>)" if value is None else f"%!{verb}({kind_of(value)}={show_with(value, str)})"


def _char(code: int) -> str:
    return chr(code) if 0 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else "\ufffd"


def _of_integer(spec: str, prefix: str = "") -> Callable[[int, str, int | None], str]:
    def form(value: int, flags: str, precision: int | None) -> str:
        digits = format(abs(value), spec).rjust(precision or 0, "0")
        sign = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
        return sign + (prefix if "#" in flags else "") + digits

    return form


def _of_float(spec: str) -> Callable[[float, str, int | None], str]:
    def form(value: float, flags: str, precision: int | None) -> str:
        if spec in "gG" and precision is None:
            return ("+" if "+" in flags and value >= 0 else "") + show_float(value)
        return format(value, f"{'+' if '+' in flags else ''}.{6 if precision is None else min(precision, 1000)}{spec}")

    return form


def _of_hex(spec: str) -> Callable[[str, str, int | None], str]:
    def form(value: str, flags: str, precision: int | None) -> str:  # noqa: ARG001
        return "".join(format(byte, f"02{spec}") for byte in value.encode(errors="replace")[:precision])

    return form


_Formats = dict[str, Callable[[Any, str, int | None], str]]
_BY_KIND: tuple[tuple[type, _Formats], ...] = (
    (bool, {"t": lambda value, _flags, _precision: "true" if value else "false"}),
    (
        int,
        {
            "b": _of_integer("b"),
            "c": lambda value, _flags, _precision: _char(value),
            "d": _of_integer("d"),
            "o": _of_integer("o", "0"),
            "x": _of_integer("x", "0x"),
            "X": _of_integer("X", "0X"),
            "U": lambda value, _flags, _precision: f"U+{value:04X}",
        },
    ),
    (float, {spec: _of_float(spec) for spec in "eEfFgG"}),
    (str, {"x": _of_hex("x"), "X": _of_hex("X")}),
)
