"""What aiohttp, OpenSSL and the system raise, as errors of ours: the one place that knows theirs.

The words are those of Go's net packages, which docker prints and people search the web for.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import aiohttp

from entrepot.errors import ParameterInvalid
from entrepot.transport.base import ConnectionFailed, TlsFailed

_MOST_SHOWN = 200
_FOREIGN = (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, asyncio.TimeoutError)

# OpenSSL's words, which differ between its versions, for bytes that are no TLS record
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")

_TLS_ALERT = repr(b"\x15\x03")[2:-1]  # as aiohttp's parser shows it in place of a status line

# X509_V_ERR_*: self-signed, self-signed in the chain, issuer not found, first certificate cannot be verified
_UNKNOWN_AUTHORITY = {18, 19, 20, 21}
_OUT_OF_TIME = {9, 10}
_OTHER_NAME = {62, 64}


@contextmanager
def translated(method: str, url: str) -> Iterator[None]:
    """Raise ConnectionFailed, TlsFailed or ParameterInvalid for what goes wrong inside."""
    try:
        yield
    except _FOREIGN as error:
        raise _translate(error, f'{method.capitalize()} "{shown(url)}"', url) from error


def shown(url: str) -> str:
    """``url`` as it may stand in messages and logs: no query, which may carry signatures, and no password."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = bare.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"[:_MOST_SHOWN]


def _translate(error: Exception, what: str, url: str) -> Exception:
    if isinstance(error, aiohttp.InvalidURL):  # 127.1 and the like, which is read in more than one way
        return ParameterInvalid(f"expected the address of a host, got {shown(url)!r}", url=shown(url))
    if isinstance(error, aiohttp.ClientHttpProxyError):
        reason = f"the proxy refused the tunnel: {error.status} {error.message}"
        return ConnectionFailed(f"{what}: {reason}", sent_nothing=True, status=error.status)
    tls = _tls_reason(error, urlsplit(url).hostname or "")
    if tls is not None:
        cause, reason = tls
        return TlsFailed(f"{what}: {reason}", sent_nothing=True, cause=cause)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return ConnectionFailed(f"{what}: {_dial_reason(error, url)}", sent_nothing=True)
    if _TLS_ALERT in str(getattr(error, "message", "")):
        reason = "malformed HTTP response: the server sent a TLS alert, it speaks HTTPS"
        return ConnectionFailed(f"{what}: {reason}", sent_nothing=True, cause="wants_tls")
    return ConnectionFailed(f"{what}: {_broken_reason(error)}")


def _tls_reason(error: Exception, host: str) -> tuple[str, str] | None:
    """Kind and words of a failure; ``plain_http``, ``certificate``, ``alert`` (by the server) or ``handshake``."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "certificate", f"tls: failed to verify certificate: {_x509(error.certificate_error, host)}"
    text = str(error)
    if "ALERT" in text and "CERTIFICATE" in text.partition("ALERT")[2]:
        return "alert", f"remote error: tls: the server wants another client certificate: {text}"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        if any(word in text for word in _NO_TLS):
            return "plain_http", "http: server gave HTTP response to HTTPS client"
        return "alert" if "ALERT" in text else "handshake", f"tls: {_reason_of(error)}"
    if _ended_in_handshake(error):
        return "handshake", "tls: the server ended the connection in the handshake: it may speak plain HTTP only"
    return None


def _ended_in_handshake(error: Exception) -> bool:
    # a connector's error with a reset inside: the connection was made, so it was the handshake that failed
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    return isinstance(cause, ConnectionResetError | ConnectionAbortedError | BrokenPipeError)


def _x509(error: Exception, host: str) -> str:
    code = getattr(error, "verify_code", 0)
    if code in _UNKNOWN_AUTHORITY:
        return "x509: certificate signed by unknown authority"
    if code in _OUT_OF_TIME:
        return "x509: certificate has expired or is not yet valid"
    if code in _OTHER_NAME:
        return f"x509: certificate is not valid for {host}"
    return f"x509: {getattr(error, 'verify_message', None) or error}"


def _reason_of(error: ssl.SSLError) -> str:
    reason: str | None = getattr(getattr(error, "os_error", error), "reason", None)
    return reason.lower().replace("_", " ") if reason else str(error)


def _dial_reason(error: aiohttp.ClientError, url: str) -> str:
    host, port = _peer(error, url)
    prefix = "proxyconnect tcp: " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
    if isinstance(error, aiohttp.ClientConnectorDNSError) or _is_lookup(error):
        return f"{prefix}dial tcp: lookup {host}: no such host"
    if isinstance(error, TimeoutError):
        return f"{prefix}dial tcp {host}:{port}: i/o timeout"
    return f"{prefix}dial tcp {host}:{port}: connect: {_strerror(error)}"


def _is_lookup(error: Exception) -> bool:
    return isinstance(getattr(error, "os_error", None), socket.gaierror)


def _peer(error: Exception, url: str) -> tuple[str | None, int | None]:
    """Where the connection was to go: to the server or to a proxy."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.host, error.port
    parts = urlsplit(url)
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _strerror(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ConnectionRefusedError):  # asyncio writes a sentence of its own into it
        return "connection refused"
    return (getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).lower()


def _broken_reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF: the server closed the connection and sent no answer"
    if isinstance(error, TimeoutError):
        return "i/o timeout: the server neither sent nor took anything any more"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "unexpected EOF: the body ended before its announced length"
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.http.HttpProcessingError):
        return f"malformed HTTP response: {' '.join(error.message.split())[:_MOST_SHOWN]}"
    if isinstance(error, ConnectionResetError):
        return "connection reset by peer"
    return _strerror(error) if isinstance(error, OSError) else str(error)[:_MOST_SHOWN]
