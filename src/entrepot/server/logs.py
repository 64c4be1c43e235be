"""Logs on standard error, as text or as JSON lines."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from entrepot.server.http import Request

_MOST_CHARACTERS = 1000  # of one value in a log line
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str, form: str) -> None:
    """Set up structlog for this process; ``form`` is ``text`` or ``json``."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0, sort_keys=False)
    )
    structlog.configure(
        processors=[
            _escape,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _escape(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Nothing that a peer sends may end a line, move the cursor, or fill the disk."""
    for name, value in event.items():
        if isinstance(value, str) and (len(value) > _MOST_CHARACTERS or not value.isprintable()):
            event[name] = value[:_MOST_CHARACTERS].encode("unicode_escape").decode()
    return event


class AccessLog:
    """One line for each request."""

    def __init__(self, *, trust_forwarded: bool) -> None:
        self._log = structlog.get_logger("access")
        self._trust_forwarded = trust_forwarded

    def __call__(self, request: Request, status: int, seconds: float, bytes_out: int) -> None:
        self._log.info(
            "request",
            client=self._client(request),
            method=request.method,
            path=request.path,
            status=status,
            bytes_in=request.bytes_in,
            bytes_out=bytes_out,
            seconds=round(seconds, 6),
            agent=request.header(b"user-agent") or "",
        )

    def _client(self, request: Request) -> str:
        if self._trust_forwarded and (forwarded := request.header(b"x-forwarded-for")):
            return forwarded.partition(",")[0].strip()
        client = request.scope.get("client")
        return client[0] if client else ""
