"""The HTTP client's policy: which address, which login, what is tried again, where redirects may lead.

A ``Call`` is what a caller wants of a registry; the ``Transport`` turns it into as many requests as that takes, and
gives back the answer that counts. Errors are the registry's own, read from its answer, or ConnectionFailed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote, urlencode, urlsplit

from entrepot.auth.challenge import Challenge, parse_challenges
from entrepot.auth.flow import Authorizer, TokenRequest, TokenResponse
from entrepot.auth.secret import Credentials
from entrepot.errors import AccessDenied, RegistryError, RegistryErrors, Unavailable
from entrepot.transport.base import Body, ConnectionFailed, Exchange, Request, Response
from entrepot.transport.call import (
    MAX_ERROR_BODY,
    Answer,
    Call,
    Endpoint,
    Endpoints,
    read_bounded,
    read_refusal,
    retry_after,
)
from entrepot.transport.redirects import MOST_REDIRECTS, REDIRECTS, public, redirected, resolved, same_place
from entrepot.transport.retry import RETRIED_STATUSES, RetryPolicy, Tries, may_repeat
from entrepot.wire.errors import decode

__all__ = ["Answer", "Call", "FindCredentials", "Transport"]

MAX_TOKEN_BODY = 1024 * 1024
_LOGINS = 3  # a token that ran out, then one whose scope was too small, then we give up

Result = TypeVar("Result")
FindCredentials = Callable[[str, str], Credentials | None]  # registry, repository


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
        self._reached: set[str] = set()  # base addresses that have answered
        self._authorizers: dict[tuple[str, str], Authorizer] = {}
        self._logging_in: dict[Authorizer, asyncio.Lock] = {}

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[Answer]:
        """The answer, its body still to be read. Raises what the registry says when it is none of ``accept``."""
        async with AsyncExitStack() as stack:
            yield await self._first_good(call, stack)

    async def read(self, call: Call, *, limit: int) -> tuple[Answer, bytes]:
        """The answer with its whole body, fetched again when it breaks off; then not from a mirror."""
        tries = self.retry.begin()
        while True:
            answer: Answer | None = None
            try:
                async with self.open(call) as answer:
                    return answer, await answer.read(limit)
            except ConnectionFailed as error:
                if answer is None or not call.retry:  # open has tried as often as is good
                    raise
                call = replace(call, pull=call.pull and not answer.is_mirror)
                await tries.wait_after(error)

    async def close(self) -> None:
        await self._exchange.close()

    async def _first_good(self, call: Call, stack: AsyncExitStack) -> Answer:
        if call.url is not None or not call.pull:
            return await self._at(call, self._endpoints.for_push(call.domain, call.name), stack)
        *mirrors, last = self._endpoints.for_pull(call.domain, call.name, by_digest=call.by_digest)
        for mirror in mirrors:
            try:  # whatever is wrong with a mirror, the registry itself is still there
                return await self._at(replace(call, retry=False), mirror, stack, is_mirror=True)
            except (RegistryError, RegistryErrors):
                continue
        return await self._at(call, last, stack)

    async def _at(self, call: Call, endpoint: Endpoint, stack: AsyncExitStack, *, is_mirror: bool = False) -> Answer:
        tries = self.retry.begin()
        may_be_done = False
        while True:
            try:
                response, url = await self._logged_in(call, endpoint, stack)
            except ConnectionFailed as error:
                if (other := self._endpoints.other(endpoint, error)) is not None:
                    endpoint = other
                    continue
                if not self._is_worth_another(call, endpoint, error):
                    raise
                may_be_done = may_be_done or not error.sent_nothing
                await stack.aclose()
                await tries.wait_after(error)
                continue
            self._reached.add(endpoint.base_url)
            if response.status in (call.accept | call.accept_when_repeated if may_be_done else call.accept):
                return Answer(response, url, is_mirror=is_mirror)
            refusal = await read_refusal(call, response, self._clock())
            await stack.aclose()  # nothing more of this answer is of use, and its connection is, to others
            if call.method == "HEAD" and response.status == 400:
                refusal = await self._in_full(call, endpoint, stack) or refusal
            if isinstance(refusal, RegistryError) and (other := self._endpoints.other(endpoint, refusal)) is not None:
                endpoint = other
            elif response.status not in RETRIED_STATUSES or not call.retry or not _may_send_again(call):
                raise refusal
            else:
                may_be_done = True
                await self._wait(tries, response, refusal)

    async def _in_full(
        self, call: Call, endpoint: Endpoint, stack: AsyncExitStack
    ) -> RegistryError | RegistryErrors | None:
        """What is wrong with a request, which HEAD cannot say: e.g. that HTTP came where TLS is spoken."""
        call = replace(call, method="GET")
        refusal = None
        with suppress(ConnectionFailed):
            response, _ = await self._logged_in(call, endpoint, stack)
            refusal = await read_refusal(call, response, self._clock()) if response.status == 400 else None
        await stack.aclose()
        return refusal

    def _is_worth_another(self, call: Call, endpoint: Endpoint, error: ConnectionFailed) -> bool:
        if error.sent_nothing and endpoint.base_url not in self._reached:
            return False  # a wrong name or port, more likely than a server that is about to start
        return call.retry and may_repeat(call.method, error) and _may_send_again(call)

    async def _wait(self, tries: Tries, response: Response, error: RegistryError | RegistryErrors) -> None:
        last = error if isinstance(error, RegistryError) else Unavailable(str(error))
        await tries.wait_after(last, wish=retry_after(response, self._clock()))

    async def _logged_in(self, call: Call, endpoint: Endpoint, stack: AsyncExitStack) -> tuple[Response, str]:
        request = self._request(call, endpoint)
        if not call.login or not _is_at(request, endpoint):  # uploads may be kept elsewhere
            return (await self._follow(request, stack))[0], request.url
        authorizer = self._authorizer(endpoint, call)
        for _ in range(_LOGINS):
            header = authorizer.header(call.scopes)
            response, last = await self._follow(_with(request, header), stack)
            challenges = _challenges(response) if _is_at(last, endpoint) else []
            if not challenges:
                break
            await stack.aclose()
            async with self._logging_in.setdefault(authorizer, asyncio.Lock()):  # whoever waits gets the same token
                await asyncio.to_thread(getattr, authorizer, "credentials")  # a credential helper may take its time
                await self.drive(authorizer.challenged(challenges, call.scopes, sent=header))
            _require_repeatable(request)
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

    async def _follow(self, request: Request, stack: AsyncExitStack) -> tuple[Response, Request]:
        """The first answer that is no redirect, and the request that it answers."""
        for _ in range(MOST_REDIRECTS):
            await stack.aclose()  # the answer before this one, if any, has been read as far as it is of use
            response = await stack.enter_async_context(self._exchange.send(request))
            location = response.headers.get("location")
            if response.status not in REDIRECTS or not location:
                return response, request
            request = redirected(request, response.status, location)
            _require_repeatable(request)
        host = urlsplit(request.url).netloc
        raise AccessDenied(f"{host} redirects in circles", registry=host)

    def _request(self, call: Call, endpoint: Endpoint) -> Request:
        url = call.url
        if url is None:
            name = endpoint.repository(call.name) if call.name else ""
            url = endpoint.base_url + quote(call.path(name), safe="/:@!$&'()*+,;=~")
        elif url.startswith("/"):
            url = _of_its_own(endpoint, url)
        query = {**endpoint.query, **call.query}
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query, doseq=True)
        request = Request(call.method, url, {"user-agent": self._agent, **call.headers}, call.body)
        if _is_at(request, endpoint):
            return replace(request, headers={**endpoint.headers, **request.headers})
        return replace(request, headers=public(request.headers))

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


def _is_at(request: Request, endpoint: Endpoint) -> bool:
    return same_place(urlsplit(request.url), urlsplit(endpoint.base_url))


def _of_its_own(endpoint: Endpoint, path: str) -> str:
    url = resolved(endpoint.base_url, path)
    if not same_place(urlsplit(url), urlsplit(endpoint.base_url)):
        raise AccessDenied(f"{path[:80]!r} is no address of {endpoint.domain}", registry=endpoint.domain)
    return url


def _challenges(response: Response) -> list[Challenge]:
    if response.status != 401:
        return []
    return parse_challenges(response.headers.get("www-authenticate", ""))


def _may_send_again(call: Call) -> bool:
    return call.body is None or call.body.is_repeatable


def _require_repeatable(request: Request) -> None:
    """Raises Unavailable for a body that can be had once only; what the server has taken of it, nobody knows."""
    if request.body is not None and not request.body.is_repeatable:
        host = urlsplit(request.url).netloc
        raise Unavailable(f"{host} wants the request sent again, and its body can be sent only once", registry=host)
