"""A registry with logins, for tests: a proxy in front of one without, that demands Bearer tokens or Basic.

    with RegistryProcess(tmp_path / "registry") as registry, GuardedRegistry(registry.host) as guarded:
        run("docker", "login", "-u", "bob", "-p", "hunter2", guarded.host)

It also is the token service, at ``/token``. Bodies stream through it; a request that is refused is answered before its
body is read. Needs nothing but the standard library.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from entrepot.testing.token_guard import Rules, TokenCall, TokenGuard

_PIECE = 64 * 1024
_OF_ONE_HOP = {"connection", "transfer-encoding", "keep-alive", "authorization", "expect"}


class GuardedRegistry:
    """Listens on a free port of the loopback address; what ``rules`` allow goes on to ``upstream`` (HOST:PORT)."""

    def __init__(self, upstream: str, rules: Rules | None = None) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self._server.server_bind()
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.guard = TokenGuard(rules or Rules(), self.host)
        self.requests: list[tuple[str, str, int]] = []  # method, path and status of what came for the registry
        self._server.upstream, self._server.registry = upstream, self

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def token_calls(self) -> list[TokenCall]:
        """What the token service was asked."""
        return self.guard.token_calls

    def __enter__(self) -> Self:
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    upstream: str
    registry: GuardedRegistry

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up as they like, and some try TLS first; what fails here shows in their tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True
    server: Any

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""

    def _answer(self) -> None:
        registry: GuardedRegistry = self.server.registry
        authorization = self.headers.get("authorization", "")
        path, _, query = self.path.partition("?")
        try:
            if path == "/token":
                form = b"".join(self._pieces()).decode()
                self._send_json(*registry.guard.grant(self.command, query, form, authorization))
                return
            challenge = registry.guard.refusal(self.command, self.path, authorization)
            if challenge is None:
                self._pass_on(registry)
            else:
                registry.requests.append((self.command, self.path, 401))
                self._refuse(challenge)
        except ConnectionError:  # the client has gone, or the registry
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

    def _pass_on(self, registry: GuardedRegistry) -> None:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_ONE_HOP}
        has_body = self._is_chunked() or "content-length" in self.headers
        try:
            connection.request(self.command, self.path, self._pieces() if has_body else None, headers)
            response = connection.getresponse()
            registry.requests.append((self.command, self.path, response.status))
            self._send(response)
        finally:
            connection.close()

    def _send(self, response: http.client.HTTPResponse) -> None:
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _OF_ONE_HOP:
                self.send_header(name, value)
        is_chunked = response.length is None and self.command != "HEAD" and response.status not in (204, 304)
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while piece := response.read(_PIECE):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, challenge: str) -> None:
        detail = {"reason": "this registry wants a login"}
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required", "detail": detail}]}
        self._send_json(401, body, {"WWW-Authenticate": challenge})
        for _ in self._pieces():  # so that the client, which is still sending, gets to read the answer
            pass

    def _send_json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(value).encode()
        self.send_response_only(status)
        for name, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            **(headers or {}),
        }.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _is_chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    def _pieces(self) -> Iterator[bytes]:
        """The request's body."""
        if not self._is_chunked():
            yield from self._read(int(self.headers.get("content-length", "0")))
            return
        while size := int(self.rfile.readline(100).split(b";")[0] or b"0", 16):
            yield from self._read(size)
            self.rfile.readline(10)
        self.rfile.readline(10)

    def _read(self, size: int) -> Iterator[bytes]:
        while size > 0:
            piece = self.rfile.read(min(size, _PIECE))
            if not piece:
                raise ConnectionError("the client hung up")
            size -= len(piece)
            yield piece
