"""The registry as an ASGI application: which handler answers what, and how errors leave.

No settings are read and nothing is wired here; ``assembly`` does that.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

import structlog

from entrepot.errors import (
    ClientGone,
    MethodNotAllowed,
    PathTooLong,
    RangeInvalid,
    ReadOnly,
    RegistryError,
    RegistryErrors,
    RequestTimeout,
    RouteUnknown,
    TooManyUploads,
    Unavailable,
    UploadRangeInvalid,
)
from entrepot.repositories.base import Registry
from entrepot.server import blobs, listings, manifests, uploads
from entrepot.server.call import API_VERSION, JSON, Call, Options, content_length, json_response
from entrepot.server.connections import Connections
from entrepot.server.delivery import Delivery
from entrepot.server.http import Header, Receive, Request, Response, Scope, Send
from entrepot.server.logs import AccessLog
from entrepot.server.metrics import Metrics
from entrepot.wire import errors, routes
from entrepot.wire.headers import upload_range
from entrepot.wire.routes import Match, Route

log = structlog.get_logger()

Handler = Callable[[Call], Awaitable[Response]]
PlainHandler = Callable[[Request], Awaitable[Response]]


async def ping(_: Call) -> Response:
    return json_response({})


HANDLERS: Mapping[Route, Mapping[str, Handler]] = {
    Route.BASE: {"GET": ping, "HEAD": ping},
    Route.CATALOG: {"GET": listings.list_repositories, "HEAD": listings.list_repositories},
    Route.TAGS: {"GET": listings.list_tags, "HEAD": listings.list_tags},
    Route.REFERRERS: {"GET": listings.list_referrers, "HEAD": listings.list_referrers},
    Route.MANIFEST: {
        "GET": manifests.get_manifest,
        "HEAD": manifests.head_manifest,
        "PUT": manifests.put_manifest,
        "DELETE": manifests.delete_manifest,
    },
    Route.BLOB: {"GET": blobs.get_blob, "HEAD": blobs.get_blob, "DELETE": blobs.delete_blob},
    Route.UPLOADS: {"POST": uploads.begin_upload},
    Route.UPLOAD: {
        "GET": uploads.get_upload,
        "HEAD": uploads.get_upload,
        "PATCH": uploads.append_upload,
        "PUT": uploads.finish_upload,
        "DELETE": uploads.cancel_upload,
    },
    Route.SEARCH: {"GET": listings.search, "HEAD": listings.search},
    Route.V1_PING: {"GET": ping, "HEAD": ping},
}
_READS = frozenset({"GET", "HEAD"})
_OF_CONTENT = frozenset({Route.MANIFEST, Route.BLOB})
_MOST_PATH_CHARACTERS = 4096  # percent-encoded, the longest legal name and digest together have less than half
_MOST_SHOWN = 80


def _require_short(path: str) -> None:
    if len(path) > _MOST_PATH_CHARACTERS:
        raise PathTooLong(
            f"expected a path of at most {_MOST_PATH_CHARACTERS} characters, got {len(path)}",
            limit=_MOST_PATH_CHARACTERS,
            actual=len(path),
        )


def _require_method(request: Request, allowed: Collection[str]) -> None:
    if request.method not in allowed:
        method = request.method[:_MOST_SHOWN]
        raise MethodNotAllowed(
            f"expected one of {', '.join(allowed)} here, got {method}", allow=tuple(allowed), method=method
        )


class RegistryApp:
    """The ASGI application. ``lifespan`` is entered when a worker starts and left when it stops. While ``is_leaving()``
    every answer asks its client to come again on another connection, which may find another server."""

    def __init__(
        self,
        registry: Registry,
        options: Options,
        *,
        metrics: Metrics,
        access_log: AccessLog | None = None,
        pages: Mapping[str, PlainHandler] | None = None,
        lifespan: AbstractAsyncContextManager[None] | None = None,
        connections: Connections | None = None,
        is_leaving: Callable[[], bool] | None = None,
    ) -> None:
        self._registry = registry
        self._options = options
        self._metrics = metrics
        self._access_log = access_log
        self._pages = pages or {}
        self._lifespan = lifespan
        self._connections = connections
        self._is_leaving = is_leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._track(Request(scope, receive, idle_seconds=self._options.idle_seconds), send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _track(self, request: Request, send: Send) -> None:
        peer = request.scope.get("client")
        if self._connections is None or peer is None:
            await self._serve(request, send)
            return
        self._connections.begin(peer)
        try:
            await self._serve(request, send)
        finally:
            self._connections.end(peer)

    async def _serve(self, request: Request, send: Send) -> None:
        started = time.perf_counter()
        match = routes.match(request.path)
        delivery = self._delivery(request, send)
        response = await self._answer(request, match)
        try:
            response = await self._deliver(delivery, response, request, match)
        finally:
            seconds = time.perf_counter() - started
            route = match.route.value if match else "other"
            self._metrics.observe(route, request.method, response.status, seconds, request.bytes_in, delivery.sent)
            if self._access_log is not None:
                self._access_log(request, response.status, seconds, delivery.sent)
        if request.method not in _READS:
            await request.drain()

    def _delivery(self, request: Request, send: Send) -> Delivery:
        progress = None
        if self._connections is not None:
            progress = partial(self._connections.acknowledged, request.scope.get("client"))
        return Delivery(
            request, send, idle_seconds=self._options.idle_seconds, progress=progress, is_leaving=self._is_leaving
        )

    async def _deliver(self, delivery: Delivery, response: Response, request: Request, match: Match | None) -> Response:
        try:
            await delivery.run(response)
        except (ClientGone, RequestTimeout) as error:
            log.info("answer broken off", path=request.path, reason=error.message)
        except Exception as error:
            if delivery.has_begun:  # the status is out: the connection ends before the promised length
                log.exception("answer broken off", path=request.path, sent=delivery.sent)
                return response
            response = self._refuse(request, match, [self._expected(request, error)])
            await delivery.run(response)
        return response

    async def _answer(self, request: Request, match: Match | None) -> Response:
        try:
            _require_short(request.path)
            if match is not None:
                return await self._call(request, match)
            if (page := self._pages.get(request.path)) is not None:
                _require_method(request, ("GET", "HEAD"))
                return await page(request)
            raise RouteUnknown(f"no such address: {request.path}", path=request.path)
        except RegistryErrors as several:
            return self._refuse(request, match, several.errors)
        except Exception as error:
            return self._refuse(request, match, [self._expected(request, error)])

    def _expected(self, request: Request, error: Exception) -> RegistryError:
        """``error``, if it is one of those that have a meaning for the peer."""
        if isinstance(error, RegistryError):
            return error
        log.error("unexpected error", method=request.method, path=request.path, exc_info=error)
        return RegistryError("unexpected")

    async def _call(self, request: Request, match: Match) -> Response:
        handlers = HANDLERS[match.route]
        _require_method(request, handlers)
        if request.method not in _READS:
            self._require_writable(request, match, handlers)
        return await handlers[request.method](Call(request, match, self._registry, self._options))

    def _require_writable(self, request: Request, match: Match, handlers: Mapping[str, Handler]) -> None:
        if self._options.read_only:
            allow = tuple(method for method in handlers if method in _READS)
            raise ReadOnly("this registry is in read-only mode", allow=allow, method=request.method)
        if request.method == "DELETE" and match.route in _OF_CONTENT and not self._options.delete_enabled:
            allow = tuple(method for method in handlers if method != "DELETE")
            raise MethodNotAllowed("deletion is switched off in this registry", allow=allow, method="DELETE")

    def _refuse(self, request: Request, match: Match | None, reasons: Sequence[RegistryError]) -> Response:
        status, body = errors.encode(reasons)
        if status >= errors.UNEXPECTED[0]:
            log.error("request failed", path=request.path, status=status, errors=[r.message for r in reasons])
        headers = [JSON, content_length(len(body)), API_VERSION, *self._hints(request, match, reasons[0])]
        return Response(status, headers, body)

    def _hints(self, request: Request, match: Match | None, reason: RegistryError) -> list[Header]:
        """What a program needs to mend its request, as headers."""
        if isinstance(reason, MethodNotAllowed):
            return [(b"allow", ", ".join(reason.allow).encode())]
        if isinstance(reason, RangeInvalid):
            return [(b"content-range", b"bytes */%d" % reason.size)]
        if isinstance(reason, TooManyUploads | Unavailable):
            return [(b"retry-after", b"%d" % reason.retry_after_seconds)]
        if isinstance(reason, UploadRangeInvalid) and match is not None:
            call = Call(request, match, self._registry, self._options)
            location = call.location(routes.upload_path(match.name, match.last))
            return [(b"location", location), (b"range", upload_range(reason.offset).encode())]
        return []

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        if self._lifespan is None:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        else:
            async with self._lifespan:
                await send({"type": "lifespan.startup.complete"})
                await receive()
        await send({"type": "lifespan.shutdown.complete"})
