"""``entrepot admin migrate`` as a program, beside a server that is being used."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from mmap import PAGESIZE
from pathlib import Path
from threading import Event

import pytest

from entrepot.cli.main import run
from entrepot.testing.images import Image, build_image, walk_blobs
from entrepot.testing.server import RegistryProcess
from tests.hostile.waiting import eventually
from tests.services.s3 import S3Place

from .client import Client, push_image

MOVED = ("team/app", "v1")
_ROOM = 120  # bytes for what a move says: one line or two, of ten


@dataclass
class Moving:
    """A registry of one machine that runs, and where it is to go."""

    server: RegistryProcess
    url: str
    store: str
    environment: Mapping[str, str] = field(default_factory=dict)
    images: dict[tuple[str, str], Image] = field(default_factory=dict)

    @property
    def client(self) -> Client:
        return Client(self.server.host)

    def push(self, name: str, tag: str, image: Image) -> None:
        """Push what must be accepted, and remember it."""
        push_image(self.client, name, tag, image)
        self.images[name, tag] = image

    def begin(self, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "entrepot", "admin", "migrate", "--root", str(self.server.root), "--json"]
        command += ["--to", self.url, "--blobs-to", self.store]
        environment = {**os.environ, **self.environment}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)

    def move(self) -> tuple[int, dict[str, object]]:
        """Run it to its end: exit code and report."""
        process = self.begin()
        out, err = process.communicate(timeout=200)
        assert out, err
        return process.returncode, json.loads(out)

    def new_server(self) -> RegistryProcess:
        flags = ("--database", self.url, "--store", self.store, "--access-log", "off")
        return RegistryProcess(self.server.root.with_name("new"), flags=flags, environment=self.environment)

    def require_all(self, client: Client) -> None:
        """Everything that was acknowledged can be pulled byte for byte."""
        for (name, tag), image in self.images.items():
            assert client.get_manifest(name, tag).body == image.manifest.data
            for blob in walk_blobs(image):
                assert client.get_blob(name, blob.digest).body == blob.data


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryProcess]:
    with RegistryProcess(tmp_path / "old", workers=2, flags=("--access-log", "off")) as server:
        yield server


@pytest.fixture
def moving(server: RegistryProcess, postgresql: str, tmp_path: Path) -> Moving:
    """To PostgreSQL and another folder."""
    return fill(Moving(server, postgresql, f"file://{tmp_path}/moved"))


@pytest.fixture
def moving_to_s3(server: RegistryProcess, postgresql: str, ceph: S3Place) -> Moving:
    return fill(Moving(server, postgresql, ceph.url, ceph.environment))


def fill(moving: Moving) -> Moving:
    for number in range(6):
        moving.push("team/app", f"v{number}", build_image(3, seed=100 + number))
    return moving


def test_move_beside_pushes_and_pulls_loses_nothing(moving_to_s3: Moving) -> None:
    moving, done = moving_to_s3, Event()

    def push(worker: int) -> int:
        """Until the registry is moved; how many were refused."""
        refused = 0
        for count in range(40):
            if done.is_set():
                break
            image = build_image(1, seed=10_000 * (worker + 1) + count)
            try:
                moving.push(f"team/busy{worker}", f"v{count}", image)
            except AssertionError as error:
                assert "UNAVAILABLE" in str(error)  # noqa: PT017  (the answer is in it)
                refused += 1
        return refused

    def pull() -> int:
        count = 0
        while not done.is_set() or not count:
            assert moving.client.get_manifest(*MOVED).status == 200
            count += 1
        return count

    with ThreadPoolExecutor(3) as threads:
        pushing = [threads.submit(push, worker) for worker in range(2)]
        pulling = threads.submit(pull)
        try:
            code, report = moving.move()
        finally:
            done.set()
        assert (code, report["clean"]) == (0, True)
        assert all(each.exception() is None for each in pushing)
        assert pulling.result() > 0
    with moving.new_server() as server:
        moving.require_all(Client(server.host))
        push_image(Client(server.host), "team/new", "v1", build_image(1, seed=5))


def test_server_of_a_moved_registry_refuses_pushes_and_serves_pulls(moving: Moving) -> None:
    assert moving.move()[0] == 0
    answer = moving.client.request("POST", "/v2/team/app/blobs/uploads/")
    assert (answer.refusal, answer.headers["retry-after"]) == ((503, "UNAVAILABLE"), "15")
    assert "this registry was moved; its server has to be restarted" in str(answer.body)
    assert b"not-secret" not in answer.body
    moving.require_all(moving.client)
    assert run(["admin", "migrate", "--undo", "--root", str(moving.server.root)]) == 0
    moving.push("team/app", "after", build_image(1, seed=6))
    moving.require_all(moving.client)


@pytest.mark.parametrize("line", ["content: 0 ", "names: "])
def test_move_killed_and_run_again_is_complete(moving: Moving, line: str) -> None:
    process = moving.begin()
    assert process.stderr is not None
    _until(line, process.stderr.readline)
    process.kill()
    process.communicate()
    code, report = moving.move()
    assert (code, report["clean"]) == (0, True)
    with moving.new_server() as server:
        moving.require_all(Client(server.host))
    flags = ["--database", moving.url, "--store", moving.store, "--root", str(server.root)]
    assert run(["admin", "check", *flags]) == 0


def test_interrupted_move_says_what_is_kept_and_lets_pushes_in(moving: Moving) -> None:
    process = moving.begin()
    assert process.stderr is not None
    _until("names: ", process.stderr.readline)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    if process.returncode:  # else it was done by then
        assert (process.returncode, out) == (130, "")
        assert "Interrupted: what has been copied is kept" in err
        moving.push("team/app", "meanwhile", build_image(1, seed=7))
        assert moving.move()[0] == 0
    with moving.new_server() as server:
        moving.require_all(Client(server.host))


def test_second_move_beside_the_first_is_refused(moving: Moving) -> None:
    """The first one waits in the middle: it cannot say how far it is, as nobody listens and the pipe is full."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PAGESIZE)
    filled = os.write(writing, bytes(PAGESIZE - _ROOM))
    first = moving.begin(stderr=writing)
    os.close(writing)
    with open(reading, "rb") as said:
        eventually(lambda: _unread(reading) > filled)
        second = moving.begin()
        _, err = second.communicate()
        assert second.returncode == 1
        assert "another process is moving sqlite:///" in err
        assert first.poll() is None
        said.read()
    first.communicate()
    assert first.returncode == 0


def _unread(pipe: int) -> int:
    """How many bytes wait in it."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def _until(text: str, read: Callable[[], str]) -> None:
    """Read lines up to the one with ``text``."""
    while line := read():
        if text in line:
            return
    pytest.fail(f"it never said {text!r}")
