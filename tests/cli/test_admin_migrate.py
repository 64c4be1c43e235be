"""``entrepot admin migrate``: what it says, and what it refuses before it has touched anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from entrepot.cli.main import run
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.repositories.local import LocalRegistry
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.testing.repository_suite import push, require_whole
from tests.unit.jobs.moving import APP, IMAGE, SHARING, V1, fill, sqlite_at

from .conftest import Done


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A registry with one of everything."""
    root = tmp_path / "registry"
    root.mkdir()
    asyncio.run(_fill(root))
    return root


async def _fill(root: Path) -> None:
    async with _opened(root) as registry:
        await fill(registry)


@asynccontextmanager
async def _opened(root: Path, database: str = "entrepot.db", store: str = "") -> AsyncIterator[LocalRegistry]:
    async with sqlite_at(root / database) as metadata:
        assert isinstance(metadata, SqliteMetadata)
        yield LocalRegistry(FilesystemBlobStore(root / store), metadata)


class Migrate:
    """Runs the command on a root."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self._capsys = capsys

    def __call__(self, *flags: str) -> Done:
        code = run(["admin", "migrate", "--root", str(self.root), *flags])
        captured = self._capsys.readouterr()
        return Done(code, captured.out, captured.err)


@pytest.fixture
def migrate(root: Path, capsys: pytest.CaptureFixture[str]) -> Migrate:
    return Migrate(root, capsys)


def test_migrate_says_what_was_moved_and_what_to_write_where(migrate: Migrate) -> None:
    done = migrate("--to", "sqlite:///moved.db", "--blobs-to", f"file://{migrate.root}/moved")
    assert done.code == 0
    places = f"sqlite:///{migrate.root}/moved.db and file://{migrate.root}/moved"
    assert done.lines == [
        f"moved 3 repositories, 7 manifests, 5 tags and 15 blobs (11.9kB) to {places}",
        "pushes were held off for less than a second",
        "2 uploads were under way and stay behind; their clients begin anew",
        "",
        f"Write this into {migrate.root}/entrepot.toml and restart the server:",
        "",
        '  database = "sqlite:///moved.db"',
        f'  store = "file://{migrate.root}/moved"',
        "",
        "Until then it serves pulls and refuses pushes. The old place stays as it is; to go back to it, take that out",
        "of entrepot.toml again, and:",
        "",
        f"  entrepot admin migrate --undo --root {migrate.root}",
    ]
    assert done.err.splitlines()[0].startswith("content: 0 of 15 blobs")
    assert "content: 15 of 15 blobs (11.9kB of 11.9kB)\n" in done.err
    assert "pushes are held off from now on\n" in done.err


def test_migrate_once_more_says_that_it_was_done(migrate: Migrate) -> None:
    migrate("--to", "sqlite:///moved.db")
    done = migrate("--to", "sqlite:///moved.db")
    assert (done.code, done.err) == (0, "")
    assert done.lines[1] == "an earlier run has done that"


def test_migrate_prints_json_when_asked(migrate: Migrate) -> None:
    done = migrate("--json", "--to", "sqlite:///moved.db")
    report = json.loads(done.out)
    assert (done.code, report["clean"], report["was_done"], report["uploads_left"]) == (0, True, False, 2)
    assert report["rows"]["manifests"] == 7
    assert report["settings"] == {"database": "sqlite:///moved.db"}


def test_migrate_with_a_damaged_blob_lists_it_and_exits_with_1(migrate: Migrate) -> None:
    digest = IMAGE.layers[0].digest
    (migrate.root / "blobs" / "sha256" / digest.encoded[:2] / digest.encoded).unlink()
    done = migrate("--to", "sqlite:///moved.db", "--blobs-to", f"file://{migrate.root}/moved")
    assert done.code == 1
    assert done.lines[0].startswith(f"damaged: {digest} (sha256/{digest.encoded[:2]}/{digest.encoded}): the bytes at")
    assert "what is damaged was so before; push it again to heal it" in done.lines


def test_moved_registry_can_be_served_from_the_new_place(migrate: Migrate) -> None:
    migrate("--to", "sqlite:///moved.db", "--blobs-to", f"file://{migrate.root}/moved")

    async def pull_and_push() -> None:
        async with _opened(migrate.root, "moved.db", "moved") as registry:
            await require_whole(registry.repository(APP), SHARING, V1)
            await push(registry.repository(APP), IMAGE, V1)

    asyncio.run(pull_and_push())


def test_undo_lets_pushes_in_again(migrate: Migrate) -> None:
    migrate("--to", "sqlite:///moved.db")
    done = migrate("--undo")
    assert done.out == (
        "this registry takes pushes again; it does not have what was pushed to "
        f"sqlite:///{migrate.root}/moved.db since\n"
    )
    assert migrate("--undo").out == "this registry was not moved; it takes pushes\n"
    asyncio.run(_fill(migrate.root))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param((), "where to? --to names the new database", id="nothing"),
        pytest.param(("--blobs-to", "s3://bucket"), "--blobs-to needs --to", id="only_blobs"),
        pytest.param(("--undo", "--to", "sqlite:///x.db"), "--undo goes without", id="undo_and_to"),
    ],
)
def test_migrate_with_wrong_flags_exits_with_125(migrate: Migrate, flags: tuple[str, ...], message: str) -> None:
    done = migrate(*flags)
    assert (done.code, done.out) == (125, "")
    assert message in done.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(("--to", "sqlite:///entrepot.db"), "is where names are kept already", id="same_database"),
        pytest.param(("--to", "mysql://db"), "database (flag --to): expected sqlite:///FILE", id="unknown_kind"),
        pytest.param(
            ("--to", "sqlite:///x.db", "--blobs-to", "ftp://x"),
            "store (flag --blobs-to): expected file:///FOLDER",
            id="unknown_store",
        ),
        pytest.param(
            ("--to", "sqlite:///x.db", "--database", "postgresql://u@h/n"),
            "names are in PostgreSQL already",
            id="from_postgresql",
        ),
        pytest.param(("--to", "postgresql://u:secret@127.0.0.1:1/n"), "127.0.0.1", id="unreachable"),
        pytest.param(("--to", "sqlite:////proc/x/x.db"), "cannot write to", id="no_rights"),
    ],
)
def test_refused_migration_exits_with_1_and_leaves_the_registry_as_it_is(
    migrate: Migrate, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], message: str
) -> None:
    monkeypatch.setenv("ENTREPOT_POSTGRESQL__WAIT_SECONDS", "0")
    done = migrate(*flags)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: ")
    assert message in done.err
    assert "secret" not in done.err
    asyncio.run(_fill(migrate.root))


def test_migrate_of_a_root_without_a_registry_makes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = Migrate(tmp_path, capsys)("--to", "sqlite:///moved.db")
    assert (done.code, list(tmp_path.iterdir())) == (1, [])
    assert "there is no registry here" in done.err
