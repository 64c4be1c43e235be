"""Several clients at once, on several workers: each race has a defined outcome."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Barrier, Event
from typing import TypeVar

import pytest

from entrepot.digest import Digest
from entrepot.store.filesystem import SYNC_EVERY
from entrepot.testing.images import build_image
from entrepot.testing.server import RegistryProcess

from .client import FLOWS, Answer, Client, Flow, post_patch_put, push_blob, push_blobs, push_image
from .registry import again, check, require_clean

WORKERS = 4
ROUNDS = range(8)
UPLOAD_UNKNOWN = (404, "BLOB_UPLOAD_UNKNOWN")
UPLOAD_INVALID = (416, "BLOB_UPLOAD_INVALID")

T = TypeVar("T")
numbers = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    root = tmp_path_factory.mktemp("races") / "root"
    with RegistryProcess(root, workers=WORKERS, flags=("--access-log", "off")) as process:
        yield process
        require_clean(check(root))


@pytest.fixture
def client(server: RegistryProcess) -> Client:
    return Client(server.host)


@pytest.fixture
def content() -> bytes:
    """Bytes that no other test has pushed."""
    return random.Random(next(numbers)).randbytes(100_000)


def at_once(*calls: Callable[[], T]) -> list[T]:
    """What the calls return; they begin together."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def statuses(answers: Sequence[Answer]) -> list[int]:
    return sorted(answer.status for answer in answers)


@pytest.mark.parametrize("clients", [2, 8])
@pytest.mark.parametrize("flow", FLOWS)
def test_pushes_of_the_same_blob_at_once_all_succeed(client: Client, content: bytes, flow: Flow, clients: int) -> None:
    answers = at_once(*[lambda: flow(client, "team/same", content)] * clients)
    assert statuses(answers) == [201] * clients
    assert client.get_blob("team/same", Digest.of(content)).body == content


def test_pushes_of_the_same_blob_to_new_repositories_at_once_all_succeed(client: Client, content: bytes) -> None:
    pushes = [lambda number=number: post_patch_put(client, f"team/new{number % 3}", content) for number in range(6)]
    assert statuses(at_once(*pushes)) == [201] * 6
    for number in range(3):
        assert client.get_blob(f"team/new{number}", Digest.of(content)).body == content


@pytest.mark.parametrize("kept", [0, 50_000, 100_000], ids=["nothing", "half", "all"])
@pytest.mark.parametrize("closers", [2, 5])
@pytest.mark.parametrize("_", range(3))
def test_closes_of_one_upload_at_once_succeed_for_one(
    client: Client, content: bytes, kept: int, closers: int, _: int
) -> None:
    location = client.begin("team/closes")
    if kept:
        client.append(location, content[:kept])
    answers = at_once(*[lambda: client.finish(location, Digest.of(content), content[kept:])] * closers)
    assert statuses(answers) == [201] + [404] * (closers - 1)
    assert {answer.refusal for answer in answers if answer.status == 404} == {UPLOAD_UNKNOWN}
    assert client.get_blob("team/closes", Digest.of(content)).body == content
    assert client.status(location).refusal == UPLOAD_UNKNOWN


@pytest.mark.parametrize("kept", [0, 50_000], ids=["nothing", "half"])
def test_closes_of_one_upload_with_different_contents_succeed_for_one(
    client: Client, content: bytes, kept: int
) -> None:
    location = client.begin("team/closes")
    if kept:
        client.append(location, content[:kept])
    wholes = [content[:kept] + bytes([number]) * 1000 for number in range(4)]
    closes = [lambda whole=whole: client.finish(location, Digest.of(whole), whole[kept:]) for whole in wholes]
    answers = at_once(*closes)
    assert statuses(answers) == [201, 404, 404, 404]
    found = [client.head_blob("team/closes", Digest.of(whole)).status for whole in wholes]
    assert found == [200 if answer.status == 201 else 404 for answer in answers]


