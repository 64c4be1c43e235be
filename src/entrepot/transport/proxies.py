"""Which proxy a request goes through: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as everybody reads them.

Where tools differ we do as Go's do, because docker's users have their variables set for those.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import urlsplit

from entrepot.auth.realm import is_loopback
from entrepot.errors import ConfigInvalid
from entrepot.transport.connection_errors import shown

Network = IPv4Network | IPv6Network

_PORTS = {"http": 80, "https": 443}


class Proxies:
    """Called with the address of a request: the address of its proxy, with the login if there is one, or None.

    ``environment`` is given as a mapping; in lower and in upper case, of which upper case counts first. Raises
    ConfigInvalid, at once, for a proxy that is no http or https address.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._proxies = {scheme: _proxy(environment, scheme) for scheme in _PORTS}
        self._exceptions = [
            _Exception(text) for text in _variable(environment, "NO_PROXY")[1].split(",") if text.strip()
        ]

    def __call__(self, url: str) -> str | None:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
        if is_loopback(host) or any(exception.covers(host, port) for exception in self._exceptions):
            return None
        return self._proxies.get(parts.scheme)


class _Exception:
    """An entry of NO_PROXY: a host with all below it, ``.suffix``, an address, a network, any with ``:port``; ``*``."""

    def __init__(self, text: str) -> None:
        self._text, self._port = _split_port(text.strip().lower())
        self._host = self._text.removeprefix("*").strip("[]").rstrip(".")
        self._network = _network(self._host)

    def covers(self, host: str, port: int) -> bool:
        if self._text == "*":
            return True
        if self._port not in (None, port):
            return False
        if self._network is not None:
            address = _network(host)
            return address is not None and address[0] in self._network
        host = host.rstrip(".")
        if self._host.startswith("."):
            return host.endswith(self._host)
        return host == self._host or host.endswith(f".{self._host}")


def _split_port(text: str) -> tuple[str, int | None]:
    host, colon, port = text.rpartition(":")
    is_ipv6 = ":" in host and not host.endswith("]")
    return (host, int(port)) if colon and port.isdigit() and len(port) < 6 and not is_ipv6 else (text, None)


def _network(text: str) -> Network | None:
    """The network, of one address if need be, that ``text`` is."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _proxy(environment: Mapping[str, str], scheme: str) -> str | None:
    name, value = _variable(environment, f"{scheme.upper()}_PROXY")
    if not value:
        name, value = _variable(environment, "ALL_PROXY")
    if not value:
        return None
    url = value if "://" in value else f"http://{value}"
    if not _is_usable(url):
        raise ConfigInvalid(
            f"{name}: expected the address of an http or https proxy, got {shown(value)!r}", variable=name
        )
    return url


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in _PORTS and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _variable(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    if value := environment.get(name, "").strip():
        return name, value
    return name.lower(), environment.get(name.lower(), "").strip()
