"""Where a redirect may lead. A registry is not trusted to make us talk to our own network."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urljoin, urlsplit

from entrepot.errors import AccessDenied
from entrepot.transport.base import Request

MOST_REDIRECTS = 8
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS = {"http": 80, "https": 443}
# What tells the new host who we are. It gets a URL that carries its own permission.
_PRIVATE_HEADERS = frozenset({"authorization", "cookie"})


def redirected(request: Request, location: str) -> Request:
    """The request to send next. Raises AccessDenied for an address that a registry has no business to name."""
    target = urljoin(request.url, location)
    old, new = urlsplit(request.url), urlsplit(target)
    require_allowed(old, new)
    if same_place(old, new):
        return Request(request.method, target, request.headers, request.body)
    headers = {name: value for name, value in request.headers.items() if name not in _PRIVATE_HEADERS}
    return Request(request.method, target, headers, request.body)


def require_allowed(old: SplitResult, new: SplitResult) -> None:
    """Raises AccessDenied unless whoever answered at ``old`` may send us to ``new``."""
    if new.scheme not in _DEFAULT_PORTS or not new.hostname:
        raise _refused(old, new, "only http and https addresses are followed")
    if old.scheme == "https" and new.scheme == "http":
        raise _refused(old, new, "it would leave TLS")
    if is_private(new.hostname) and not is_private(old.hostname or ""):
        raise _refused(old, new, "it leads into a private network")


def same_place(old: SplitResult, new: SplitResult) -> bool:
    """Whether both are the same scheme, host and port."""
    return _place(old) == _place(new)


def is_private(host: str) -> bool:
    """Whether a host is this computer or an address that is not on the Internet. Names are not looked up."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and not address.is_global


def is_loopback(host: str) -> bool:
    """Whether a host is this computer."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def _place(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _DEFAULT_PORTS.get(url.scheme)


def _refused(old: SplitResult, new: SplitResult, why: str) -> AccessDenied:
    shown = f"{new.scheme}://{new.hostname or ''}"
    return AccessDenied(
        f"{old.hostname} redirects to {shown}, which is not followed: {why}", registry=old.netloc, target=shown
    )
