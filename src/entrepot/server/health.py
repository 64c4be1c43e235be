"""Whether the registry lives and is ready, and what it has counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from entrepot.errors import RegistryError, Unavailable
from entrepot.metadata.base import Metadata
from entrepot.metadata.statistics import Statistics
from entrepot.server.call import content_length, json_response
from entrepot.server.http import Header, Request, Response
from entrepot.server.metrics import Metrics
from entrepot.store.base import BlobStore
from entrepot.version import __version__

_TEXT: Header = (b"content-type", b"text/plain; charset=utf-8")
_STATISTICS_SECONDS = 30.0  # counting costs time on a large registry, so scrapes share a count for this long
_READY_SECONDS = 5.0

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class Health:
    """The handlers of the addresses outside ``/v2/`` that are for machines."""

    store: BlobStore
    metadata: Metadata
    metrics: Metrics
    count: Callable[[], Awaitable[Statistics]]
    is_leaving: Callable[[], bool]
    _counted: Statistics | None = field(default=None, init=False)
    _counted_at: float = field(default=0.0, init=False)

    def routes(self) -> dict[str, Handler]:
        return {"/healthz": self.alive, "/readyz": self.ready, "/metrics": self.scrape, "/": self.welcome}

    async def alive(self, _: Request) -> Response:
        return _text("ok\n")

    async def ready(self, _: Request) -> Response:
        if self.is_leaving():
            return json_response({"status": "stopping"}, status=503)
        found = await asyncio.gather(_problem(self.metadata.check), _problem(self.store.check))
        problems = {name: problem for name, problem in zip(("database", "store"), found, strict=True) if problem}
        if not problems:
            return json_response({"status": "ready"})
        return json_response({"status": "not ready", "problems": problems}, status=503)

    async def scrape(self, _: Request) -> Response:
        if self._counted is None or time.monotonic() - self._counted_at > _STATISTICS_SECONDS:
            self._counted = await self.count()
            self._counted_at = time.monotonic()
        content_type, body = await asyncio.to_thread(self.metrics.render, self._counted)
        return Response(200, [(b"content-type", content_type.encode()), content_length(len(body))], body)

    async def welcome(self, request: Request) -> Response:
        host = request.header(b"host") or "localhost:5000"
        return _text(
            f"entrepot {__version__}, a container registry.\n\n"
            f"  docker tag nginx:1.23.3 {host}/library/nginx:1.23.3\n"
            f"  docker push {host}/library/nginx:1.23.3\n"
        )


async def _problem(check: Callable[[], Awaitable[None]]) -> str | None:
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer within {_READY_SECONDS:.0f} seconds"
    except (Unavailable, RegistryError) as error:
        return error.message
    return None


def _text(text: str) -> Response:
    body = text.encode()
    return Response(200, [_TEXT, content_length(len(body))], body)
