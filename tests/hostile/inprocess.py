"""A registry within this process, called as a server would call it, without sockets and without limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from entrepot.assembly import create_app
from entrepot.backends import prepare
from entrepot.config import load
from entrepot.server.app import RegistryApp

from .raw import Reply, Text, encode

Fields = Iterable[tuple[str, Text]]


class InProcess:
    """Speaks ASGI to an application."""

    def __init__(self, app: RegistryApp) -> None:
        self._app = app

    async def ask(
        self, method: str, target: Text, fields: Fields = (), *pieces: bytes, hangs_up: bool = False
    ) -> Reply:
        """Send a request whose body comes in ``pieces``, or breaks off after them; return the answer."""
        path, _, query = encode(target).partition(b"?")
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path.decode("latin-1"),
            "raw_path": path,
            "query_string": query,
            "headers": [(name.lower().encode(), encode(value)) for name, value in fields],
            "client": ("127.0.0.1", "1"),
        }
        exchange = _Exchange(pieces, hangs_up=hangs_up)
        await self._app(scope, exchange.receive, exchange.send)
        return exchange.reply()


class _Exchange:
    def __init__(self, pieces: tuple[bytes, ...], *, hangs_up: bool) -> None:
        self._pieces = list(pieces)
        self._hangs_up = hangs_up
        self._is_read = False
        self._sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        if self._pieces:
            more = len(self._pieces) > 1 or self._hangs_up
            self._is_read = not more
            return {"type": "http.request", "body": self._pieces.pop(0), "more_body": more}
        if self._hangs_up:
            return {"type": "http.disconnect"}
        if self._is_read:
            await asyncio.Event().wait()  # the peer stays until it has its answer
        self._is_read = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Any) -> None:
        self._sent.append(message)

    def reply(self) -> Reply:
        start, *rest = self._sent
        assert [message.get("more_body", False) for message in rest] == [True] * (len(rest) - 1) + [False]
        headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Reply(start["status"], headers, b"".join(bytes(message["body"]) for message in rest))


@asynccontextmanager
async def registry(root: Path, **values: Any) -> AsyncIterator[InProcess]:
    """A registry over ``root``; ``values`` are settings by dotted key."""
    settings = load(overrides={"root": str(root), "log.access": False, "log.level": "error", **values})
    prepare(settings)
    app = create_app(settings)
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    living = asyncio.create_task(app({"type": "lifespan"}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert (await from_app.get())["type"] == "lifespan.startup.complete"
    try:
        yield InProcess(app)
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        await living


class Server:
    """A registry for tests without an event loop; notes which outcomes came about, by method and kind of address."""

    def __init__(self, root: Path) -> None:
        self.outcomes: set[tuple[str, str, int]] = set()
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        self._app: InProcess = self._runner.run(self._open.enter_async_context(registry(root)))

    def ask(self, method: str, target: str, body: bytes = b"", fields: Fields = (), *, hangs_up: bool = False) -> Reply:
        pieces = (body[: len(body) // 2], body[len(body) // 2 :]) if len(body) > 1 else (body,)
        reply = self._runner.run(self._app.ask(method, target, fields, *filter(None, pieces), hangs_up=hangs_up))
        segment = target.partition("?")[0].split("/")[-2]
        kind = "mount" if "mount=" in target else "upload" if segment == "uploads" else segment
        self.outcomes.add((method, kind, reply.status))
        return reply

    def close(self) -> None:
        self._runner.run(self._open.aclose())
        self._runner.close()
