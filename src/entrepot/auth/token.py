"""What is sent to a token service and what comes back (distribution, "Token Authentication Specification").

Nothing here does I/O, and nothing here prints a secret.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from entrepot.auth.challenge import Challenge
from entrepot.auth.scope import Scope
from entrepot.auth.secret import Credentials, Secret, basic
from entrepot.errors import RegistryError, Unauthenticated, Unavailable

CLIENT_ID = "entrepot"
MAX_TOKEN_RESPONSE = 1024 * 1024
DEFAULT_LIFETIME_SECONDS = 60.0  # where the answer names none, as the specification has it

_LONGEST_LIFETIME_SECONDS = 24 * 60 * 60.0
_MAX_SHOWN = 200
_TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")
_UNAVAILABLE = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request to a token service. ``form`` is the body, to be URL-encoded."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: dict[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """Its answer; of ``content`` at most MAX_TOKEN_RESPONSE bytes are taken."""

    status: int
    content: bytes = field(repr=False)
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token service gave. ``lifetime`` counts from when it was asked: its own clock may be wrong."""

    token: Secret
    lifetime_seconds: float
    refresh_token: Secret | None


@dataclass(frozen=True, slots=True)
class TokenService:
    """The address that a Bearer challenge names."""

    realm: str
    service: str | None

    @classmethod
    def of(cls, challenge: Challenge) -> TokenService:
        return cls(challenge.parameters["realm"], challenge.parameters.get("service"))

    @property
    def host(self) -> str:
        return urlsplit(self.realm).netloc

    def get(self, scopes: frozenset[Scope], credentials: Credentials | None, *, offline: bool = False) -> TokenRequest:
        """Asks with a password, or as nobody. ``offline``: for a refresh token as well, as a login does."""
        query = [("account", credentials.username)] if credentials and credentials.username else []
        if offline:
            query += [("client_id", CLIENT_ID), ("offline_token", "true")]
        if self.service is not None:
            query.append(("service", self.service))
        query += [("scope", text) for text in sorted(map(str, scopes))]
        headers = {"authorization": basic(credentials)} if credentials else {}
        url = self.realm.partition("#")[0]
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query)
        return TokenRequest("GET", url, headers)

    def post(self, scopes: frozenset[Scope], refresh_token: Secret) -> TokenRequest:
        """Asks with a refresh token (OAuth 2)."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal(), "client_id": CLIENT_ID}
        if self.service is not None:
            form["service"] = self.service
        if scopes:
            form["scope"] = " ".join(sorted(map(str, scopes)))
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return TokenRequest("POST", self.realm.partition("#")[0], headers, form)


def read_grant(response: TokenResponse, host: str) -> Grant:
    """The token in a 200 answer of the token service ``host``. Raises RegistryError when there is none."""
    answer = _json_object(response.content)
    if answer is None:
        raise _unusable(host, "expected a JSON object")
    token = _text(answer.get("token")) or _text(answer.get("access_token"))
    if token is None:
        raise _unusable(host, "it has no usable token")
    refresh_token = _text(answer.get("refresh_token"))
    return Grant(Secret(token), _lifetime(answer.get("expires_in")), Secret(refresh_token) if refresh_token else None)


def read_refusal(response: TokenResponse, host: str, *, with_credentials: bool) -> RegistryError:
    """What an answer without token means, in docker's words."""
    detail: dict[str, Any] = {"token_service": host, "status": response.status}
    if response.status in (401, 403):
        return refusal(with_credentials=with_credentials, **detail)
    message = f"the token service {host} answered {response.status}{_explanation(response.content)}"
    return Unavailable(message, **detail) if response.status in _UNAVAILABLE else Unauthenticated(message, **detail)


def refusal(*, with_credentials: bool, **detail: Any) -> Unauthenticated:
    """The error for a login that was refused, or was missing."""
    reason = "incorrect username or password" if with_credentials else "authentication required"
    return Unauthenticated(f"unauthorized: {reason}", **detail)


def _json_object(content: bytes) -> dict[str, Any] | None:
    if len(content) > MAX_TOKEN_RESPONSE:
        return None
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(value: object) -> str | None:
    """A token: it goes into a header, so it may have no blanks and no line ends."""
    return value if isinstance(value, str) and _TOKEN.fullmatch(value) else None


def _lifetime(value: object) -> float:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = float(value[:18])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return DEFAULT_LIFETIME_SECONDS
    if isinstance(value, float) and not math.isfinite(value):
        return DEFAULT_LIFETIME_SECONDS
    return float(min(max(value, 0), _LONGEST_LIFETIME_SECONDS))


def _explanation(content: bytes) -> str:
    answer = _json_object(content) or {}
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    for text in (first.get("message"), answer.get("details"), answer.get("error_description"), answer.get("error")):
        if isinstance(text, str) and text and text.isprintable():
            return f": {text[:_MAX_SHOWN]}"
    return ""


def _unusable(host: str, why: str) -> Unauthenticated:
    return Unauthenticated(f"the token service {host} sent an answer that is of no use: {why}", token_service=host)
