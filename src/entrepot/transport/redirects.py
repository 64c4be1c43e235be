"""Where a redirect may lead. A registry is not trusted to make us talk to our own network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from urllib.parse import SplitResult, urljoin, urlsplit

from entrepot.auth.realm import is_loopback, is_private
from entrepot.errors import AccessDenied, ParameterInvalid
from entrepot.transport.base import Request

MOST_REDIRECTS = 8
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MOST_SHOWN = 200
# All that another host needs to know; it gets a URL that carries its own permission. Who we are is not among it, nor
# what a configuration file wants the registry to be sent.
_PUBLIC_HEADERS = frozenset(
    {"accept", "accept-encoding", "content-range", "content-type", "if-range", "range", "user-agent"}
)


def redirected(request: Request, status: int, location: str) -> Request:
    """The request to send next. Raises AccessDenied for an address that a registry has no business to name.

    Method and body stay, but for 303, which sends whoever wrote something to read it (RFC 9110, 15.4.4).
    """
    target = resolved(request.url, location)
    old, new = urlsplit(request.url), urlsplit(target)
    require_allowed(old, new)
    headers = request.headers if same_place(old, new) else public(request.headers)
    moved = replace(request, url=new._replace(fragment="").geturl(), headers=headers)
    if status == 303 and request.method not in ("GET", "HEAD"):
        return replace(moved, method="GET", body=None)
    return moved


def resolved(base: str, address: str) -> str:
    """``address`` as it counts from ``base``. Raises AccessDenied when it is none."""
    try:
        target = urljoin(base, address)
        _ = urlsplit(target).port
    except ValueError as error:
        host = urlsplit(base).netloc
        raise AccessDenied(
            f"{host} sends us to {address[:_MOST_SHOWN]!r}, which is no address", registry=host
        ) from error
    return target


def beside(base: str, address: str) -> str:
    """Path and query of ``address``, which counts from ``base``. Raises AccessDenied when it is on another host."""
    old, new = urlsplit(base), urlsplit(resolved(base, address))
    if new.hostname != old.hostname:
        raise _refused(old, new, "the next page of a list has to be on the same host")
    return new._replace(scheme="", netloc="", fragment="").geturl()


def require_path(address: str) -> str:
    """``address`` if it is what ``beside`` gives; it may have been in other hands since. Raises ParameterInvalid."""
    if address.startswith("/") and not address.startswith("//") and address.isprintable():
        return address
    raise ParameterInvalid(f"expected where a list goes on, got {address[:80]!r}", value=address[:80])


def public(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of some headers that any host may see."""
    return {name: value for name, value in headers.items() if name in _PUBLIC_HEADERS}


def require_allowed(old: SplitResult, new: SplitResult) -> None:
    """Raises AccessDenied unless whoever answered at ``old`` may send us to ``new``."""
    if new.scheme not in _DEFAULT_PORTS or not new.hostname:
        raise _refused(old, new, "only http and https addresses are followed")
    if new.username is not None or new.password is not None:
        raise _refused(old, new, "there is a login in it")
    if old.scheme == "https" and new.scheme == "http":
        raise _refused(old, new, "it would leave TLS")
    if _is_deeper(new.hostname, old.hostname or ""):
        raise _refused(old, new, "it leads into a private network")


def same_place(old: SplitResult, new: SplitResult) -> bool:
    """Whether both are the same scheme, host and port."""
    return _place(old) == _place(new)


def _is_deeper(new: str, old: str) -> bool:
    """Whether ``new`` is in a smaller circle than ``old``: this computer, what is plugged to it, a private network."""
    circles = (is_loopback, _is_link_local, is_private)
    return any(circle(new) and not circle(old) and not is_loopback(old) for circle in circles)


def _is_link_local(host: str) -> bool:
    # 169.254.169.254 is where clouds tell a machine its passwords
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_link_local


def _place(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _DEFAULT_PORTS.get(url.scheme)


def _refused(old: SplitResult, new: SplitResult, why: str) -> AccessDenied:
    shown = f"{new.scheme}://{new.hostname or ''}"[:_MOST_SHOWN]
    return AccessDenied(
        f"{old.hostname} redirects to {shown}, which is not followed: {why}", registry=old.netloc, target=shown
    )
