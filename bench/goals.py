"""Goals: what a measure must reach, as data that can be printed and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.content import MIB


@dataclass(frozen=True)
class Medians:
    """The medians of one contender's samples; None where a figure does not apply."""

    value: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_per_1000_requests: float | None = None
    cpu_per_gb: float | None = None
    rss: float | None = None
    peak_rss: float | None = None


@dataclass(frozen=True)
class Goal:
    """``reached`` judges the medians by contender; None where the yardstick is missing."""

    text: str
    reached: Callable[[Mapping[str, Medians], str], bool | None]

    def __and__(self, other: Goal) -> Goal:
        return Goal(f"{self.text}, {other.text}", lambda found, own: _all(self, other, found, own))

    def __or__(self, other: Goal) -> Goal:
        return Goal(f"{self.text} or {other.text}", lambda found, own: _any(self, other, found, own))


def times(contender: str, factor: float) -> Goal:
    """At least ``factor`` times the contender's value."""
    return _compared(f">= {factor:g}x {contender}", contender, lambda own, other: own.value >= factor * other.value)


def share_of(contender: str, share: float) -> Goal:
    """At least that share of the contender's value."""
    return _compared(f">= {share:.0%} of {contender}", contender, lambda own, other: own.value >= share * other.value)


def within(contender: str, factor: float) -> Goal:
    """At most ``factor`` times the contender's value, where less is better."""
    return _compared(f"<= {factor:g}x {contender}", contender, lambda own, other: own.value <= factor * other.value)


def cpu_per_gb_within(contender: str) -> Goal:
    """No more CPU per gigabyte than the contender."""

    def reached(own: Medians, other: Medians) -> bool | None:
        if own.cpu_per_gb is None or other.cpu_per_gb is None:
            return None
        return own.cpu_per_gb <= other.cpu_per_gb

    return _compared(f"CPU/GB <= {contender}", contender, reached)


def at_least(value: float, unit: str) -> Goal:
    return Goal(f">= {value:,g} {unit}", lambda found, own: found[own].value >= value)


def below(value: float, unit: str) -> Goal:
    return Goal(f"< {value:g} {unit}", lambda found, own: found[own].value < value)


def peak_rss_below(mebibytes: int) -> Goal:
    """Of the largest process, during the sample."""
    return Goal(f"RSS < {mebibytes} MiB", lambda found, own: (found[own].peak_rss or float("inf")) < mebibytes * MIB)


def no_goal() -> Goal:
    """Measured to be known; nothing depends on it."""
    return Goal("", lambda _found, _own: None)


def _compared(text: str, contender: str, reached: Callable[[Medians, Medians], bool | None]) -> Goal:
    def judge(found: Mapping[str, Medians], own: str) -> bool | None:
        return reached(found[own], found[contender]) if contender in found else None

    return Goal(text, judge)


def _all(first: Goal, second: Goal, found: Mapping[str, Medians], own: str) -> bool | None:
    verdicts = {first.reached(found, own), second.reached(found, own)}
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _any(first: Goal, second: Goal, found: Mapping[str, Medians], own: str) -> bool | None:
    verdicts = {first.reached(found, own), second.reached(found, own)}
    if True in verdicts:
        return True
    return None if None in verdicts else False
