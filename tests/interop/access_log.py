"""What the registry logged during the whole run: clients must not meet failures, nor refusals nobody asked for."""

from __future__ import annotations

import json
import re
from typing import Any

# Asking for what is not there is how clients find out what to send. The others are what tests provoke.
_EXPECTED = {
    404: r"(GET|HEAD) /v2/.+/(blobs|manifests)/[^/]+",
    499: r"[A-Z]+ /v2/test-push-(cut|killed)-half-way-[^/]+/.+",
    # an engine that has sent all when its program is killed waits for the answer, and does not hang up before that
    408: r"PATCH /v2/test-push-killed-half-way-[^/]+-docker/.+",
    400: "|".join(
        [
            r"PUT /v2/test-copy-to-schema-1-[^/]+/manifests/v1",
            r"HEAD /v2/Team/App/manifests/v1",
        ]
    ),
}
_ALARMING = {"error", "critical"}


def surprises(log: str) -> list[str]:
    """Requests answered with 5xx or an unexpected 4xx, errors, and tracebacks."""
    lines = log.splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    assert entries, "the registry has logged no request"
    found = [_title(entry) for entry in entries if _is_surprise(entry)]
    return found + [line for line in lines if line.startswith("Traceback")]


def _is_surprise(entry: dict[str, Any]) -> bool:
    status = entry.get("status", 0)
    expected = _EXPECTED.get(status)
    if expected is not None and re.fullmatch(expected, f"{entry['method']} {entry['path']}"):
        return False
    return status >= 400 or entry["level"] in _ALARMING


def _title(entry: dict[str, Any]) -> str:
    return f"{entry.get('status', '')} {entry.get('method', '')} {entry.get('path', '')} {entry['event']}"
