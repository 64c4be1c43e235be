"""Three replicas of one registry, and a client that is as simple as one can be."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from entrepot.testing.server import RegistryProcess

_PIECE = 1024 * 1024
_POLL_SECONDS = 0.02
_SETTLE_SECONDS = 90.0  # on a busy machine; a few are usual
_EMPTY_CONFIG = b"{}"


class Replicas:
    """What they share is one folder: files and SQLite, which processes on one computer may share."""

    def __init__(self, folder: Path, *, drain_seconds: float = 0) -> None:
        settings = {
            "ENTREPOT_SERVER__GRACEFUL_STOP_SECONDS": "30",
            "ENTREPOT_SERVER__DRAIN_SECONDS": str(drain_seconds),
        }
        self.all = [
            RegistryProcess(folder / "registry", flags=("--behind-proxy",), environment=settings) for _ in range(3)
        ]
        self.hosts = [replica.host for replica in self.all]

    def start(self) -> None:
        for replica in self.all:
            if not replica.is_running:
                replica.start()

    def stop(self) -> None:
        for replica in self.all:
            if replica.is_running:
                replica.stop()

    def kill(self) -> None:
        for replica in self.all:
            if replica.is_running:
                replica.kill()

    def restart(self, are_all_seen: Callable[[], bool]) -> None:
        """One after the other, each when the load balancer sees all of them."""
        for replica in self.all:
            replica.stop()
            replica.start()
            wait_until("the load balancer sees all replicas", are_all_seen)


@dataclass
class Client:
    """Requests over one connection, which is opened anew when the other side has closed it."""

    host: str
    name: str = "team/app"
    _connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection(self.host, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def send(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        """The answer, its body unread. An iterator is sent in chunks, without a length."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, named, encode_chunked=isinstance(body, Iterator))
        return self._connection.getresponse()

    def ask(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        answer = self.send(method, path, body, **headers)
        return answer.status, answer.headers, answer.read()

    def begin(self) -> str:
        """The address of a new upload."""
        status, headers, body = self.ask("POST", f"/v2/{self.name}/blobs/uploads/")
        assert status == 202, body
        return headers["Location"]

    def append(self, location: str, pieces: Iterator[bytes]) -> str:
        status, headers, body = self.ask("PATCH", location, pieces)
        assert status == 202, body
        return headers["Location"]

    def finish(self, location: str, digest: str) -> None:
        status, _, body = self.ask("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}")
        assert status == 201, body

    def push(self, content: bytes) -> str:
        """Push a blob in two requests, and return its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        location = self.begin()
        self.finish(self.append(location, iter([content])), digest)
        return digest

    def blob(self, digest: str) -> tuple[int, str]:
        """Size and digest of what a pull gives."""
        answer = self.send("GET", f"/v2/{self.name}/blobs/{digest}")
        assert answer.status == 200
        came, size = hashlib.sha256(), 0
        while piece := answer.read(_PIECE):
            came.update(piece)
            size += len(piece)
        return size, f"sha256:{came.hexdigest()}"

    def put_manifest(self, tag: str, config: str) -> int:
        """The status of the push of an image without layers, whose config was pushed before."""
        descriptor = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2}
        media_type = "application/vnd.oci.image.manifest.v1+json"
        body = {"schemaVersion": 2, "mediaType": media_type, "config": descriptor, "layers": []}
        body["annotations"] = {"tag": tag}
        path = f"/v2/{self.name}/manifests/{tag}"
        return self.ask("PUT", path, json.dumps(body).encode(), Content_Type=media_type)[0]


@contextmanager
def client_of(host: str, name: str = "team/app") -> Iterator[Client]:
    client = Client(host, name)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def load(host: str, clients: int = 4) -> Iterator[tuple[Counter[str], Counter[str]]]:
    """Clients that push and pull meanwhile; counts what they have done, and what failed."""
    done, failed = Counter[str](), Counter[str]()
    over = threading.Event()
    threads = [threading.Thread(target=_work, args=(host, n, over, done, failed)) for n in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield done, failed
    finally:
        over.set()
        for thread in threads:
            thread.join(120)


def _work(host: str, number: int, over: threading.Event, done: Counter[str], failed: Counter[str]) -> None:
    """Pushes and pulls on connections that are kept, with no retry of our own."""
    turn = 0
    with client_of(host, f"rolling/{number}") as client:
        config = client.push(b"{}")
        while not over.is_set():
            turn += 1
            try:
                client.push(f"{number}/{turn}".encode())
                assert client.put_manifest(f"v{turn}", config) == 201
                done["push"] += 1
                for _ in range(5):
                    status, _, _ = client.ask("GET", f"/v2/{client.name}/manifests/v{turn}")
                    assert status == 200
                    done["GET"] += 1
            except Exception as error:
                failed[f"{type(error).__name__}: {error}"] += 1
                client.close()


def wait_until(what: str, holds: object) -> None:
    """Return when the function ``holds`` says so; fail after a while."""
    assert callable(holds)
    deadline = time.monotonic() + _SETTLE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {_SETTLE_SECONDS:.0f} s: {what}"
        time.sleep(_POLL_SECONDS)