def test_chunks_at_once_are_kept_whole_one_after_another(client: Client) -> None:
    location = client.begin("team/chunks")
    parts = [bytes([number]) * 200_000 for number in range(8)]
    answers = at_once(*[lambda part=part: client.append(location, part) for part in parts])
    assert statuses(answers) == [202] * 8
    offsets = {answer.offset: part for answer, part in zip(answers, parts, strict=True)}
    assert sorted(offsets) == [200_000 * number for number in range(1, 9)]
    whole = b"".join(part for _, part in sorted(offsets.items()))
    assert client.finish(location, Digest.of(whole)).status == 201
    assert client.get_blob("team/chunks", Digest.of(whole)).body == whole


def test_chunks_at_once_for_the_same_place_succeed_for_one(client: Client) -> None:
    location = client.begin("team/chunks")
    parts = [bytes([number]) * 100_000 for number in range(6)]
    answers = at_once(*[lambda part=part: client.append(location, part, start=0) for part in parts])
    assert statuses(answers) == [202] + [416] * 5
    assert {answer.refusal for answer in answers if answer.status == 416} == {UPLOAD_INVALID}
    [kept] = [part for answer, part in zip(answers, parts, strict=True) if answer.status == 202]
    assert client.finish(location, Digest.of(kept)).status == 201


@pytest.mark.parametrize("_", ROUNDS)
def test_cancel_and_chunk_at_once_leave_the_upload_whole_or_gone(client: Client, content: bytes, _: int) -> None:
    location = client.begin("team/cancel")
    client.append(location, content[:1000])
    cancelled, appended = at_once(
        lambda: client.request("DELETE", location), lambda: client.append(location, content[1000:])
    )
    if cancelled.status == 204:
        assert appended.status == 202 or appended.refusal == UPLOAD_UNKNOWN
        assert client.status(location).refusal == UPLOAD_UNKNOWN
    else:
        assert cancelled.refusal == UPLOAD_INVALID
        assert appended.status == 202
        assert client.finish(location, Digest.of(content)).status == 201


@pytest.mark.parametrize("_", ROUNDS)
def test_cancel_and_close_at_once_succeed_for_one(client: Client, content: bytes, _: int) -> None:
    location = client.begin("team/cancel")
    client.append(location, content)
    cancelled, finished = at_once(
        lambda: client.request("DELETE", location), lambda: client.finish(location, Digest.of(content))
    )
    assert (cancelled.status, finished.status) in {(204, 404), (404, 201), (416, 201)}
    assert client.head_blob("team/cancel", Digest.of(content)).status == (200 if finished.status == 201 else 404)


@pytest.mark.parametrize("_", ROUNDS)
def test_delete_and_push_of_a_blob_at_once_leave_it_whole_or_gone(client: Client, content: bytes, _: int) -> None:
    digest = push_blob(client, "team/delete", content)
    deleted, pushed = at_once(
        lambda: client.delete_blob("team/delete", digest), lambda: post_patch_put(client, "team/delete", content)
    )
    assert (deleted.status, pushed.status) == (202, 201)
    found = client.get_blob("team/delete", digest)
    assert (found.status, found.body) == (200, content) or found.status == 404


@pytest.mark.parametrize("number", ROUNDS)
def test_delete_of_a_layer_and_push_of_its_manifest_at_once_are_one_after_the_other(
    client: Client, number: int
) -> None:
    image = build_image(1, seed=100 + number)
    push_blobs(client, "team/delete", image)
    deleted, pushed = at_once(
        lambda: client.delete_blob("team/delete", image.layers[0].digest),
        lambda: client.put_manifest("team/delete", f"v{number}", image),
    )
    assert deleted.status == 202
    assert pushed.status == 201 or pushed.refusal == (400, "MANIFEST_BLOB_UNKNOWN")
    assert client.get_manifest("team/delete", f"v{number}").status == (200 if pushed.status == 201 else 404)
    assert client.head_blob("team/delete", image.layers[0].digest).status == 404
    client.delete_manifest("team/delete", image.digest)


