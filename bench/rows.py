"""What an operation costs, against how much a PostgreSQL database holds.

``python -m bench.rows --url postgresql://... --manifests 100000 1000000`` fills it, anew for each size, with five
blob links and edges for each manifest and a repository for each ten, and measures. Not everything is even: one
repository has a tenth of all manifests, one manifest a twentieth of all as referrers, and one layer is in all images.

**What is in the database is deleted.**
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg  # type: ignore[import-untyped]  # it comes without types

from entrepot.digest import Digest
from entrepot.manifest import parse_manifest
from entrepot.metadata import blobs, leases, listings, manifests, uploads
from entrepot.metadata.migrate_postgresql import upgrade
from entrepot.metadata.postgres import PostgresMetadata
from entrepot.metadata.postgres_options import PostgresOptions
from entrepot.reference import RepositoryName, Tag
from entrepot.store.base import StoredBlob, UploadState
from entrepot.testing.images import build_image, walk_blobs

TABLES = ("repositories", "blobs", "links", "manifests", "edges", "tags")
POPULAR = 1  # the blob that is everywhere
LARGE = 1  # the repository with a tenth of all manifests
SUBJECT = 10  # the manifest with a twentieth of all as referrers

_NOW = 1_700_000_000

# Of a repository's 50 blobs the first is the popular one, the others are its own; a manifest names five blobs.
_EMPTY = f"TRUNCATE {', '.join(TABLES)}, uploads, leases RESTART IDENTITY CASCADE"
_FILL = """
    CREATE OR REPLACE FUNCTION pg_temp.digest(text) RETURNS text LANGUAGE sql IMMUTABLE AS
        $$ SELECT 'sha256:' || encode(sha256(convert_to($1, 'UTF8')), 'hex') $$;

    INSERT INTO repositories (name, created_at)
    SELECT 'team-' || r % 1000 || '/app-' || r, {now} FROM generate_series(1, {repositories}) r;

    INSERT INTO blobs (digest, size, location, created_at)
    SELECT pg_temp.digest('b' || b), 1000 + b, 'sha256/' || b, {now} FROM generate_series(1, {blobs}) b;

    INSERT INTO links (repository_id, digest, blob_id, created_at)
    SELECT r, pg_temp.digest('b' || b), b, {now} FROM generate_series(1, {repositories}) r, generate_series(0, 49) j,
        LATERAL (SELECT CASE WHEN j = 0 THEN {popular} ELSE 1 + (r * 49 + j) % {blobs} END AS b) AS blob
    ON CONFLICT DO NOTHING;

    INSERT INTO manifests
        (repository_id, digest, media_type, size, created_at, content, subject, artifact_type, referrer)
    SELECT CASE WHEN m % 10 = 0 THEN {large} ELSE 1 + m % {repositories} END, pg_temp.digest('m' || m),
        'application/vnd.oci.image.manifest.v1+json', 700, {now}, decode(repeat(md5(m::text), 44), 'hex'),
        CASE WHEN m % 20 = 0 THEN pg_temp.digest('m' || {subject}) END,
        CASE WHEN m % 40 = 0 THEN 'application/a' WHEN m % 20 = 0 THEN 'application/b' END,
        CASE WHEN m % 20 = 0 THEN repeat('r', 300) END
    FROM generate_series(1, {manifests}) m;

    INSERT INTO edges (manifest_id, digest)
    SELECT m, pg_temp.digest('b' || b) FROM generate_series(1, {manifests}) m, generate_series(0, 4) j,
        LATERAL (SELECT CASE WHEN j = 0 THEN {popular} ELSE 1 + (m * 4 + j) % {blobs} END AS b) AS blob
    ON CONFLICT DO NOTHING;

    INSERT INTO tags (repository_id, name, manifest_id, updated_at)
    SELECT repository_id, 'v' || id, id, {now} FROM manifests
"""


# Both are dropped while the tables are filled, and made again.
_REFERENCES = """
    SELECT conrelid::regclass::text AS table, conname AS name, pg_get_constraintdef(oid) AS definition
    FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace
