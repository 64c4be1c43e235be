"""The HTTP client's policy: which address, which login, what is tried again, where redirects may lead.

A ``Call`` is what a caller wants of a registry; the ``Transport`` turns it into as many requests as that takes, and
gives back the answer that counts. Errors are the registry's own, read from its answer, or ConnectionFailed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from entrepot.auth.challenge import parse_challenges
from entrepot.auth.flow import Authorizer, TokenRequest, TokenResponse
from entrepot.auth.scope import Scope
from entrepot.auth.secret import Credentials
from entrepot.errors import (
    AccessDenied,
    ManifestTooLarge,
    NotFound,
    RegistryError,
    RegistryErrors,
    Unavailable,
)
from entrepot.transport.base import Body, ConnectionFailed, Exchange, Request, Response
from entrepot.transport.redirects import MOST_REDIRECTS, REDIRECTS, redirected, same_place
from entrepot.transport.retry import RETRIED_STATUSES, RetryPolicy, Tries, may_repeat
from entrepot.wire.errors import decode
from entrepot.wire.responses import parse_retry_after

MAX_ERROR_BODY = 64 * 1024
MAX_TOKEN_BODY = 1024 * 1024
_LOGINS = 3  # a token that ran out, then one whose scope was too small, then we give up

Result = TypeVar("Result")
FindCredentials = Callable[[str, str], Credentials | None]  # registry, repository


class Endpoint(Protocol):
    """Where a registry, or a mirror of it, is reached."""

    @property
    def base_url(self) -> str:
        """Scheme, host and port, and a path where the API is below one."""

    @property
    def domain(self) -> str:
        """The registry whose login counts here."""

    @property
    def query(self) -> Mapping[str, str]: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def repository(self, name: str) -> str:
        """What the repository is called there."""


class Endpoints(Protocol):
    """Knows where registries are."""

    def for_pull(self, domain: str, name: str, *, by_digest: bool = False) -> Sequence[Endpoint]:
        """Where to read from, in this order; the registry itself comes last."""

    def for_push(self, domain: str, name: str = "") -> Endpoint:
        """The registry itself."""

    def other(self, endpoint: Any, error: RegistryError) -> Endpoint | None:
        """Where to try instead, when ``error`` says that this was the wrong one of HTTP and HTTPS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is wanted of a registry.

    ``path`` makes the path of a repository's name, which mirrors may spell differently; ``url`` is there instead when
    the registry itself has told where to go on.
    """

    method: str
    domain: str
    name: str = ""
    path: Callable[[str], str] = lambda _: "/v2/"
    url: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    scopes: frozenset[Scope] = frozenset()
    accept: frozenset[int] = frozenset({200})
    absent: type[NotFound] = NotFound  # what 404 means where the answer does not say
    pull: bool = False  # mirrors may answer
    by_digest: bool = False  # what is wanted has one content for ever; some mirrors are for that alone
    retry: bool = True
    login: bool = True  # False: without, or with the login in ``headers``


class Answer:
    """The answer to a call; ``url`` is where the registry gave it, before any redirect to where it keeps its bytes."""

    def __init__(self, response: Response, url: str) -> None:
        self._response = response
        self.url = url

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    def pieces(self) -> AsyncIterator[bytes]:
        return self._response.pieces()

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises ManifestTooLarge when it has more than ``limit`` bytes."""
        length = self.headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            raise _too_large(limit)
        return await read_bounded(self._response, limit)


async def read_bounded(response: Response, limit: int) -> bytes:
    """The body, if it has at most ``limit`` bytes; raises ManifestTooLarge otherwise."""
    content = bytearray()
    async for piece in response.pieces():
        content += piece
        if len(content) > limit:
            raise _too_large(limit)
    return bytes(content)


