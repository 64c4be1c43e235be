"""Fixtures: a registry in this process and one behind a socket, and in it a repository for each test.

All tests here share one event loop, and by it one application and one client each, because starting them
costs more than most tests. So the connections of the client stay open over every kind of answer.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from entrepot.assembly import create_app
from entrepot.backends import Durability, prepare
from entrepot.config import Settings, load
from entrepot.metadata import sqlite
from entrepot.server.app import RegistryApp
from entrepot.store.disk import Disk
from entrepot.testing.server import RegistryProcess
from tests.hostile.conftest import PATIENT

from .api import Api


class QuickDisk(Disk):
    """Leaves it to the operating system when bytes get to the disk; other tests are about that."""

    def sync(self, fd: int) -> None:
        pass

    def sync_folder(self, folder: Path) -> None:
        pass


Registry = Callable[..., AbstractAsyncContextManager[Api]]

_HERE = Path(__file__).parent
_NAMES = (f"conformance/test-{number}" for number in itertools.count())
_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used; made once, because making one is slow


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """A real server with two workers, shared by all tests."""
    folder = tmp_path_factory.mktemp("wire") / "registry"
    with RegistryProcess(folder, workers=2, flags=("--access-log", "off"), environment=PATIENT) as process:
        yield process


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def over_asgi(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    async with _in_process(_settings(tmp_path_factory.mktemp("asgi"))) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def over_wire(server: RegistryProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, verify=_TLS, timeout=100) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def over_http2(server: RegistryProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, verify=_TLS, timeout=100, http1=False, http2=True) as client:
        yield client


@pytest.fixture(params=["asgi", "wire", pytest.param("http2", marks=pytest.mark.slow)])
def repo(request: pytest.FixtureRequest) -> Api:
    """A repository that holds nothing yet, in a registry with default settings; the test runs in both ways."""
    return Api(request.getfixturevalue(f"over_{request.param}"), next(_NAMES))


@pytest.fixture
def wire(over_wire: httpx.AsyncClient) -> Api:
    """As ``repo``, but only behind a socket."""
    return Api(over_wire, next(_NAMES))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Makes a registry of its own in this process: ``async with registry({"server.read_only": True}) as repo``."""

    @asynccontextmanager
    async def make(values: dict[str, Any] | None = None) -> AsyncIterator[Api]:
        async with _in_process(_settings(tmp_path, **(values or {}))) as client:
            yield Api(client, next(_NAMES))

    return make


def _settings(root: Path, **values: Any) -> Settings:
    return load(overrides={"root": str(root), "log.access": False, "log.level": "error", **values})


@asynccontextmanager
async def _in_process(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    prepare(settings)
    app = create_app(settings, Durability(QuickDisk(), sqlite.commit))
    transport = httpx.ASGITransport(app=app)
    async with _alive(app), httpx.AsyncClient(transport=transport, base_url="http://registry.test") as client:
        yield client


@asynccontextmanager
async def _alive(app: RegistryApp) -> AsyncIterator[None]:
    """From startup to shutdown, as a server process does it (ASGI lifespan)."""
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    running = asyncio.create_task(app({"type": "lifespan"}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert (await from_app.get())["type"] == "lifespan.startup.complete"
    yield
    await to_app.put({"type": "lifespan.shutdown"})
    await running
