"""Who may do what at a registry with logins, for tests: gives out tokens and checks them. No I/O."""

from __future__ import annotations

import base64
import re
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from entrepot.auth.scope import Scope, merge, parse_scopes

_CONTENT = re.compile(r"/v2/(.+)/(?:blobs|manifests|tags|referrers)/")
_ACTIONS = {"GET": ("pull",), "HEAD": ("pull",), "DELETE": ("delete",)}
_CHANGES = ("pull", "push")


@dataclass(frozen=True)
class Rules:
    """How a guarded registry behaves.

    ``users``: passwords by name; they may do everything. ``anonymous``: what nobody in particular may do.
    ``denied``: repositories that nobody may write to; ``hidden``: that nobody may read either.
    A token is good for ``lifetime_seconds``, which is announced, and for ``uses`` requests, which is not.
    ``refresh_tokens``: a login that asks for one gets one.
    ``realm``: where clients are sent for tokens, if not to the registry itself.
    """

    scheme: Literal["bearer", "basic"] = "bearer"
    users: Mapping[str, str] = field(default_factory=lambda: {"bob": "hunter2"})
    anonymous: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    lifetime_seconds: float = 300
    uses: int | None = None
    refresh_tokens: bool = False
    realm: str | None = None


@dataclass(frozen=True)
class TokenCall:
    """A request to the token service, as it came, and how it was answered."""

    method: str
    fields: Mapping[str, Sequence[str]]
    user: str | None
    status: int


@dataclass
class _Token:
    scopes: frozenset[Scope]
    good_until: float
    uses: int | None


class TokenGuard:
    """Tokens given out by ``Rules``, and what they are good for. May be used by several threads."""

    def __init__(self, rules: Rules, host: str) -> None:
        self.rules = rules
        self.token_calls: list[TokenCall] = []
        self._host = host
        self._lock = threading.Lock()
        self._tokens: dict[str, _Token] = {}
        self._refresh_tokens: dict[str, str] = {}

    def refusal(self, method: str, path: str, authorization: str) -> str | None:
        """The challenge for a request that may not pass, or None."""
        if self.rules.scheme == "basic":
            return None if self._user(authorization) else f'Basic realm="{self._host}"'
        wanted = _wanted(method, path)
        with self._lock:
            error = self._error(authorization, wanted)
        if error is None:
            return None
        return self._challenge(wanted, error)

    def grant(self, method: str, query: str, form: str, authorization: str) -> tuple[int, dict[str, object]]:
        """The token service: status and JSON of its answer."""
        fields = parse_qs(form if method == "POST" else query, keep_blank_values=True)
        with self._lock:
            user, is_right = self._asker(method, fields, authorization)
            status = 405 if method == "POST" and not self.rules.refresh_tokens else 200 if is_right else 401
            self.token_calls.append(TokenCall(method, fields, user, status))
            if status != 200:
                return status, {"details": "incorrect username or password"}
            return status, self._granted(fields, user)

    def expire_tokens(self) -> None:
        """From now on no token is good that was given out before."""
        with self._lock:
            self._tokens.clear()

    def _granted(self, fields: Mapping[str, list[str]], user: str | None) -> dict[str, object]:
        asked = parse_scopes(" ".join(fields.get("scope", [])))
        scopes = frozenset(Scope(each.kind, each.name, self._allowed(each, user)) for each in merge(asked))
        token = secrets.token_urlsafe(16)
        lifetime = self.rules.lifetime_seconds
        self._tokens[token] = _Token(scopes, time.monotonic() + lifetime, self.rules.uses)
        answer: dict[str, object] = {"token": token, "access_token": token, "expires_in": lifetime}
        if self.rules.refresh_tokens and user is not None and fields.get("offline_token") == ["true"]:
            refresh_token = secrets.token_urlsafe(16)
            self._refresh_tokens[refresh_token] = user
            answer["refresh_token"] = refresh_token
        return answer

    def _allowed(self, scope: Scope, user: str | None) -> frozenset[str]:
        if scope.name in self.rules.hidden:
            return frozenset()
        allowed = scope.actions if user is not None else scope.actions & self.rules.anonymous
        return allowed & {"pull"} if scope.name in self.rules.denied else allowed

    def _asker(self, method: str, fields: Mapping[str, list[str]], authorization: str) -> tuple[str | None, bool]:
        """Who asks for a token, and whether that is proved."""
        if method == "POST":
            user = self._refresh_tokens.get(fields.get("refresh_token", [""])[0])
            return user, user is not None
        if not authorization:
            return None, True
        user = self._user(authorization)
        return user, user is not None

    def _user(self, authorization: str) -> str | None:
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return None
        username, _, password = base64.b64decode(encoded).decode().partition(":")
        return username if self.rules.users.get(username) == password else None

    def _error(self, authorization: str, wanted: frozenset[Scope]) -> str | None:
        """What is wrong with the token, as in a challenge; empty when there is none; None when it is good."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return ""
        token = self._tokens.get(value)
        if token is None or time.monotonic() >= token.good_until or token.uses == 0:
            return "invalid_token"
        if not all(any(own.covers(scope) for own in token.scopes) for scope in wanted):
            return "insufficient_scope"
        if token.uses is not None:
            token.uses -= 1
        return None

    def _challenge(self, wanted: frozenset[Scope], error: str) -> str:
        realm = self.rules.realm or f"http://{self._host}/token"
        challenge = f'Bearer realm="{realm}",service="{self._host}"'
        if wanted:
            challenge += f',scope="{" ".join(sorted(map(str, wanted)))}"'
        return f'{challenge},error="{error}"' if error else challenge


def _wanted(method: str, path: str) -> frozenset[Scope]:
    """The scopes that a request needs, as distribution has it."""
    parts = urlsplit(path)
    if parts.path == "/v2/_catalog":
        return frozenset({Scope("registry", "catalog", frozenset("*"))})
    content = _CONTENT.match(parts.path)
    if content is None:
        return frozenset()
    scopes = {Scope("repository", content[1], frozenset(_ACTIONS.get(method, _CHANGES)))}
    scopes |= {Scope.pull(name) for name in parse_qs(parts.query).get("from", [])}
    return frozenset(scopes)
