"""Many clients that push at once: one event loop, kept connections, content that was never seen before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from itertools import cycle

import aiohttp
import uvloop
from yarl import URL

from bench.client import UnexpectedAnswer
from bench.content import MANIFEST_TYPE, Blob, Manifest, unique_blob
from bench.load import Load, timed_load

Push = Callable[[aiohttp.ClientSession], Awaitable[None]]


def push_blobs(base: str, repository: str, *, size: int, clients: int, seconds: int) -> tuple[Load, list[Blob]]:
    """Unique blobs of ``size`` bytes, POST and PUT each; also answers what was pushed, for removal."""
    pushed: list[Blob] = []

    async def push(session: aiohttp.ClientSession) -> None:
        blob = unique_blob(size)
        await _push_blob(session, f"{base}/v2/{repository}/blobs/uploads/", blob)
        pushed.append(blob)

    return uvloop.run(_repeat(push, clients, seconds, size)), pushed


def push_manifests(
    bases: Sequence[str], repository: str, *, new: Callable[[], Manifest], clients: int, seconds: int
) -> Load:
    """Manifests out of ``new``, each under a tag of its own, to each of the servers in turn."""
    turns = cycle(bases)

    async def push(session: aiohttp.ClientSession) -> None:
        manifest = new()
        tag = manifest.digest.removeprefix("sha256:")[:32]
        url = f"{next(turns)}/v2/{repository}/manifests/{tag}"
        async with session.put(url, data=manifest.content, headers={"Content-Type": MANIFEST_TYPE}) as answer:
            await _expect(answer, HTTPStatus.CREATED)

    return uvloop.run(_repeat(push, clients, seconds, 0))


async def _repeat(push: Push, clients: int, seconds: int, size: int) -> Load:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=clients)) as session:
        begun = time.perf_counter()
        each = [_repeat_one(push, session, begun + seconds) for _ in range(clients)]
        times = [taken for client in await asyncio.gather(*each) for taken in client]
        return timed_load(times, seconds=time.perf_counter() - begun, size=size)


async def _repeat_one(push: Push, session: aiohttp.ClientSession, deadline: float) -> list[float]:
    times = []
    while time.perf_counter() < deadline:
        begun = time.perf_counter()
        await push(session)
        times.append(time.perf_counter() - begun)
    return times


async def _push_blob(session: aiohttp.ClientSession, uploads: str, blob: Blob) -> None:
    async with session.post(uploads) as answer:
        await _expect(answer, HTTPStatus.ACCEPTED)
        location = URL(uploads).join(URL(answer.headers["Location"], encoded=True))
    target = location.extend_query(digest=blob.digest)
    headers = {"Content-Type": "application/octet-stream"}
    async with session.put(target, data=blob.content(), headers=headers) as answer:
        await _expect(answer, HTTPStatus.CREATED)


async def _expect(answer: aiohttp.ClientResponse, status: int) -> None:
    text = await answer.read()
    if answer.status != status:
        raise UnexpectedAnswer(f"{answer.method} {answer.url}: expected {status}, got {answer.status} {text!r}")
