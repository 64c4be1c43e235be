"""Versions and ranges of versions as tags have them (Semantic Versioning 2.0.0; ranges as npm and Cargo write them).

Tags are less strict than the standard: a ``v`` may stand in front, minor and patch may be left out (then they are 0),
and numbers may begin with zeros, as in ``22.04``.

A range is comparators that must all hold, separated by blanks or commas, and ``||`` between alternatives::

    1.2.3   =1.2.3   !=1.2.3   >1.2   >=1.2   <2   <=1.4.7
    ^1.2      from 1.2.0 to below 2.0.0; ^0.3 to below 0.4.0
    ~1.2.3    from 1.2.3 to below 1.3.0
    1.x  1.*  1   any 1
    1.2 - 1.4 from 1.2.0 to the last 1.4
    *         any

A version with a prerelease (``1.3.0-rc.1``, and so ``1.23.3-alpine``) is only in a range that names a prerelease
itself, e.g. ``>=1.2-0``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import total_ordering
from typing import Self

from entrepot.errors import ParameterInvalid

_NUMBER = r"[0-9]{1,18}"
_PART = rf"(?:{_NUMBER}|[xX*])"
_MARKS = r"(?:-(?P<pre>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?"
_VERSION = re.compile(rf"[vV]?(?P<major>{_NUMBER})(?:\.(?P<minor>{_NUMBER}))?(?:\.(?P<patch>{_NUMBER}))?{_MARKS}")
_PARTIAL = rf"[vV]?(?P<major>{_PART})(?:\.(?P<minor>{_PART}))?(?:\.(?P<patch>{_PART}))?{_MARKS}"
_COMPARATOR = re.compile(rf"(?P<op>\^|~>|~|>=|<=|!=|=|>|<)?[ ]*{_PARTIAL}(?=[ ,]|$)")
_HYPHEN = re.compile(r"(?P<low>[^ ,]+) +- +(?P<high>[^ ,]+)")
_MOST_CHARACTERS = 1000

_Prerelease = tuple[tuple[int, int, str], ...]
_Test = Callable[["Version"], bool]


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A version. Ordered by precedence: a prerelease comes before its release."""

    major: int
    minor: int = 0
    patch: int = 0
    prerelease: str = ""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None for what is no version, e.g. ``latest``."""
        match = _VERSION.fullmatch(text)
        if match is None:
            return None
        return cls(int(match["major"]), int(match["minor"] or 0), int(match["patch"] or 0), match["pre"] or "")

    def __lt__(self, other: Version) -> bool:
        return self._key < other._key

    @property
    def _key(self) -> tuple[int, int, int, bool, _Prerelease]:
        return self.major, self.minor, self.patch, not self.prerelease, _identifiers(self.prerelease)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}" + (f"-{self.prerelease}" if self.prerelease else "")


@dataclass(frozen=True, slots=True)
class _Partial:
    """A version in a range, of which the last numbers may be left open."""

    numbers: tuple[int, ...]
    prerelease: str

    @property
    def low(self) -> Version:
        return Version(*self._padded, self.prerelease)

    @property
    def before_low(self) -> Version:
        """Where everything below begins: for a partial version also its prereleases are not below it."""
        return self.low if len(self.numbers) == 3 else Version(*self._padded, "0")

    def after(self, count: int) -> Version:
        """The first version that differs in the first ``count`` numbers."""
        kept = self.numbers[:count]
        return Version(*_padded((*kept[:-1], kept[-1] + 1)), "0")

    @property
    def _padded(self) -> tuple[int, int, int]:
        return _padded(self.numbers)


@dataclass(frozen=True, slots=True)
class _Group:
    """Comparators that must all hold."""

    tests: tuple[_Test, ...]
    prereleases: bool

    def __contains__(self, version: Version) -> bool:
        if version.prerelease and not self.prereleases:
            return False
        return all(test(version) for test in self.tests)


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A range: ``version in range``."""

    text: str
    _groups: tuple[_Group, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ParameterInvalid."""
        if len(text) > _MOST_CHARACTERS:
            raise _invalid(text)
        return cls(text, tuple(_group(part.strip(), text) for part in text.split("||")))

    def __contains__(self, version: Version) -> bool:
        return any(version in group for group in self._groups)

    def __str__(self) -> str:
        return self.text


def newest_last(names: list[str]) -> list[str]:
    """Names that are versions, in their order; of equal versions by name."""
    found = [(version, name) for name in names if (version := Version.parse(name)) is not None]
    return [name for _, name in sorted(found)]


def _group(part: str, text: str) -> _Group:
    tests: list[_Test] = []
    prereleases = False
    for op, partial in _comparators(part, text):
        prereleases = prereleases or bool(partial.prerelease)
        tests += _tests(op, partial)
    return _Group(tuple(tests), prereleases)


def _comparators(part: str, text: str) -> Iterator[tuple[str, _Partial]]:
    hyphen = _HYPHEN.fullmatch(part)
    if hyphen is not None:
        yield ">=", _partial(hyphen["low"], text)
        yield "<=", _partial(hyphen["high"], text)
        return
    position = 0
    while position < len(part):
        match = _COMPARATOR.match(part, position)
        if match is None:
            raise _invalid(text)
        yield match["op"] or "=", _partial_of(match, text)
        position = match.end()
        while position < len(part) and part[position] in " ,":
            position += 1
    if not part:
        raise _invalid(text)


def _partial(word: str, text: str) -> _Partial:
    match = re.fullmatch(_PARTIAL, word)
    if match is None:
        raise _invalid(text)
    return _partial_of(match, text)


def _partial_of(match: re.Match[str], text: str) -> _Partial:
    numbers: list[int] = []
    for name in ("major", "minor", "patch"):
        if match[name] is None or not match[name].isdigit():
            break
        numbers.append(int(match[name]))
    if (
        match["pre"]
        and len(numbers) < 3
        and any(match[name] in ("x", "X", "*") for name in ("major", "minor", "patch"))
    ):
        raise _invalid(text)
    if match["pre"]:
        numbers = [*numbers, 0, 0][:3]
    return _Partial(tuple(numbers), match["pre"] or "")


def _tests(op: str, partial: _Partial) -> list[_Test]:
    count = len(partial.numbers)
    if not count:
        return [_nothing] if op in ("<", ">", "!=") else []
    low, is_full = partial.low, count == 3
    if op in ("~", "~>"):
        return [_between(low, partial.after(min(count, 2)))]
    if op == "^":
        return [_between(low, partial.after(_first_that_counts(partial.numbers)))]
    if op in ("=", "!="):
        equal: _Test = (lambda version: version == low) if is_full else _between(low, partial.after(count))
        return [equal if op == "=" else _outside(equal)]
    if op == ">=":
        return [lambda version: version >= low]
    if op == "<":
        return [lambda version: version < partial.before_low]
    if is_full:
        return [(lambda version: version > low) if op == ">" else (lambda version: version <= low)]
    next_one = partial.after(count)
    return [(lambda version: version >= next_one) if op == ">" else (lambda version: version < next_one)]


def _first_that_counts(numbers: tuple[int, ...]) -> int:
    """How many numbers ``^`` holds fixed: up to the first that is not 0."""
    return next((place for place, number in enumerate(numbers, 1) if number), len(numbers))


def _between(low: Version, high: Version) -> _Test:
    return lambda version: low <= version < high


def _outside(test: _Test) -> _Test:
    return lambda version: not test(version)


def _nothing(version: Version) -> bool:  # noqa: ARG001
    return False


def _padded(numbers: tuple[int, ...]) -> tuple[int, int, int]:
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return major, minor, patch


def _identifiers(prerelease: str) -> _Prerelease:
    """Numbers before words, each compared as what it is."""
    parts = prerelease.split(".") if prerelease else ()
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


def _invalid(text: str) -> ParameterInvalid:
    return ParameterInvalid(
        f"invalid range of versions: expected something like ^1.2, ~1.2.3, '>=1.0 <2' or 1.x, got {text[:80]!r}",
        range=text[:80],
    )
