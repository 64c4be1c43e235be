"""Replicas of one database and another bucket, or of one bucket and another database, do not start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from entrepot.backends import open_backends, prepare
from entrepot.config import Settings, load
from entrepot.digest import Digest
from entrepot.errors import ConfigInvalid
from entrepot.metadata import blobs
from entrepot.metadata.base import Steps, operation
from entrepot.reference import RepositoryName
from entrepot.store.base import StoredBlob
from tests.services.postgresql import PostgresqlServer
from tests.services.s3 import S3Place, client

CONTENT = b"of the first"
NewDatabase = Callable[[], str]
Replica = Callable[[str, str], Settings]


@pytest.fixture(params=["postgresql", "sqlite"])
def new_database(
    request: pytest.FixtureRequest, postgresql_server: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory
) -> NewDatabase:
    """The URL of one that has no tables yet."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path_factory.mktemp('names')}/names.sqlite"
    return lambda: postgresql_server.url(postgresql_server.new_database())


@pytest.fixture(autouse=True)
def _keys(s3: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def settings(tmp_path: Path) -> Replica:
    """Of a replica that is told this database and this store."""
    return lambda database, store: load(overrides={"root": str(tmp_path), "database": database, "store": store})


def push(settings: Settings) -> None:
    async def put() -> None:
        opened = open_backends(settings)
        upload = await opened.store.begin_upload()
        await upload.write(pieces())
        stored: StoredBlob = await upload.commit(Digest.of(CONTENT))
        await upload.close()
        await opened.metadata.write(blobs.put_blob(RepositoryName("team/app"), stored.digest, stored, 1))
        await opened.close()

    asyncio.run(put())


async def pieces() -> AsyncIterator[bytes]:
    yield CONTENT


@operation
def forget_store() -> Steps[None]:
    yield "DELETE FROM leases WHERE name = 'store:id' OR name = 'store:proposed'", {}


def make_older(settings: Settings, place: S3Place) -> None:
    """As a version has left it that knew of no ids."""

    async def forget() -> None:
        opened = open_backends(settings)
        await opened.metadata.write(forget_store())
        await opened.close()

    asyncio.run(forget())
    lose_id(place)


def restore_older_dump(settings: Settings, place: S3Place) -> None:
    """Of a database that knew of no ids."""
    text = client(place).get_object(Bucket=place.bucket, Key=f"{place.prefix}/store-id")["Body"].read()
    make_older(settings, place)
    client(place).put_object(Bucket=place.bucket, Key=f"{place.prefix}/store-id", Body=text)


def lose_id(place: S3Place) -> None:
    client(place).delete_object(Bucket=place.bucket, Key=f"{place.prefix}/store-id")


def elsewhere(place: S3Place) -> str:
    return replace(place, prefix=f"{place.prefix}-other").url


def refused(settings: Settings, *, may_adopt: bool = False) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        prepare(settings, may_adopt=may_adopt)
    assert "store-id" in str(caught.value.detail)
    return caught.value.message


@pytest.mark.parametrize("has_content", [False, True], ids=["empty", "used"])
def test_replica_with_another_prefix_is_refused(
    settings: Replica, new_database: NewDatabase, s3: S3Place, has_content: bool
) -> None:
    database = new_database()
    prepare(settings(database, s3.url))
    if has_content:
        push(settings(database, s3.url))
    message = refused(settings(database, elsewhere(s3)))
    assert elsewhere(s3) in message
    assert "is not the one that the database" in message
    prepare(settings(database, s3.url))


def test_replica_that_was_not_told_of_the_bucket_is_refused(
    settings: Replica, s3: S3Place, tmp_path: Path, postgresql_server: PostgresqlServer
) -> None:
    database = postgresql_server.url(postgresql_server.new_database())
    prepare(settings(database, s3.url))
    assert f"file://{tmp_path}" in refused(load(overrides={"root": str(tmp_path), "database": database}))


def test_second_registry_in_a_bucket_is_refused_until_it_is_freed(
    settings: Replica, new_database: NewDatabase, s3: S3Place
) -> None:
    prepare(settings(new_database(), s3.url))
    second = settings(new_database(), s3.url)
    assert s3.url in refused(second)
    lose_id(s3)
    prepare(second)
    prepare(second)


def test_database_that_is_moved_to_adopts_the_store(settings: Replica, new_database: NewDatabase, s3: S3Place) -> None:
    prepare(settings(new_database(), s3.url))
    second = settings(new_database(), s3.url)
    prepare(second, may_adopt=True)
    prepare(second)


@pytest.mark.parametrize(
    "age",
    [make_older, restore_older_dump, lambda _, place: lose_id(place)],
    ids=["older_version", "older_dump", "id_lost"],
)
def test_store_is_known_by_its_content_where_an_id_is_missing(
    settings: Replica, new_database: NewDatabase, s3: S3Place, age: Callable[[Settings, S3Place], None]
) -> None:
    replica = settings(new_database(), s3.url)
    prepare(replica)
    push(replica)
    age(replica, s3)
    refused(settings(replica.database, elsewhere(s3)))
    prepare(replica)
    assert s3.keys()["store-id"] > 0


def test_replicas_that_start_together_agree(settings: Replica, new_database: NewDatabase, s3: S3Place) -> None:
    replica = settings(new_database(), s3.url)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(prepare, [replica] * 4))
    prepare(replica)
