"""The whole table, in the order it is run and printed."""

from __future__ import annotations

from fnmatch import fnmatch

from bench.curve import CURVE
from bench.measure import Measure
from bench.pushes import PUSHES
from bench.reads import READS
from bench.scale import SCALE
from bench.scaled_out import SCALED_OUT
from bench.transfers import TRANSFERS

OPERATIONS = "operations"  # no measure: what is counted does not vary
_SCALED = [*SCALED_OUT, *CURVE]
MEASURES = [*READS, *PUSHES, *SCALE, *TRANSFERS, *_SCALED]


def select(patterns: list[str], *, quick: bool, scaled: bool) -> list[Measure]:
    """Those whose name matches a pattern (or holds it), all without pattern; a quick run leaves out the huge.

    ``scaled``: only those of PostgreSQL and S3.
    """
    return [
        measure
        for measure in (_SCALED if scaled else MEASURES)
        if (measure.in_quick or not quick) and matches(measure.name, patterns)
    ]


def matches(name: str, patterns: list[str]) -> bool:
    """Whether it was asked for; everything is when nothing was named."""
    return not patterns or any(fnmatch(name, f"*{pattern}*") for pattern in patterns)
