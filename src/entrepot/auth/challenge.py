"""What a server asks for in ``WWW-Authenticate`` (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_LENGTH = 16 * 1024  # of a header value; what comes behind is not read
MAX_CHALLENGES = 16

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|\Z)")
_BETWEEN = re.compile(r"[ \t,]*")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in that a server offers. ``scheme`` and the names of the parameters are lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse_challenges(values: str) -> list[Challenge]:
    """The challenges of a header value, or of several joined by commas, in their order.

    What is not in the grammar is passed over; of a parameter that is repeated the first counts.
    """
    text, at = values[:MAX_LENGTH], 0
    challenges: list[Challenge] = []
    while (at := _skip(_BETWEEN, text, at)) < len(text):
        name = _TOKEN.match(text, at)
        if name is None:
            at = _after_garbage(text, at)
            continue
        equals = _EQUALS.match(text, name.end())
        if equals is not None:
            value, at = _value(text, equals.end())
            if challenges and value is not None:
                challenges[-1].parameters.setdefault(name[0].lower(), value)
        elif len(challenges) == MAX_CHALLENGES:
            break
        else:
            challenges.append(Challenge(name[0].lower()))
            at = _after_scheme(text, name.end())
    return challenges


def _value(text: str, at: int) -> tuple[str | None, int]:
    """A parameter's value and where it ends."""
    quoted = _QUOTED.match(text, at)
    if quoted is not None:
        return _ESCAPE.sub(r"\1", quoted[1]), quoted.end()
    token = re.compile(r"[^ \t,\"]+").match(text, at)  # more than a token: realms come without quotes, too
    if token is not None:
        return token[0], token.end()
    return None, _after_garbage(text, at)


def _after_scheme(text: str, at: int) -> int:
    """Behind the token68 that may follow a scheme: ``Negotiate YII=``. No scheme that we speak has one."""
    start = _skip(re.compile(r"[ \t]*"), text, at)
    token68 = _TOKEN68.match(text, start)
    return start if token68 is None or start == at else token68.end()


def _after_garbage(text: str, at: int) -> int:
    if text.startswith('"', at):
        quoted = _QUOTED.match(text, at)
        return quoted.end() if quoted else len(text)
    return at + 1


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