class Transport:
    """Talks to any number of registries."""

    def __init__(
        self,
        exchange: Exchange,
        endpoints: Endpoints,
        find_credentials: FindCredentials,
        *,
        retry: RetryPolicy | None = None,
        clock: Callable[[], float] = time.time,
        agent: str = "entrepot",
    ) -> None:
        self.retry = retry or RetryPolicy()
        self._exchange = exchange
        self._endpoints = endpoints
        self._find_credentials = find_credentials
        self._clock = clock
        self._agent = agent
        self._authorizers: dict[tuple[str, str], Authorizer] = {}
        self._logging_in: dict[Authorizer, asyncio.Lock] = {}

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[Answer]:
        """The answer, its body still to be read. Raises what the registry says when it is none of ``accept``."""
        async with AsyncExitStack() as stack:
            yield await self._first_good(call, stack)

    async def read(self, call: Call, *, limit: int) -> tuple[Answer, bytes]:
        """The answer with its whole body, fetched again when it breaks off."""
        tries = self.retry.begin()
        while True:
            try:
                async with self.open(call) as answer:
                    return answer, await answer.read(limit)
            except ConnectionFailed as error:
                await tries.wait_after(error)

    async def close(self) -> None:
        await self._exchange.close()

    async def _first_good(self, call: Call, stack: AsyncExitStack) -> Answer:
        if call.url is not None or not call.pull:
            return await self._at(call, self._endpoints.for_push(call.domain, call.name), stack)
        *mirrors, last = self._endpoints.for_pull(call.domain, call.name, by_digest=call.by_digest)
        for mirror in mirrors:
            try:  # whatever is wrong with a mirror, the registry itself is still there
                return await self._at(replace(call, retry=False), mirror, stack)
            except (RegistryError, RegistryErrors):
                continue
        return await self._at(call, last, stack)

    async def _at(self, call: Call, endpoint: Endpoint, stack: AsyncExitStack) -> Answer:
        tries = self.retry.begin()
        while True:
            try:
                response, url = await self._logged_in(call, endpoint, stack)
            except ConnectionFailed as error:
                if (other := self._endpoints.other(endpoint, error)) is not None:
                    endpoint = other
                    continue
                if not call.retry or not may_repeat(call.method, error):
                    raise
                await tries.wait_after(error)
                continue
            if response.status in call.accept:
                return Answer(response, url)
            refusal = await _refusal(call, response)
            if isinstance(refusal, RegistryError) and (other := self._endpoints.other(endpoint, refusal)) is not None:
                endpoint = other
            elif response.status not in RETRIED_STATUSES or not call.retry:
                raise refusal
            else:
                await self._wait(tries, response, refusal)

    async def _wait(self, tries: Tries, response: Response, error: RegistryError | RegistryErrors) -> None:
        wish = parse_retry_after(response.headers.get("retry-after", ""), self._clock())
        await tries.wait_after(error if isinstance(error, RegistryError) else Unavailable(str(error)), wish=wish)

    async def _logged_in(self, call: Call, endpoint: Endpoint, stack: AsyncExitStack) -> tuple[Response, str]:
        request = self._request(call, endpoint)
        is_there = same_place(urlsplit(request.url), urlsplit(endpoint.base_url))  # uploads may be kept elsewhere
        if not call.login or not is_there:
            return await self._follow(request, stack), request.url
        authorizer = self._authorizer(endpoint, call)
        for _ in range(_LOGINS):
            header = authorizer.header(call.scopes)
            response = await self._follow(_with(request, header), stack)
            challenges = parse_challenges(response.headers.get("www-authenticate", ""))
            if response.status != 401 or not challenges:
                break
            async with self._logging_in.setdefault(authorizer, asyncio.Lock()):  # whoever waits gets the same token
                await asyncio.to_thread(getattr, authorizer, "credentials")  # a credential helper may take its time
                await self.drive(authorizer.challenged(challenges, call.scopes, sent=header))
        return response, request.url

    async def drive(self, flow: Generator[TokenRequest, TokenResponse, Result]) -> Result:
        """Do what a login flow wants, and return what it returns."""
        try:
            wanted = next(flow)
            while True:
                wanted = flow.send(await self.ask_for_token(wanted))
        except StopIteration as done:
            result: Result = done.value
            return result

    async def ask_for_token(self, wanted: TokenRequest) -> TokenResponse:
        """Send a request of the login flow; the answer may be any, but not a redirect to elsewhere."""
        headers = {"user-agent": self._agent, **wanted.headers}
        body = Body.of(urlencode(wanted.form).encode()) if wanted.form is not None else None
        request = Request(wanted.method, wanted.url, headers, body)
        tries = self.retry.begin()
        while True:
            try:
                async with self._exchange.send(request) as response:
                    content = await read_bounded(response, MAX_TOKEN_BODY)
            except ConnectionFailed as error:
                await tries.wait_after(error)
                continue
            if response.status not in RETRIED_STATUSES:
                return TokenResponse(response.status, content, response.headers.get("content-type", ""))
            await self._wait(tries, response, decode(response.status, content[:MAX_ERROR_BODY]))

    async def _follow(self, request: Request, stack: AsyncExitStack) -> Response:
        for _ in range(MOST_REDIRECTS):
            await stack.aclose()  # the answer before this one, if any, has been read as far as it is of use
            response = await stack.enter_async_context(self._exchange.send(request))
            location = response.headers.get("location")
            if response.status not in REDIRECTS or not location:
                return response
            request = redirected(request, location)
        host = urlsplit(request.url).netloc
        raise AccessDenied(f"{host} redirects in circles", registry=host)

    def _request(self, call: Call, endpoint: Endpoint) -> Request:
        url = call.url
        if url is None:
            name = endpoint.repository(call.name) if call.name else ""
            url = endpoint.base_url + quote(call.path(name), safe="/:@!$&'()*+,;=~")
        query = {**endpoint.query, **call.query}
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query)
        headers = {"user-agent": self._agent, **endpoint.headers, **call.headers}
        return Request(call.method, url, headers, call.body)

    def _authorizer(self, endpoint: Endpoint, call: Call) -> Authorizer:
        domain = endpoint.domain
        key = endpoint.base_url, call.name
        if key not in self._authorizers:
            self._authorizers[key] = Authorizer(
                lambda: self._find_credentials(domain, call.name),
                clock=self._clock,
                endpoint=endpoint.base_url,
            )
        return self._authorizers[key]


def _with(request: Request, authorization: str | None) -> Request:
    if authorization is None:
        return request
    return replace(request, headers={**request.headers, "authorization": authorization})


async def _refusal(call: Call, response: Response) -> RegistryError | RegistryErrors:
    content = b"" if call.method == "HEAD" else await _read_some(response)
    return decode(response.status, content, absent=call.absent)


async def _read_some(response: Response) -> bytes:
    """The beginning of an error's body; if it breaks off, what came of it."""
    content = bytearray()
    try:
        async for piece in response.pieces():
            content += piece
            if len(content) >= MAX_ERROR_BODY:
                break
    except ConnectionFailed:
        pass
    return bytes(content[:MAX_ERROR_BODY])


def _too_large(limit: int) -> ManifestTooLarge:
    return ManifestTooLarge(f"the registry's answer has more than {limit} bytes", limit=limit)
