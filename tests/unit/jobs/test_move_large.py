"""How long names take to go to PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.jobs.move_report import Place
from entrepot.metadata.postgres import PostgresMetadata
from entrepot.metadata.postgres_options import PostgresOptions
from entrepot.store.memory import MemoryBlobStore
from entrepot.testing.images import OCI_LAYER, OCI_MANIFEST

from .moving import move, sqlite_at

MANIFESTS = 100_000
PER_REPOSITORY = 100
REPOSITORIES = MANIFESTS // PER_REPOSITORY
LAYERS = 7
BLOBS = 2 * MANIFESTS
MOST_CPU_SECONDS = 90  # of this process; the database's comes on top, and it takes most of the time


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_100000_manifests_move_in_reasonable_time(tmp_path: Path, postgresql: str) -> None:
    async with sqlite_at(tmp_path / "old.db") as source:
        _generate(tmp_path / "old.db")
        target, store = PostgresMetadata(PostgresOptions(postgresql)), MemoryBlobStore()
        started, cpu = time.monotonic(), time.process_time()
        try:
            moved = await move(
                Place(source, store, "old", "memory"), Place(target, store, "new", "memory"), keeps_store=True
            )
        finally:
            await target.close()
    print(f"{time.monotonic() - started:.0f} s, writers were held off for {moved.seconds_held:.0f} s")
    assert (moved.rows["manifests"], moved.rows["blobs"], moved.is_clean) == (MANIFESTS, BLOBS, True)
    assert time.process_time() - cpu < MOST_CPU_SECONDS


def _generate(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        fill = connection.executemany
        fill("INSERT INTO repositories VALUES (?, ?, 1)", ((n + 1, f"team/app{n}") for n in range(REPOSITORIES)))
        fill("INSERT INTO blobs VALUES (?, ?, ?, ?, 1)", ((n + 1, _blob(n), n, f"at/{n}") for n in range(BLOBS)))
        fill(
            "INSERT INTO manifests (id, repository_id, digest, media_type, size, created_at, content) "
            "VALUES (?, ?, ?, ?, ?, 1, ?)",
            map(_manifest, range(MANIFESTS)),
        )
        fill("INSERT INTO edges VALUES (?, ?)", ((n + 1, _blob(layer)) for n, layer in _layers()))
        fill(
            "INSERT OR IGNORE INTO links VALUES (?, ?, ?, 1)",
            ((_repository(n), _blob(layer), layer + 1) for n, layer in _layers()),
        )
        fill("INSERT INTO tags VALUES (?, ?, ?, 1)", ((_repository(n), f"v{n}", n + 1) for n in range(MANIFESTS)))


def _manifest(number: int) -> tuple[int, int, str, str, int, bytes]:
    layers = [{"mediaType": OCI_LAYER, "digest": _blob(layer), "size": layer} for layer in _layers_of(number)]
    content = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "n": number, "layers": layers}).encode()
    return number + 1, _repository(number), Digest.of(content), OCI_MANIFEST, len(content), content


def _layers() -> Iterator[tuple[int, int]]:
    return ((number, layer) for number in range(MANIFESTS) for layer in _layers_of(number))


def _layers_of(number: int) -> list[int]:
    """Two of its own, and those that all of its repository share."""
    shared = [_repository(number) * LAYERS + n for n in range(LAYERS)]
    return list(dict.fromkeys([2 * number, 2 * number + 1, *shared]))[:LAYERS]


def _repository(number: int) -> int:
    return number // PER_REPOSITORY + 1


def _blob(number: int) -> str:
    return f"sha256:{number % BLOBS:064x}"
