"""Numbers of bytes as people write them: ``64MiB``, ``1 GB``, ``4096``."""

from __future__ import annotations

import re

KIB = 1024
MIB = 1024 * KIB

_UNITS = {
    "": 1, "b": 1,
    "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4,
    "kib": KIB, "mib": MIB, "gib": 1024 * MIB, "tib": 1024**2 * MIB,
}  # fmt: skip
_SIZE = re.compile(r"([0-9]+)\s*([a-z]*)", re.ASCII)


def parse_byte_size(text: str) -> int:
    """Raises ValueError with a message that says what was expected."""
    match = _SIZE.fullmatch(text.strip().lower())
    if not match or match[2] not in _UNITS:
        raise ValueError('expected a number of bytes such as 4194304, "4MiB" or "1GB"')
    return int(match[1]) * _UNITS[match[2]]
