"""The whole table, in the order it is run and printed."""

from __future__ import annotations

from fnmatch import fnmatch

from bench.measure import Measure
from bench.pushes import PUSHES
from bench.reads import READS
from bench.scale import SCALE
from bench.transfers import TRANSFERS

MEASURES = [*READS, *PUSHES, *SCALE, *TRANSFERS]


def select(patterns: list[str], *, quick: bool) -> list[Measure]:
    """Those whose name matches a pattern (or holds it), all without pattern; a quick run leaves out the huge."""
    return [
        measure
        for measure in MEASURES
        if (measure.in_quick or not quick)
        and (not patterns or any(fnmatch(measure.name, f"*{pattern}*") for pattern in patterns))
    ]
