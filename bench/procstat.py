"""CPU time and memory of a server: the process that was started and all its descendants, from /proc."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM = 1, 11, 12  # fields of /proc/PID/stat, counted after the command's name (proc(5))
_RESET_PEAK = "5"  # written to /proc/PID/clear_refs (proc(5))


@dataclass(frozen=True)
class Memory:
    """Of the largest process of a tree, in bytes: resident now, and its peak since the last reset."""

    rss: int
    peak: int


def descendants(root: int) -> list[int]:
    """``root`` and every process below it."""
    parents = {pid: parent for pid in _pids() if (parent := _parent(pid)) is not None}
    found = [root]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def cpu_seconds(root: int) -> float:
    """User and system time the tree below ``root`` has used so far."""
    ticks = (_stat(pid) for pid in descendants(root))
    return sum(int(stat[_USER]) + int(stat[_SYSTEM]) for stat in ticks if stat) / _TICKS_PER_SECOND


def reset_peak(root: int) -> None:
    """Let the peak of each process start anew at what it holds now; without permission it stays as it is."""
    for pid in descendants(root):
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)


def memory(root: int) -> Memory:
    """The largest process of the tree: what a server with one process per worker needs for one more."""
    tree = descendants(root)
    return Memory(
        rss=max(_status_bytes(pid, "VmRSS") for pid in tree),
        peak=max(_status_bytes(pid, "VmHWM") for pid in tree),
    )


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _parent(pid: int) -> int | None:
    stat = _stat(pid)
    return int(stat[_PARENT]) if stat else None


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it ended meanwhile
        return []
    return text.rpartition(") ")[2].split()


def _status_bytes(pid: int, key: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    return 0
