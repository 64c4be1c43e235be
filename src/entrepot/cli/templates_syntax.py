"""Go templates: from text to tokens. The grammar is that of Go's ``text/template/parse``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from entrepot.errors import ParameterInvalid

MAX_TEMPLATE_LENGTH = 64 * 1024

_BLANKS = " \t\r\n"
_OPEN = re.compile(r"\{\{(-(?=[ \t\r\n]))?")
_COMMENT = re.compile(r"[ \t\r\n]*/\*.*?\*/([ \t\r\n]+-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""(?P<close>[ \t\r\n]+-\}\}|\}\})
    |(?P<blank>[ \t\r\n]+)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    |(?P<char>'(?:[^'\\\n]|\\.)+')
    |(?P<assign>:=|=)
    |(?P<mark>[|(),])
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|(?:[0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?!\w))
    |(?P<field>\.[^\W\d]\w*)
    |(?P<dot>\.)
    |(?P<variable>\$\w*)
    |(?P<word>[^\W\d]\w*)""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_PLAIN_ESCAPES = dict(zip("abfnrtv\\\"'", "\a\b\f\n\r\t\v\\\"'", strict=True))


class TemplateInvalid(ParameterInvalid):
    """A format that cannot be read, or that asks for something that is not there."""

    def __init__(self, message: str, **detail: object) -> None:
        super().__init__(f"template parsing error: template: {message}", **detail)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a template. ``kind`` is text, open, close, or one of the groups of ``_TOKEN``."""

    kind: str
    text: str
    place: str  # :LINE:COLUMN, as Go writes it for a template without a name
    after_blank: bool = False


def tokens_of(source: str) -> Iterator[Token]:
    """The template's text and actions in order. Raises TemplateInvalid."""
    if len(source) > MAX_TEMPLATE_LENGTH:
        raise TemplateInvalid(f":1: expected at most {MAX_TEMPLATE_LENGTH} characters, got {len(source)}")
    position, trim = 0, False
    while (begin := _OPEN.search(source, position)) is not None:
        text = _trimmed(source[position : begin.start()], left=trim, right=begin[1] is not None)
        yield Token("text", text, "")
        comment = _COMMENT.match(source, begin.end())
        if comment is not None:
            position, trim = comment.end(), comment[1] is not None
            continue
        yield Token("open", begin[0], _place(source, begin.start()))
        for token, position in _action(source, begin.end()):  # noqa: B007  # where the action ends is needed below
            yield token
        trim = token.text.startswith(tuple(_BLANKS))
    yield Token("text", _trimmed(source[position:], left=trim, right=False), "")


def _trimmed(text: str, *, left: bool, right: bool) -> str:
    text = text.lstrip(_BLANKS) if left else text
    return text.rstrip(_BLANKS) if right else text


def _action(source: str, position: int) -> Iterator[tuple[Token, int]]:
    after_blank = False
    while True:
        match = _TOKEN.match(source, position)
        if match is None:
            raise _unreadable(source, position)
        assert match.lastgroup is not None
        if match.lastgroup != "blank":
            yield Token(match.lastgroup, match[0], _place(source, position), after_blank), match.end()
        if match.lastgroup == "close":
            return
        after_blank, position = match.lastgroup == "blank", match.end()


def _unreadable(source: str, position: int) -> TemplateInvalid:
    line = f":{_line(source, position)}:"
    rest = source[position:]
    if not rest:
        return TemplateInvalid(f"{line} unclosed action")
    if rest[0] in "\"`'":
        kind = {'"': "quoted string", "`": "raw quoted string", "'": "character constant"}[rest[0]]
        return TemplateInvalid(f"{line} unterminated {kind}")
    if rest[0].isdigit() or rest[0] in "+-":
        number = re.split(r"[\s|(),}]", rest[:40], maxsplit=1)[0]
        return TemplateInvalid(f'{line} bad number syntax: "{number}"')
    return TemplateInvalid(f"{line} unexpected {rest[0]!r} in action")


def _line(source: str, position: int) -> int:
    return source.count("\n", 0, position) + 1


def _place(source: str, position: int) -> str:
    return f":{_line(source, position)}:{position - (source.rfind(chr(10), 0, position) + 1)}"


def unquote(token: Token) -> str:
    """What a string or character stands for. Raises TemplateInvalid."""
    body = token.text[1:-1]
    return body if token.text[0] == "`" else _ESCAPE.sub(lambda match: _unescape(match, token), body)


def _unescape(match: re.Match[str], token: Token) -> str:
    octal, *hexadecimal, plain = match.groups()
    code = int(octal, 8) if octal else next((int(digits, 16) for digits in hexadecimal if digits), None)
    if code is not None and code <= 0x10FFFF:
        return chr(code)
    if plain in _PLAIN_ESCAPES:
        return _PLAIN_ESCAPES[plain]
    raise TemplateInvalid(f"{token.place}: invalid syntax in {token.text[:40]}")


def number_of(token: Token) -> int | float:
    """The value of a number. Raises TemplateInvalid."""
    text = token.text.replace("_", "")
    try:
        if re.fullmatch(r"[+-]?0[0-7]+", text):
            return int(text, 8)
        return int(text, 0) if re.fullmatch(r"[+-]?(?:0[xXoObB]\w+|[0-9]+)", text) else float(text)
    except ValueError:
        raise TemplateInvalid(f'{token.place}: bad number syntax: "{token.text[:40]}"') from None
