"""Where a registry may send us for a token.

It is not trusted to make us talk to our own network, or to send a password where others can read it.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from entrepot.errors import AccessDenied

_MAX_SHOWN = 200
_URL = re.compile(r"[!#-\[\]-~]+")  # visible ASCII without quotes and backslashes, which programs read differently
_NUMERIC = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)\.?")  # 127.1 and 0x7f000001 are addresses to some


def require_allowed_realm(realm: str, endpoint: str, *, with_credentials: bool) -> None:
    """Raises AccessDenied unless the registry at ``endpoint`` may name ``realm`` as its token service.

    ``with_credentials``: a password or token goes there, so that plain HTTP is for this computer only.
    """
    to, at = _split(realm), urlsplit(endpoint)
    host, registry = to.hostname or "", at.hostname or ""
    if to.scheme not in ("http", "https") or not host or to.username is not None:
        raise _refused(realm, endpoint, "expected an address that begins with https://")
    if with_credentials and to.scheme == "http" and not is_loopback(host):
        raise _refused(realm, endpoint, "passwords are not sent over plain HTTP")
    if host == registry:
        if at.scheme == "https" and to.scheme == "http" and not is_loopback(host):
            raise _refused(realm, endpoint, "it would leave TLS")
        return
    if to.scheme == "http" and not (is_loopback(host) and is_loopback(registry)):
        raise _refused(realm, endpoint, "on another host it has to be https")
    if is_private(host) and not is_private(registry):
        raise _refused(realm, endpoint, "it is in a private network")


def require_secret_transport(endpoint: str) -> None:
    """Raises AccessDenied when a password sent to ``endpoint`` could be read on the way."""
    to = urlsplit(endpoint)
    if to.scheme != "https" and not is_loopback(to.hostname or ""):
        raise AccessDenied(
            f"the password for {to.netloc} is not sent over plain HTTP, where everybody on the way can read it",
            registry=to.netloc,
            hint="give the registry TLS, or log out to go on without a login",
        )


def is_private(host: str) -> bool:
    """Whether a host is this computer or an address that is not on the Internet. Names are not looked up."""
    address = _address(host)
    if address is None:
        return _is_local_name(host) or _NUMERIC.fullmatch(host) is not None
    return not address.is_global


def is_loopback(host: str) -> bool:
    """Whether a host is this computer. Names but ``localhost`` are not looked up."""
    address = _address(host)
    return _is_local_name(host) or (address is not None and address.is_loopback)


def _is_local_name(host: str) -> bool:
    name = host.removesuffix(".")
    return name == "localhost" or name.endswith(".localhost")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _split(realm: str) -> SplitResult:
    try:
        if not _URL.fullmatch(realm):
            raise ValueError
        parts = urlsplit(realm)
        _ = parts.port
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def _refused(realm: str, endpoint: str, why: str) -> AccessDenied:
    parts = _split(realm)
    shown = f"{parts.scheme}://{parts.hostname or ''}"[:_MAX_SHOWN]
    registry = urlsplit(endpoint).netloc
    return AccessDenied(
        f"{registry} wants a login at {shown!r}, which is refused: {why}", registry=registry, realm=shown
    )
