from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from entrepot.testing.asgi import AsgiExchange
from entrepot.transport.base import Body, ConnectionFailed, Request

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

URL = "http://registry.example:5000/v2/a%2Fb/?x=%20y"


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def piece(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def read(app: Any, request: Request) -> bytes:
    async with AsgiExchange(app).send(request) as response:
        return b"".join([part async for part in response.pieces()])


async def test_send_gives_application_the_request_as_a_server_would() -> None:
    seen: Message = {}

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        seen.update(scope)
        await send(start(204, (b"X-A", b"1"), (b"x-a", b"2")))
        await send(piece(b""))

    async with AsgiExchange(app).send(Request("POST", URL, {"accept": "a/b"})) as response:
        assert (response.status, response.headers) == (204, {"x-a": "1, 2"})

    assert (seen["method"], seen["raw_path"], seen["path"]) == ("POST", b"/v2/a%2Fb/", "/v2/a/b/")
    assert seen["query_string"] == b"x=%20y"
    assert dict(seen["headers"]) == {
        b"host": b"registry.example:5000",
        b"accept": b"a/b",
        b"content-length": b"0",
    }


async def test_send_streams_both_ways_at_once() -> None:
    async def echo(scope: Message, receive: Receive, send: Send) -> None:
        await send(start())
        while (message := await receive())["more_body"]:
            await send(piece(message["body"], more=True))
        await send(piece(b""))

    turns: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            turns.append(f"sent {number}")
            yield b"%d" % number

    async with AsgiExchange(echo).send(Request("PUT", URL, body=Body(3, pieces))) as response:
        async for part in response.pieces():
            turns.append(f"got {part.decode()}")

    assert turns.index("got 0") < turns.index("sent 2")
    assert turns[-1] == "got 2"


async def test_leave_in_the_middle_of_a_body_is_a_disconnect() -> None:
    left = asyncio.Event()

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(start())
        try:
            while True:
                await send(piece(b"x", more=True))
        except OSError:
            assert (await receive())["type"] == "http.disconnect"
            left.set()

    async with AsgiExchange(app).send(Request("GET", URL)) as response:
        async for _ in response.pieces():
            break

    assert left.is_set()


async def test_answer_before_the_body_is_read_is_given() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(start(401))
        await send(piece(b"no"))
        while (await receive())["type"] == "http.request":
            pass

    assert await read(app, Request("PUT", URL, body=Body.of(b"abc"))) == b"no"


async def test_body_whose_source_fails_raises_its_error_and_is_a_disconnect() -> None:
    seen: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        raise LookupError("the source is gone")

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            pass
        seen.append(message["type"])

    with pytest.raises(LookupError, match="the source is gone"):
        await read(app, Request("PUT", URL, body=Body(3, pieces)))

    assert seen == ["http.disconnect"]


@pytest.mark.parametrize("fails", [True, False], ids=["raises", "returns"])
@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([], id="no answer"),
        pytest.param([start()], id="no body"),
        pytest.param([start(), piece(b"a", more=True)], id="half a body"),
        pytest.param([start(200, (b"content-length", b"5")), piece(b"a")], id="short body"),
    ],
)
async def test_application_that_breaks_off_raises_connection_failed(messages: list[Message], fails: bool) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if fails:
            raise ValueError("broken")

    with pytest.raises(ConnectionFailed, match="EOF"):
        await read(app, Request("GET", URL))


async def test_head_needs_no_body_of_the_announced_length() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-length", b"5")))
        await send(piece(b""))

    assert await read(app, Request("HEAD", URL)) == b""


async def test_send_after_close_is_a_runtime_error() -> None:
    over = AsgiExchange(lambda *_: None)
    await over.close()

    with pytest.raises(RuntimeError, match="closed"):
        async with over.send(Request("GET", URL)):
            pass