"""
_INDEXES = """
    SELECT indexname AS name, indexdef AS definition FROM pg_indexes
    WHERE schemaname = 'public' AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How many of each there are, of a number of manifests."""

    manifests: int

    @property
    def repositories(self) -> int:
        return max(self.manifests // 10, 1)

    @property
    def blobs(self) -> int:
        return self.manifests * 2

    @property
    def links(self) -> int:
        return self.repositories * 50


def digest(kind: str, number: int) -> Digest:
    """Of blob (``b``) or manifest (``m``) ``number``."""
    return Digest("sha256:" + hashlib.sha256(f"{kind}{number}".encode()).hexdigest())


def repository(number: int) -> RepositoryName:
    return RepositoryName(f"team-{number % 1000}/app-{number}")


def repository_of(manifest: int, size: Size) -> int:
    """The number of the repository that a manifest is in."""
    return LARGE if manifest % 10 == 0 else 1 + manifest % size.repositories


async def fill(url: str, size: Size) -> None:
    """Put so many rows, and no others, into a database whose tables are there."""
    sizes = {field: getattr(size, field) for field in ("manifests", "repositories", "blobs")}
    places = {"popular": POPULAR, "large": LARGE, "subject": SUBJECT, "now": _NOW}
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET synchronous_commit = off; SET maintenance_work_mem = '256MB'")
        await connection.execute(_EMPTY)
        references, indexes = await connection.fetch(_REFERENCES), await connection.fetch(_INDEXES)
        for each in references:
            await connection.execute(f"ALTER TABLE {each['table']} DROP CONSTRAINT {each['name']}")
        for each in indexes:
            await connection.execute(f"DROP INDEX {each['name']}")
        for statement in _FILL.format(**sizes, **places).split(";\n\n"):
            await connection.execute(statement)
        for each in indexes:
            await connection.execute(each["definition"])
        for each in references:
            await connection.execute(f"ALTER TABLE {each['table']} ADD {each['definition']} NOT VALID")
        for table in TABLES:
            await connection.execute(f"VACUUM ANALYZE {table}")
    finally:
        await connection.close()


Work = Callable[[int], Awaitable[object]]


def operations(metadata: PostgresMetadata, size: Size) -> dict[str, Work]:
    """What is measured, by its name; the argument is different every time."""

    def any_manifest(turn: int) -> tuple[RepositoryName, int]:
        number = 1 + (turn * 7919) % size.manifests
        return repository(repository_of(number, size)), number

    def get_by_tag(turn: int) -> Awaitable[object]:
        name, number = any_manifest(turn)
        return metadata.read(manifests.find_manifest(name, Tag(f"v{number}")))

    def get_by_digest(turn: int) -> Awaitable[object]:
        name, number = any_manifest(turn)
        return metadata.read(manifests.find_manifest_head(name, digest("m", number)))

    def find_blob(turn: int) -> Awaitable[object]:
        return metadata.read(blobs.find_blob(repository(1 + turn % size.repositories), digest("b", POPULAR)))

    def put_blob(turn: int) -> Awaitable[object]:
        content = b"%d %d" % (size.manifests, turn)
        stored = StoredBlob(Digest.of(content), len(content), f"sha256/new/{size.manifests}/{turn}")
        return metadata.write(blobs.put_blob(repository(1 + turn % size.repositories), stored.digest, stored, _NOW))

    async def push_image(turn: int) -> None:
        image, name = build_image(4, seed=size.manifests + turn), repository(1 + (turn * 31) % size.repositories)
        for blob in walk_blobs(image):
            stored = StoredBlob(blob.digest, blob.size, f"sha256/image/{blob.digest}")
            await metadata.write(blobs.put_blob(name, blob.digest, stored, _NOW))
        manifest = parse_manifest(image.manifest.data, image.manifest.media_type)
        await metadata.write(manifests.put_manifest(name, image.digest, manifest, [Tag(f"new-{turn}")], _NOW))

    async def upload(turn: int) -> None:
        state = UploadState.empty(f"{size.manifests}-{turn}", "sha256")
        begin = uploads.begin_upload(repository(1), state, "sha256", _NOW, most=1000)
        await metadata.write(begin, durable=False)
        await metadata.write(uploads.save_upload(state, "sha256", _NOW))
        await metadata.write(uploads.end_upload(state.id))

    def mount(turn: int) -> Awaitable[object]:
        target, source = repository(1 + (turn * 17) % size.repositories), repository(1 + turn % size.repositories)
        return metadata.write(blobs.mount_blob(target, digest("b", POPULAR), source, _NOW))

    def list_tags(turn: int) -> Awaitable[object]:
        return metadata.read(listings.list_tags(repository(LARGE), last=f"v{turn * 977}", limit=100))

    def list_repositories(turn: int) -> Awaitable[object]:
        return metadata.read(listings.list_repositories(last=repository(turn), limit=100))

    def list_referrers(turn: int) -> Awaitable[object]:
        page = manifests.list_referrers(
            repository(LARGE), digest("m", SUBJECT), None, last=digest("b", turn), limit=100, most_bytes=2**20
        )
        return metadata.read(page)

    async def push_and_delete(turn: int) -> None:
        await push_image(turn)
        image, name = build_image(4, seed=size.manifests + turn), repository(1 + (turn * 31) % size.repositories)
        await metadata.write(manifests.delete_manifest(name, image.digest))

    def take_lease(turn: int) -> Awaitable[object]:
        return metadata.write(leases.take_lease(f"lease {turn % 3}", "me", now=turn, seconds=9), durable=False)

    return {
        "GET manifest by tag": get_by_tag,
        "HEAD manifest by digest": get_by_digest,
        "HEAD blob that all have": find_blob,
        "PUT blob (close an upload)": put_blob,
        "mount blob that all have": mount,
        "begin, save, end an upload": upload,
        "push of 5 blobs and a manifest": push_image,
        "the same, then DELETE manifest": push_and_delete,
        "100 tags of the largest repository": list_tags,
        "100 repositories": list_repositories,
        "100 referrers of many": list_referrers,
        "take a lease": take_lease,
    }


async def measure(url: str, size: Size, rounds: int) -> dict[str, float]:
    """The median of each operation, in milliseconds."""
    metadata = PostgresMetadata(PostgresOptions(url))
    found: dict[str, float] = {}
    for name, work in operations(metadata, size).items():
        times: list[float] = []
        for turn in range(rounds):
            begun = time.perf_counter()
            await work(turn)
            times.append(time.perf_counter() - begun)
        found[name] = statistics.median(times) * 1000
    await metadata.close()
    return found


async def run(url: str, sizes: list[Size], rounds: int) -> None:
    """Print a table with a column for each size."""
    await upgrade(PostgresOptions(url))
    table: dict[str, list[float]] = {}
    for size in sizes:
        begun = time.perf_counter()
        await fill(url, size)
        what = f"{size.manifests:,} manifests, {size.links:,} links, {size.repositories:,} repositories"
        print(f"{what}: filled in {time.perf_counter() - begun:.0f} s, {await _disk(url)}", flush=True)
        for name, milliseconds in (await measure(url, size, rounds)).items():
            table.setdefault(name, []).append(milliseconds)
    print("| milliseconds, median | " + " | ".join(f"{size.manifests:,} manifests" for size in sizes) + " |")
    print("|---|" + "---:|" * len(sizes))
    for name, columns in table.items():
        print(f"| {name} | " + " | ".join(f"{each:.2f}" for each in columns) + " |")


async def _disk(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return f"{await connection.fetchval('SELECT pg_size_pretty(pg_database_size(current_database()))')} on the disk"
    finally:
        await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.rows", description=__doc__)
    parser.add_argument("--url", required=True, help="an empty database")
    parser.add_argument("--manifests", type=int, nargs="+", default=[10_000_000], help="sizes, growing")
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    asyncio.run(run(options.url, [Size(count) for count in options.manifests], options.rounds))


if __name__ == "__main__":
    main()