@pytest.mark.parametrize("number", ROUNDS)
def test_delete_and_push_of_a_manifest_at_once_leave_it_whole_or_gone(client: Client, number: int) -> None:
    image = build_image(1, seed=200 + number)
    push_image(client, "team/delete", f"v{number}", image)
    deleted, pushed = at_once(
        lambda: client.delete_manifest("team/delete", image.digest),
        lambda: client.put_manifest("team/delete", f"v{number}", image),
    )
    assert (deleted.status, pushed.status) == (202, 201)
    by_tag, by_digest = (client.get_manifest("team/delete", each) for each in (f"v{number}", image.digest))
    assert by_tag.status == by_digest.status
    assert by_tag.status == 404 or by_tag.body == by_digest.body == image.manifest.data


@pytest.mark.parametrize("number", ROUNDS)
def test_mount_and_delete_at_once_give_a_whole_blob_or_an_upload(client: Client, content: bytes, number: int) -> None:
    digest = push_blob(client, "team/source", content)
    mounted, deleted = at_once(
        lambda: client.mount(f"team/target{number}", digest, "team/source"),
        lambda: client.delete_blob("team/source", digest),
    )
    assert deleted.status == 202
    assert mounted.status in (201, 202)
    found = client.get_blob(f"team/target{number}", digest)
    assert (found.status, found.body) == (200, content) if mounted.status == 201 else found.status == 404


def test_tag_moved_by_many_is_a_whole_manifest_at_any_time_and_ends_at_one_of_theirs(client: Client) -> None:
    images = [build_image(1, seed=300 + number) for number in range(6)]
    for image in images:
        push_image(client, "team/tag", "latest", image)
    manifests = {image.manifest.data for image in images}
    done = Event()

    def read() -> set[bytes]:
        seen = set()
        while not done.is_set():
            answer = client.get_manifest("team/tag", "latest")
            assert answer.headers["docker-content-digest"] == Digest.of(answer.body)
            seen.add(answer.body)
        return seen

    def move() -> set[bytes]:
        moves = [lambda image=image: client.put_manifest("team/tag", "latest", image) for image in images]
        try:
            for _ in range(5):
                assert statuses(at_once(*moves)) == [201] * 6
        finally:
            done.set()
        return manifests

    seen = at_once(read, read, move)
    assert set.union(*seen) <= manifests
    assert client.get_manifest("team/tag", "latest").body in manifests


def test_tag_moved_by_one_is_seen_moved_by_every_worker_at_once(client: Client) -> None:
    images = [build_image(1, seed=400 + number) for number in range(4)]
    for image in images:
        push_blobs(client, "team/seen", image)
    for image in images * 4:
        assert client.put_manifest("team/seen", "latest", image).status == 201
        found = at_once(*[lambda: client.get_manifest("team/seen", "latest")] * 6)
        assert {answer.body for answer in found} == {image.manifest.data}


# a worker that dies


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[RegistryProcess]:
    with RegistryProcess(tmp_path / "root", workers=2, flags=("--access-log", "off")) as process:
        yield process


def holder_of_an_upload(process: RegistryProcess) -> int | None:
    """The worker that has the file of an upload open."""
    for pid in process.worker_pids():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if "/uploads/" in os.readlink(link):
                    return pid
            except FileNotFoundError:  # closed meanwhile
                continue
    return None


def test_upload_whose_worker_is_killed_goes_on_at_its_last_checkpoint_with_another(lone: RegistryProcess) -> None:
    client = Client(lone.host)
    content = random.Random(7).randbytes(SYNC_EVERY + 8 * 1024 * 1024)
    location = client.begin("team/killed")
    head = f"PATCH {location} HTTP/1.1\r\nHost: {lone.host}\r\nContent-Length: {2 * len(content)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", lone.port)) as connection:
        connection.sendall(head.encode() + content)
        while client.status(location).offset < SYNC_EVERY:
            pass
        victim = holder_of_an_upload(lone)
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
    kept = again(lambda: client.status(location)).offset
    assert kept >= SYNC_EVERY
    assert again(lambda: client.append(location, content[kept:], start=kept)).offset == len(content)
    assert again(lambda: client.finish(location, Digest.of(content))).status == 201
    assert again(lambda: client.get_blob("team/killed", Digest.of(content))).body == content
    while len(lone.worker_pids()) < 2:  # it is replaced
        pass
