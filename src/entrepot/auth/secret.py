"""Who somebody is, in a form that no log or traceback can spill."""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass


class Secret:
    """Text that prints as ``***``; ``reveal`` gives it away."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "Secret(***)"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self._text), _bytes(other._text))

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be written anywhere")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and what proves it: a password, or an identity token (OAuth 2 calls it a refresh token)."""

    username: str
    password: Secret
    identity_token: Secret | None = None


def basic(credentials: Credentials) -> str:
    """The value of ``Authorization`` for HTTP Basic (RFC 7617)."""
    return "Basic " + encode_basic(credentials.username, credentials.password.reveal())


def encode_basic(username: str, password: str) -> str:
    """``username:password`` as Base64."""
    return base64.b64encode(_bytes(f"{username}:{password}")).decode("ascii")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # arguments and environment may hold any bytes
