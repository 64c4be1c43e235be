"""No space left: the client is told so in OCI's form, what was stored stays, and space that returns is used."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.testing.faults import Action, Fault, Step
from entrepot.testing.images import build_image
from entrepot.testing.server import RegistryProcess

from .client import FLOWS, Answer, Client, Flow, post_patch_put, push_blob, push_blobs, push_image, single_post
from .registry import FaultyRegistry, check, require_clean

FULL = (507, "UNAVAILABLE")
BROKEN = (503, "UNAVAILABLE")
MIB = 1024 * 1024
IMAGE, NEXT = build_image(2, seed=1), build_image(2, seed=2)
LAYER = IMAGE.layers[0].digest
BEFORE = b"before" * 1000
ACTIONS = pytest.mark.parametrize(("action", "refusal"), [("full", FULL), ("error", BROKEN)], ids=["full", "broken"])


@pytest.fixture
def client(faulty: FaultyRegistry) -> Client:
    """Of a registry that holds something."""
    client = faulty.run()
    push_blob(client, "team/app", BEFORE)
    push_image(client, "team/app", "latest", IMAGE)
    push_blobs(client, "team/app", NEXT)
    return client


def require_served(client: Client) -> None:
    """What was stored before can still be pulled."""
    assert client.get_blob("team/app", Digest.of(BEFORE)).body == BEFORE
    assert client.get_manifest("team/app", "latest").body == IMAGE.manifest.data
    assert client.get_blob("team/app", LAYER).body == IMAGE.layers[0].data


# the disk


@ACTIONS
@pytest.mark.parametrize("step", ["write", "sync", "rename", "sync_folder"])
@pytest.mark.parametrize("flow", FLOWS)
def test_push_blob_that_the_disk_refuses_is_unavailable_and_succeeds_later(
    faulty: FaultyRegistry, client: Client, flow: Flow, step: Step, action: Action, refusal: tuple[int, str]
) -> None:
    content = f"{flow.__name__} {step} {action}".encode() * 1000
    # the third sync_folder and later ones are those of a new folder of blobs, which is not there every time
    faulty.plan.set(Fault(step, action, times=0, on="/blobs/sha256/" if step == "sync_folder" else ""))
    answer = flow(client, "team/app", content)
    assert answer.refusal == refusal
    assert int(answer.headers["retry-after"]) > 0
    assert client.head_blob("team/app", Digest.of(content)).status == 404
    require_served(client)
    faulty.plan.clear()
    assert flow(client, "team/app", content).status == 201
    assert client.get_blob("team/app", Digest.of(content)).body == content
    require_clean(faulty.check())


@pytest.mark.parametrize("torn", [False, True], ids=["refused", "torn"])
def test_upload_goes_on_from_its_last_saved_state_when_space_returns(
    faulty: FaultyRegistry, client: Client, torn: bool
) -> None:
    """The bytes that the server counted and could not write must not be taken for kept."""
    content = bytes([torn]) * 3 * MIB
    location = client.begin("team/app")
    assert client.append(location, content[:MIB]).offset == MIB
    faulty.plan.set(Fault("write", "full", nth=2 if torn else 1, torn=torn, on="/uploads/"))
    assert client.append(location, content[MIB:], start=MIB).refusal == FULL
    assert client.status(location).offset == MIB
    faulty.plan.clear()
    assert client.append(location, content[MIB:], start=MIB).offset == 3 * MIB
    assert client.finish(location, Digest.of(content)).status == 201
    assert client.get_blob("team/app", Digest.of(content)).body == content


@pytest.mark.parametrize("step", ["write", "sync", "rename"])
def test_finish_upload_that_the_disk_refuses_can_be_tried_again(
    faulty: FaultyRegistry, client: Client, step: Step
) -> None:
    content = step.encode() * 1000
    location = client.begin("team/app")
    client.append(location, content[:50])
    faulty.plan.set(Fault(step, "full"))
    assert client.finish(location, Digest.of(content), content[50:]).refusal == FULL
    assert client.status(location).offset == 50
    assert client.finish(location, Digest.of(content), content[50:]).status == 201


# the database

Change = Callable[[Client], Answer]
CHANGES: dict[str, tuple[Change, int]] = {
    "begin_upload": (lambda client: client.request("POST", "/v2/team/app/blobs/uploads/"), 202),
    "push_blob": (lambda client: single_post(client, "team/app", b"new content"), 201),
    "mount_blob": (lambda client: client.mount("team/mounted", LAYER, "team/app"), 201),
    "push_manifest": (lambda client: client.put_manifest("team/app", "new", NEXT), 201),
    "move_tag": (lambda client: client.put_manifest("team/app", "latest", NEXT), 201),
    "delete_tag": (lambda client: client.delete_manifest("team/app", "latest"), 202),
    "delete_manifest": (lambda client: client.delete_manifest("team/app", IMAGE.digest), 202),
    "delete_blob": (lambda client: client.delete_blob("team/app", LAYER), 202),
}


@ACTIONS
@pytest.mark.parametrize("change", CHANGES)
def test_change_that_the_database_refuses_is_unavailable_and_succeeds_later(
    faulty: FaultyRegistry, client: Client, change: str, action: Action, refusal: tuple[int, str]
) -> None:
    request, accepted = CHANGES[change]
    faulty.plan.set(Fault("before_commit", action, times=0))
    answer = request(client)
    assert answer.refusal == refusal
    assert int(answer.headers["retry-after"]) > 0
    require_served(client)
    assert client.get_manifest("team/app", "new").status == 404 or change != "push_manifest"
    faulty.plan.clear()
    assert request(client).status == accepted
    client.delete_manifest("team/app", NEXT.digest)


def test_server_stops_orderly_while_its_database_is_full(fresh: FaultyRegistry) -> None:
    client = fresh.run()
    fresh.plan.set(Fault("before_commit", "full", times=0))
    assert single_post(client, "team/app", b"content").refusal == FULL
    assert fresh.process.stop() == 0


# a real file system


@pytest.fixture(params=["tmpfs", pytest.param("ext4", marks=pytest.mark.slow)])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    folder, image = tmp_path / "disk", tmp_path / "image"
    folder.mkdir()
    if request.param == "tmpfs":
        do("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder)
    else:
        with image.open("wb") as file:
            file.truncate(24 * MIB)  # what is left of them when ext4 has taken its part
        # a disk this small would get blocks of 1 KiB; SQLite makes sure of one for each 4 KiB that it maps, and a full
        # disk that has none for the rest ends the process with SIGBUS
        do("mkfs.ext4", "-q", "-b", "4096", image)
        do("mount", "-o", "loop", image, folder)
    yield folder
    do("umount", "--lazy", folder)


def do(program: str, *arguments: str | Path) -> None:
    """Run it, or skip the test where that is not possible."""
    if shutil.which(program) is None:
        pytest.skip(f"no program {program} here")
    result = subprocess.run([program, *arguments], capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"cannot do {program} here: {result.stderr.strip()}")


@pytest.fixture
def small(small_disk: Path) -> Iterator[RegistryProcess]:
    """A registry on it, without any faults but those of the disk."""
    registry = RegistryProcess(small_disk / "root", workers=2, flags=("--access-log", "off"))
    registry.log_file = small_disk.parent / "log"  # not on the small disk
    yield registry
    if registry.is_running:
        registry.kill()


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Take all the space but ``leave`` bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for piece in (bytes(64 * 1024), bytes(1024)):
            with suppress(OSError):
                while file.write(piece):
                    pass
        file.truncate(max(0, file.tell() - leave))
        os.fsync(file.fileno())
    return ballast


@pytest.mark.root
@pytest.mark.parametrize("flow", FLOWS)
def test_push_larger_than_the_disk_is_refused_and_leaves_its_space(small: RegistryProcess, flow: Flow) -> None:
    client = Client(small.start().host)
    digest = push_blob(client, "team/app", BEFORE)
    answer = flow(client, "team/app", bytes(30 * MIB))
    assert answer.refusal == FULL
    assert client.get_blob("team/app", digest).body == BEFORE
    assert flow(client, "team/app", bytes(3 * MIB)).status == 201
    require_clean(check(small.root))


@pytest.mark.root
def test_full_disk_refuses_writes_serves_reads_and_recovers(small: RegistryProcess, small_disk: Path) -> None:
    client = Client(small.start().host)
    push_image(client, "team/app", "latest", IMAGE)
    push_image(client, "team/app", "doomed", IMAGE)
    push_blobs(client, "team/app", NEXT)
    ballast = fill(small_disk)
    assert single_post(client, "team/app", bytes(MIB)).refusal == FULL
    for answer in (
        client.put_manifest("team/app", "next", NEXT),
        client.delete_manifest("team/app", "doomed"),
        client.request("POST", "/v2/team/app/blobs/uploads/"),
    ):  # a few bytes may still find a place in the log of the database
        assert answer.status in (201, 202) or answer.refusal == FULL
    assert client.request("GET", "/readyz").status == 200
    assert client.get_manifest("team/app", "latest").body == IMAGE.manifest.data
    assert client.get_blob("team/app", LAYER).body == IMAGE.layers[0].data
    ballast.unlink()
    assert post_patch_put(client, "team/app", bytes(MIB)).status == 201
    assert client.put_manifest("team/app", "next", NEXT).status == 201
    require_clean(check(small.root))


@pytest.mark.root
def test_upload_in_the_middle_of_which_the_disk_fills_goes_on_when_there_is_space(
    small: RegistryProcess, small_disk: Path
) -> None:
    client = Client(small.start().host)
    content = b"0123456789abcdef" * (6 * MIB // 16)
    location = client.begin("team/app")
    assert client.append(location, content[:MIB]).offset == MIB
    ballast = fill(small_disk, leave=2 * MIB)
    assert client.append(location, content[MIB:], start=MIB).refusal == FULL
    ballast.unlink()
    assert client.status(location).offset == MIB
    assert client.append(location, content[MIB:], start=MIB).offset == len(content)
    assert client.finish(location, Digest.of(content)).status == 201
    assert client.get_blob("team/app", Digest.of(content)).body == content


@pytest.mark.root
def test_server_that_finds_no_space_to_start_in_says_so(small: RegistryProcess, small_disk: Path) -> None:
    push_image(Client(small.start().host), "team/app", "latest", IMAGE)
    assert small.stop() == 0
    ballast = fill(small_disk)
    with pytest.raises(RuntimeError, match="no space left"):
        small.start()
    ballast.unlink()
    assert Client(small.start().host).get_manifest("team/app", "latest").body == IMAGE.manifest.data


@pytest.mark.root
def test_server_starts_and_stops_on_a_full_disk(small: RegistryProcess, small_disk: Path) -> None:
    push_image(Client(small.start().host), "team/app", "latest", IMAGE)
    small.kill()
    ballast = fill(small_disk)
    client = Client(small.start().host)
    assert client.get_manifest("team/app", "latest").body == IMAGE.manifest.data
    assert small.stop() == 0
    ballast.unlink()
    push_image(Client(small.start().host), "team/app", "next", NEXT)
    require_clean(check(small.root))
