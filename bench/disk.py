"""What the disk itself can do, without any server: the yardstick for durable pushes."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from bench.content import MIB, unique_blob
from bench.load import Load, repeat_until, timed_load


def write_one_file(folder: Path, size: int) -> Load:
    """``dd conv=fsync`` of ``size`` bytes."""
    target = folder / "dd"
    command = ["dd", "if=/dev/zero", f"of={target}", "bs=1M", f"count={size // MIB}", "conv=fsync"]
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    taken = time.perf_counter() - begun
    target.unlink()
    return timed_load([taken], seconds=taken, size=size)


def write_small_files(folder: Path, *, size: int, threads: int, seconds: int) -> Load:
    """Files of ``size`` bytes: write, sync the file, rename, sync the folder."""
    content = unique_blob(size).content()
    names = count()
    begun = time.perf_counter()

    def write(_: int) -> list[float]:
        return repeat_until(begun + seconds, lambda: _write_durably(folder, str(next(names)), content))

    with ThreadPoolExecutor(threads) as pool:
        times = [taken for thread in pool.map(write, range(threads)) for taken in thread]
    return timed_load(times, seconds=time.perf_counter() - begun, size=size)


def _write_durably(folder: Path, name: str, content: bytes) -> None:
    staged = folder / f"{name}.part"
    with staged.open("xb", buffering=0) as file:
        file.write(content)
        os.fsync(file.fileno())
    staged.rename(folder / name)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
