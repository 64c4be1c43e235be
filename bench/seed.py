"""Fills entrepot's database directly: a million manifests through the API would take longer than the run.

The rows are those that pushes leave, but no bytes of layers stand behind them.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from bench.content import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE
from entrepot.metadata.schema import blobs, edges, links, manifests, repositories, tags

TAGS_REPOSITORY = "scale/tags"
_CREATED_AT = 1_700_000_000
_LAYER_SIZE = 1024
_FIRST_ID = 1_000_000_000  # above everything that pushes have numbered
_MANIFEST = """{{
   "schemaVersion": 2,
   "mediaType": "{manifest_type}",
   "config": {{"mediaType": "{config_type}", "digest": "{layer}", "size": {size}}},
   "layers": [{{"mediaType": "{layer_type}", "digest": "{layer}", "size": {size}}}],
   "annotations": {{"serial": "{serial}"}}
}}"""

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Seeds:
    """How much is stored: ``manifests`` over ``repositories``, each with a tag, and one repository with ``tags``."""

    repositories: int
    manifests: int
    tags: int


@dataclass(frozen=True)
class Repository:
    """One repository to fill: a layer of its own, and ``count`` tagged manifests numbered from ``first``."""

    id: int
    name: str
    first: int
    count: int

    @property
    def layer(self) -> str:
        return _digest(self.name.encode())


def repository_name(number: int) -> str:
    return f"scale/r{number:06d}"


def tag_name(number: int) -> str:
    return f"v{number:05d}"


def seed(root: Path, seeds: Seeds) -> None:
    """Add the rows in one transaction. The server must not be running."""
    with closing(sqlite3.connect(root / "entrepot.db", isolation_level=None)) as database:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-1000000"):
            database.execute(f"PRAGMA {pragma}")
        database.execute("BEGIN")
        for statement, rows in _statements(_plan(seeds)):
            database.executemany(statement, rows)
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode=WAL")


def _plan(seeds: Seeds) -> list[Repository]:
    share = seeds.manifests // seeds.repositories
    usual = [
        Repository(_FIRST_ID + number, repository_name(number), _FIRST_ID + number * share, share)
        for number in range(seeds.repositories)
    ]
    next_id, next_manifest = _FIRST_ID + seeds.repositories, _FIRST_ID + seeds.repositories * share
    return [*usual, Repository(next_id, TAGS_REPOSITORY, next_manifest, seeds.tags)]


def _statements(plan: list[Repository]) -> Iterator[tuple[str, Iterable[Row]]]:
    """An INSERT for each table, with its rows; parents before children."""
    at = _CREATED_AT
    yield _insert(repositories, "id", "name", "created_at"), ((each.id, each.name, at) for each in plan)
    yield (
        _insert(blobs, "id", "digest", "size", "location", "created_at"),
        ((each.id, each.layer, _LAYER_SIZE, "seeded", at) for each in plan),
    )
    yield (
        _insert(links, "repository_id", "digest", "blob_id", "created_at"),
        ((each.id, each.layer, each.id, at) for each in plan),
    )
    yield (
        _insert(manifests, "id", "repository_id", "digest", "media_type", "size", "created_at", "content"),
        (row for each in plan for row in _manifests(each)),
    )
    yield (
        _insert(edges, "manifest_id", "digest"),
        ((number, each.layer) for each in plan for number in _numbers(each)),
    )
    yield (
        _insert(tags, "repository_id", "name", "manifest_id", "updated_at"),
        (row for each in plan for row in _tags(each)),
    )


def _insert(table: Table, *columns: str) -> str:
    names = ", ".join(table.c[column].name for column in columns)  # a KeyError if the schema has moved on
    return f"INSERT INTO {table.name} ({names}) VALUES ({', '.join('?' * len(columns))})"


def _numbers(repository: Repository) -> range:
    return range(repository.first, repository.first + repository.count)


def _manifests(repository: Repository) -> Iterator[Row]:
    for number in _numbers(repository):
        content = _MANIFEST.format(
            manifest_type=MANIFEST_TYPE,
            config_type=CONFIG_TYPE,
            layer_type=LAYER_TYPE,
            layer=repository.layer,
            size=_LAYER_SIZE,
            serial=number,
        ).encode()
        size = len(content)
        yield number, repository.id, _digest(content), MANIFEST_TYPE, size, _CREATED_AT, content


def _tags(repository: Repository) -> Iterator[Row]:
    for place, number in enumerate(_numbers(repository)):
        yield repository.id, tag_name(place), number, _CREATED_AT


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
