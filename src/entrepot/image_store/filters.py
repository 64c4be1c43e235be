"""``--filter``: docker's conditions on images (docker image ls, "Filtering")."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache

from entrepot.errors import ParameterInvalid
from entrepot.image_store.listing import Image
from entrepot.reference import ImageReference

LIST_FILTERS = frozenset({"dangling", "label", "label!", "before", "since", "reference", "until"})
PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})

_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|s))+", re.ASCII)
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)", re.ASCII)
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that an image must meet; values in the order they were given."""

    values: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str], allowed: frozenset[str]) -> Filters:
        """``name=value`` each. Raises ParameterInvalid."""
        values: dict[str, list[str]] = {}
        for text in texts:
            name, equals, value = text.partition("=")
            name = name.strip().lower()
            if not equals:
                raise ParameterInvalid(f"bad format of filter (expected name=value): got {text!r}", filter=text)
            if name not in allowed:
                known = ", ".join(sorted(allowed))
                raise ParameterInvalid(f"invalid filter {name!r}: expected one of {known}", filter=text)
            values.setdefault(name, []).append(value.strip())
        return cls(values)

    def with_reference(self, pattern: str) -> Filters:
        return replace(self, values={**self.values, "reference": [*self.values.get("reference", []), pattern]})

    def without(self, name: str) -> Filters:
        return Filters({each: values for each, values in self.values.items() if each != name})

    @property
    def dangling(self) -> bool | None:
        """What is asked for, None when both are."""
        asked = {_boolean(value) for value in self.values.get("dangling", [])}
        return asked.pop() if len(asked) == 1 else None


def apply(filters: Filters, images: Iterable[Image], *, created_at: Callable[[str], float], now: float) -> list[Image]:
    """The images that meet all conditions; ``created_at`` tells when the image was made that a filter names."""
    if not filters.values:
        return list(images)
    latest = [created_at(name) for name in filters.values.get("before", [])]
    latest += [parse_moment(value, now) for value in filters.values.get("until", [])]
    earliest = [created_at(name) for name in filters.values.get("since", [])]
    patterns = filters.values.get("reference", [])
    kept = []
    for image in images:
        if not _is_between(image, earliest, latest) or not has_labels(image, filters):
            continue
        if patterns:
            image = replace(image, references=[name for name in image.references if matches(name, patterns)])
            if not image.references:
                continue
        if filters.dangling in (None, image.is_dangling):
            kept.append(image)
    return kept


def _is_between(image: Image, earliest: Sequence[float], latest: Sequence[float]) -> bool:
    created = image.created_at
    return all(created > moment for moment in earliest) and all(created < moment for moment in latest)


def has_labels(image: Image, filters: Filters) -> bool:
    """Whether it has every label of ``label`` and none of ``label!``: ``key`` or ``key=value``."""
    wanted, unwanted = filters.values.get("label", []), filters.values.get("label!", [])
    labels = image.labels if wanted or unwanted else {}
    return all(_has(labels, text) for text in wanted) and not any(_has(labels, text) for text in unwanted)


def _has(labels: Mapping[str, str], text: str) -> bool:
    key, equals, value = text.partition("=")
    return key in labels and (not equals or labels[key] == value)


def matches(reference: ImageReference, patterns: Iterable[str]) -> bool:
    """Whether a pattern fits the name as it is shown or in full, with or without its tag; ``*`` stops at ``/``."""
    names = (reference.familiar, reference.familiar_name, str(reference), reference.name)
    return any(_compiled(pattern).fullmatch(name) for pattern in patterns for name in names)


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Go's ``path.Match``."""
    try:
        return re.compile(_translate(pattern), re.DOTALL)
    except (re.error, IndexError) as error:
        raise ParameterInvalid(f"invalid filter 'reference={pattern}': syntax error in pattern") from error


def _translate(pattern: str) -> str:
    out, position = [], 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            end = pattern.index("]", position + 1) if "]" in pattern[position + 1 :] else len(pattern) + 1
            out.append(_translate_class(pattern[position:end], closed=end <= len(pattern)))
            position = end + 1
        elif char == "\\":
            out.append(re.escape(pattern[position]))
            position += 1
        else:
            out.append(re.escape(char))
    return "".join(out)


def _translate_class(members: str, *, closed: bool) -> str:
    if not closed:
        raise re.error("missing ]")
    negated, members = members.startswith("^"), members.removeprefix("^")
    escaped = members.replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^").replace("&", "\\&")
    return f"[{'^/' if negated else ''}{escaped}]"


def _boolean(value: str) -> bool:
    if value.lower() not in _BOOLEANS:
        raise ParameterInvalid(f"invalid filter 'dangling={value}': expected true or false", filter=value)
    return _BOOLEANS[value.lower()]


def parse_moment(text: str, now: float) -> float:
    """A time as docker takes it: seconds since 1970, a date or time of RFC 3339, or so long ago (``24h``, ``1h30m``).

    Raises ParameterInvalid.
    """
    if text.replace(".", "", 1).isdecimal() and text.isascii():
        return float(text)
    if _DURATION.fullmatch(text):
        parts = _DURATION_PART.findall(text)
        return now - sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ParameterInvalid(
            f"invalid filter 'until={text}': expected a time such as 2026-01-31T12:00:00 or a duration such as 24h",
            filter=text,
        ) from None
    return (moment if moment.tzinfo else moment.astimezone(UTC)).timestamp()
