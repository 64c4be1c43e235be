"""``entrepot admin check`` beside a running server: what it finds, what it repairs, and what it leaves alone."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from entrepot.cli.main import run
from entrepot.digest import Digest
from entrepot.testing.images import build_image, walk_blobs
from entrepot.testing.server import RegistryProcess

from .client import FLOWS, Client, Flow, post_patch_put, push_blob, push_image

CONTENT = b"content" * 10_000
DIGEST = Digest.of(CONTENT)
DAMAGE: dict[str, Callable[[Path], object]] = {
    "one_byte": lambda path: path.write_bytes(b"C" + CONTENT[1:]),
    "truncated": lambda path: path.write_bytes(CONTENT[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(CONTENT + b"x"),
}
Result = tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    root = tmp_path_factory.mktemp("check") / "root"
    with RegistryProcess(root, workers=2, flags=("--access-log", "off")) as process:
        yield process


@pytest.fixture
def client(server: RegistryProcess) -> Client:
    return Client(server.host)


@pytest.fixture
def check(server: RegistryProcess, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs the command; gives its exit code and what it printed."""

    def command(*flags: str) -> Result:
        code = run(["admin", "check", "--json", "--root", str(server.root), *flags])
        return code, json.loads(capsys.readouterr().out)

    return command


@pytest.fixture
def blob(server: RegistryProcess, client: Client, check: Callable[..., Result]) -> Iterator[Path]:
    """The file of a blob that somebody has pulled, so that it may be in a cache; it is whole again in the end."""
    push_blob(client, "team/app", CONTENT)
    assert client.get_blob("team/app", DIGEST).body == CONTENT
    yield server.root / "blobs" / "sha256" / DIGEST.encoded[:2] / DIGEST.encoded
    push_blob(client, "team/app", CONTENT)
    assert check()[0] == 0


def found(report: dict[str, Any], kind: str) -> list[str]:
    return [finding["digest"] for finding in report[kind]]


def test_check_of_a_good_registry_says_so_and_exits_with_zero(
    client: Client, check: Callable[..., Result], blob: Path
) -> None:
    push_image(client, "team/good", "latest", build_image(2))
    code, report = check()
    assert (code, report["clean"]) == (0, True)
    assert [report[kind] for kind in ("missing", "corrupt", "incomplete", "orphaned")] == [[]] * 4


@pytest.mark.parametrize("damage", DAMAGE)
def test_check_finds_damage_and_leaves_it(check: Callable[..., Result], blob: Path, damage: str) -> None:
    DAMAGE[damage](blob)
    code, report = check()
    assert (code, found(report, "corrupt"), report["repaired"]) == (1, [DIGEST], 0)
    assert blob.exists()


@pytest.mark.parametrize("damage", DAMAGE)
def test_check_with_repair_takes_damage_out_and_a_push_heals_it(
    server: RegistryProcess, client: Client, check: Callable[..., Result], blob: Path, damage: str
) -> None:
    DAMAGE[damage](blob)
    damaged = blob.read_bytes()
    code, report = check("--repair")
    assert (code, found(report, "corrupt"), report["repaired"]) == (1, [DIGEST], 1)
    assert damaged in [path.read_bytes() for path in (server.root / "quarantine").iterdir()]
    for _ in range(4):  # whichever worker answers
        assert client.head_blob("team/app", DIGEST).status == 404
        assert client.get_blob("team/app", DIGEST).refusal == (404, "BLOB_UNKNOWN")
    assert found(check()[1], "missing") == [DIGEST]
    assert post_patch_put(client, "team/app", CONTENT).status == 201
    for _ in range(4):
        assert client.get_blob("team/app", DIGEST).body == CONTENT
    assert check()[0] == 0


@pytest.mark.parametrize("flow", FLOWS)
def test_push_over_damage_heals_it_without_repair(
    client: Client, check: Callable[..., Result], blob: Path, flow: Flow
) -> None:
    blob.write_bytes(b"damaged")
    assert flow(client, "team/other", CONTENT).status == 201
    assert blob.read_bytes() == CONTENT
    assert client.get_blob("team/app", DIGEST).body == CONTENT
    assert check()[0] == 0


