"""What the tests of the client's policy share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from entrepot.auth.scope import Scope
from entrepot.auth.secret import Credentials, Secret
from entrepot.progress import Event
from entrepot.testing.endpoints import FixedEndpoints, Place
from entrepot.testing.scripted import Reply, ScriptedExchange
from entrepot.transport.client import Call, Transport
from entrepot.transport.retry import RetryPolicy

BASE = "https://registry.test"
DOMAIN = "registry.test"
REALM = "https://login.test/token"
PULL = frozenset({Scope.pull("app")})
USER = Credentials("me", Secret("pass-word"))
NOW = 1_700_000_000.0


class Client:
    """A Transport over a script, with a clock that stands still and waits that are only written down."""

    def __init__(
        self,
        exchange: ScriptedExchange,
        *,
        base: str = BASE,
        mirrors: tuple[Place, ...] = (),
        credentials: Credentials | None = None,
        headers: Mapping[str, str] | None = None,
        attempts: int = 4,
    ) -> None:
        self.waits: list[float] = []
        self.events: list[Event] = []
        self.now = NOW
        policy = RetryPolicy(attempts=attempts, sleep=self._sleep, listener=self.events.append)
        self.transport = Transport(
            exchange,
            FixedEndpoints(base, *mirrors, headers=headers),
            lambda *_: credentials,
            retry=policy,
            clock=lambda: self.now,
        )

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def read(self, call: Call, limit: int = 1000) -> bytes:
        """The body of the answer."""
        return (await self.transport.read(call, limit=limit))[1]

    async def do(self, call: Call) -> int:
        """The status of the answer."""
        async with self.transport.open(call) as answer:
            return answer.status


def manifest(method: str = "GET", **more: Any) -> Call:
    """A call for the manifest ``v1`` of ``app``."""
    path: Callable[[str], str] = lambda name: f"/v2/{name}/manifests/v1"  # noqa: E731
    return Call(**{"method": method, "domain": DOMAIN, "name": "app", "path": path, "scopes": PULL, **more})


def challenge(realm: str = REALM, scheme: str = "Bearer", **more: str) -> Reply:
    """A 401 that wants a token."""
    parameters = {"realm": realm, "service": "registry", "scope": "repository:app:pull", **more}
    value = f"{scheme} " + ",".join(f'{name}="{text}"' for name, text in parameters.items())
    return Reply(401, b"{}", headers={"www-authenticate": value})


def token(text: str, seconds: int = 300) -> Reply:
    """The answer of a token service."""
    return Reply(200, json.dumps({"token": text, "expires_in": seconds}).encode())


def refusal(status: int, code: str, message: str = "no", **headers: str) -> Reply:
    """An answer with OCI's envelope."""
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": None}]}).encode()
    return Reply(status, body, headers=headers)
