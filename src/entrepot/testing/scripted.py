"""An Exchange without a server: it plays the answers of a script, and remembers what was asked.

::

    exchange = ScriptedExchange(
        ("GET /v2/app/manifests/v1", Reply(503, headers={"retry-after": "7"})),
        ("GET /v2/app/manifests/v1", Broken("connection reset by peer")),
        ("GET /v2/app/manifests/v1", Reply(200, b"{}")),
    )

Where the order does not matter, one function answers everything: ``ScriptedExchange(answer=function)``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from entrepot.transport.base import ConnectionFailed, Request


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as a server sees it; ``body`` as far as it was read."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.url).query)

    @property
    def line(self) -> str:
        """Method and path, as a script names them."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. ``body`` may be an iterable of pieces, endless ones too; ``breaks_after`` so many bytes of it.

    ``reads`` is how much of the request's body is taken in before; None for all.
    """

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks_after: int | None = None
    reads: int | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """No answer: the connection breaks after ``reads`` bytes of the request's body."""

    reason: str = "connection reset by peer"
    sent_nothing: bool = False
    reads: int | None = None


Outcome = Reply | Broken | Exception
Answering = Callable[[Seen], Outcome]


class ScriptedExchange:
    """``steps`` are pairs of a request line (method and path, or whole URL) and what becomes of it.

    Raises AssertionError for a request that is not the next of the script.
    """

    def __init__(self, *steps: tuple[str, Outcome], answer: Answering | None = None) -> None:
        self._steps = list(steps)
        self._answer = answer or self._play
        self.requests: list[Seen] = []
        self.open_responses = 0
        self.most_open_responses = 0
        self.is_closed = False

    @property
    def lines(self) -> list[str]:
        """Method and path of every request so far."""
        return [seen.line for seen in self.requests]

    def require_done(self) -> None:
        """Fails unless the whole script was played and every answer was closed."""
        assert not self._steps, f"never asked: {[line for line, _ in self._steps]}"
        assert self.open_responses == 0, f"{self.open_responses} answers were not closed"

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[ScriptedResponse]:
        outcome, reads = self._outcome(request)
        body = await _read(request, reads)
        self.requests.append(Seen(request.method, request.url, dict(request.headers), body))
        if outcome is None:
            outcome = self._answer(self.requests[-1])
        if isinstance(outcome, Broken):
            raise ConnectionFailed(f"{request.method}: {outcome.reason}", sent_nothing=outcome.sent_nothing)
        if isinstance(outcome, Exception):
            raise outcome
        self.open_responses += 1
        self.most_open_responses = max(self.most_open_responses, self.open_responses)
        try:
            yield ScriptedResponse(outcome)
        finally:
            self.open_responses -= 1

    async def close(self) -> None:
        self.is_closed = True

    def _outcome(self, request: Request) -> tuple[Outcome | None, int | None]:
        """How much of the body is read is known before the body is."""
        if self._answer != self._play:
            return None, None
        outcome = self._play(Seen(request.method, request.url, request.headers, None))
        return outcome, None if isinstance(outcome, Exception) else outcome.reads

    def _play(self, seen: Seen) -> Outcome:
        asked = (seen.line, f"{seen.method} {seen.url}")
        assert self._steps, f"nothing more was expected, got {asked[1]}"
        line, outcome = self._steps.pop(0)
        assert line in asked, f"expected {line}, got {asked[1]}"
        return outcome


class ScriptedResponse:
    """The answer as the client sees it."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.status = reply.status
        self.headers = dict(reply.headers)
        if isinstance(reply.body, bytes):
            self.headers.setdefault("content-length", str(len(reply.body)))

    async def pieces(self) -> AsyncIterator[bytes]:
        reply = self._reply
        left = reply.breaks_after
        for piece in [reply.body] if isinstance(reply.body, bytes) else reply.body:
            kept = piece if left is None else piece[:left]
            if kept:
                yield kept
            if left is not None:
                left -= len(kept)
                if left == 0:
                    raise ConnectionFailed("unexpected EOF: the body ended before its announced length")


async def _read(request: Request, most: int | None) -> bytes | None:
    if request.body is None:
        return None
    content = bytearray()
    async for piece in request.body.open():
        content += piece
        if most is not None and len(content) >= most:
            return bytes(content[:most])
    if request.body.size not in (None, len(content)):
        raise AssertionError(f"a body of {request.body.size} bytes was announced, {len(content)} came")
    return bytes(content)