def test_damage_is_never_served_as_a_whole_blob(client: Client, blob: Path) -> None:
    """A blob of this size is kept in memory by the worker that served it, so any may or may not know the good one."""
    blob.write_bytes(CONTENT[:-1])
    for _ in range(8):
        answer = client.get_blob("team/app", DIGEST)
        assert answer.refusal == (500, "UNKNOWN") if answer.status != 200 else answer.body == CONTENT


def test_check_finds_bytes_that_are_missing_and_a_push_heals_them(
    client: Client, check: Callable[..., Result], blob: Path
) -> None:
    blob.unlink()
    code, report = check("--repair")
    assert (code, found(report, "missing"), report["repaired"]) == (1, [DIGEST], 1)
    push_blob(client, "team/app", CONTENT)
    assert check()[0] == 0


def test_check_tells_orphans_and_counts_them_as_no_damage(
    server: RegistryProcess, check: Callable[..., Result]
) -> None:
    orphan = Digest.of(b"orphan")
    folder = server.root / "blobs" / "sha256" / orphan.encoded[:2]
    folder.mkdir(exist_ok=True)
    (folder / orphan.encoded).write_bytes(b"orphan")
    code, report = check("--repair")
    assert (code, report["clean"], found(report, "orphaned")) == (0, True, [orphan])
    (folder / orphan.encoded).unlink()


def test_check_finds_a_damaged_manifest_and_a_push_heals_it(
    server: RegistryProcess, client: Client, check: Callable[..., Result]
) -> None:
    image = build_image(1, seed=9)
    push_image(client, "team/app", "latest", image)
    with closing(sqlite3.connect(server.root / "entrepot.db")) as connection, connection:
        connection.execute("UPDATE manifests SET content = x'7b7d' WHERE digest = ?", [image.digest])
    code, report = check("--repair")
    assert (code, found(report, "corrupt")) == (1, [image.digest])
    assert report["corrupt"][0]["location"] == "team/app"
    push_image(client, "team/app", "latest", image)
    assert client.get_manifest("team/app", "latest").body == image.manifest.data
    assert check()[0] == 0


def test_check_tells_manifests_whose_layers_were_deleted(client: Client, check: Callable[..., Result]) -> None:
    image = build_image(1, seed=10)
    push_image(client, "team/torn", "latest", image)
    assert client.delete_blob("team/torn", image.config.digest).status == 202
    code, report = check()
    assert (code, found(report, "incomplete")) == (0, [image.digest])
    client.delete_manifest("team/torn", image.digest)


def test_check_beside_pushes_finds_nothing_that_is_not_there(client: Client, check: Callable[..., Result]) -> None:
    begun, done = Barrier(4), Event()
    pushed: set[Digest] = set()

    def push(worker: int) -> int:
        count = 0
        while not done.is_set():
            image = build_image(1, seed=10_000 * worker + count)
            pushed.update(blob.digest for blob in walk_blobs(image))
            push_image(client, f"team/busy{worker}", f"v{count}", image)
            count += 1
            if count == 1:
                begun.wait()
        return count

    with ThreadPoolExecutor(3) as threads:
        pushing = [threads.submit(push, worker) for worker in range(3)]
        try:
            begun.wait()
            reports = [check("--repair") for _ in range(2)]
        finally:
            done.set()
        assert all(each.result() > 0 for each in pushing)
    for code, report in reports:
        assert (code, report["repaired"]) == (0, 0)
        assert [report[kind] for kind in ("missing", "corrupt", "incomplete")] == [[]] * 3
        assert set(found(report, "orphaned")) <= pushed  # on a machine so slow that a push takes longer than it waits
    assert found(check()[1], "orphaned") == []


def test_check_as_a_program_prints_lines_and_its_exit_code(server: RegistryProcess, blob: Path) -> None:
    blob.write_bytes(b"damaged")
    command = [sys.executable, "-m", "entrepot", "admin", "check", "--root", str(server.root)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    location = blob.relative_to(server.root / "blobs")
    assert f"corrupt: {DIGEST} ({location}): has 7 bytes instead of {len(CONTENT)}\n" in result.stdout
    assert result.stderr == ""
