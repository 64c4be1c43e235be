"""HTTP/1.1 by hand: clients as no library would write them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

Text = str | bytes
Fields = Mapping[str, Text] | Iterable[tuple[str, Text]]


@dataclass(frozen=True)
class Reply:
    """An answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The errors of OCI's envelope."""
        errors: list[dict[str, Any]] = json.loads(self.body)["errors"]
        return errors

    @property
    def message(self) -> str:
        return "; ".join(error["message"] for error in self.errors)


def encode(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def request(method: Text, target: Text, fields: Fields = (), body: bytes = b"", *, version: str = "1.1") -> bytes:
    """The bytes of a request, nothing checked; Content-Length is added for a body unless the fields speak of it."""
    pairs = [(name, encode(value)) for name, value in (fields.items() if isinstance(fields, Mapping) else fields)]
    names = {name.lower() for name, _ in pairs}
    if "host" not in names:
        pairs.insert(0, ("Host", b"registry.test"))
    if body and not names & {"content-length", "transfer-encoding"}:
        pairs.append(("Content-Length", str(len(body)).encode()))
    head = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in pairs)
    return encode(method) + b" " + encode(target) + b" HTTP/" + version.encode() + b"\r\n" + head + b"\r\n" + body


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A body for Transfer-Encoding: chunked."""
    return b"".join(b"%x\r\n" % len(chunk) + chunk + b"\r\n" for chunk in chunks) + end


class Wire:
    """One connection to a server on the loopback address.

    ``timeout`` is in seconds, and for a machine that is very busy: whoever tests that the server ends a connection,
    gives it longer limits than this, so that it is not they that end it.
    """

    def __init__(self, port: int, *, timeout: float = 100.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def stop_sending(self) -> None:
        """End our half; the server may still answer."""
        self.socket.shutdown(socket.SHUT_WR)

    def reply(self, *, head: bool = False) -> Reply:
        """The next answer; ``head`` when it is one to HEAD. Raises EOFError when the server hangs up instead."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        status = int(lines[0].split()[1])
        has_body = not head and status not in (204, 304) and status >= 200
        return Reply(status, headers, self._exactly(int(headers.get("content-length", 0))) if has_body else b"")

    def rest(self) -> bytes:
        """All that still comes until the server hangs up. Raises TimeoutError when it does not."""
        data, self._unread = self._unread, b""
        while piece := self._receive():
            data += piece
        return data

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._unread:
            self._more()
        found, _, self._unread = self._unread.partition(mark)
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._more()
        found, self._unread = self._unread[:count], self._unread[count:]
        return found

    def _more(self) -> None:
        piece = self._receive()
        if not piece:
            raise EOFError(f"the server hung up after {self._unread[:200]!r}")
        self._unread += piece

    def _receive(self) -> bytes:
        try:
            return self.socket.recv(1 << 20)
        except ConnectionResetError:
            return b""


def ask(port: int, method: Text, target: Text, fields: Fields = (), body: bytes = b"") -> Reply:
    """Send one request on a connection of its own and return the answer."""
    data = request(method, target, fields, body)  # made before the server begins to wait for it
    with Wire(port) as wire:
        wire.send(data)
        return wire.reply(head=method == "HEAD")


def answers(port: int) -> bool:
    """Whether a registry serves there, by now."""
    try:
        return ask(port, "GET", "/v2/").status == 200
    except (OSError, EOFError):
        return False


def assert_refused(reply: Reply, status: int, code: str, *words: str) -> None:
    """The whole contract of a refusal: status, code, a message with ``words`` in it, something in ``detail``."""
    assert reply.status == status, reply
    assert reply.headers["content-type"] == "application/json"
    assert {error["code"] for error in reply.errors} == {code}
    for error in reply.errors:
        assert error["message"]
        assert isinstance(error["detail"], dict)
        assert error["detail"]["error"]
    missing = [word for word in words if word not in reply.message]
    assert missing == [], reply.message
