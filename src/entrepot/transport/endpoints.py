"""Where a registry is: its address, its mirrors, and how to speak TLS with each.

What counts, in this order: the command line, ``hosts.toml``, ``registries.conf``, and what everybody knows: docker.io
is at registry-1.docker.io; all speak HTTPS, but this computer plain HTTP, unless there are certificates for it or its
server asks for HTTPS. Nothing is read from the environment.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from entrepot.auth.realm import is_loopback
from entrepot.errors import ConfigInvalid, Denied, RegistryError
from entrepot.reference import DEFAULT_DOMAIN
from entrepot.transport.base import ConnectionFailed, TlsFailed
from entrepot.transport.hosts_toml import CAPABILITIES, Host, HostsFile, find_certificates, find_hosts_file
from entrepot.transport.registries_conf import Rule, Rules
from entrepot.transport.tls import ClientCertificate, TlsContexts, TlsSettings

_HUB = "registry-1.docker.io"
_PORTS = {"http": 80, "https": 443}
# What servers say in their 400 when HTTP came to the port where they speak HTTPS: Go's, nginx's, Apache's.
_WANTS_TLS = ("http request to an https server", "http request was sent to https port", "plain http to an ssl-enabled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a registry, or a mirror of it, is reached; the API is at ``/v2/`` below ``base_url``.

    ``domain`` is the registry whose login counts here. ``may_be_http``: whoever configured it lets it speak plain HTTP.
    """

    domain: str
    base_url: str
    is_mirror: bool = False
    capabilities: frozenset[str] = CAPABILITIES
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: TlsSettings = field(default_factory=TlsSettings)
    may_be_http: bool = False
    old_prefix: str = ""
    new_prefix: str = ""

    def repository(self, name: str) -> str:
        """What the repository is called there."""
        return (self.new_prefix + name.removeprefix(self.old_prefix)).strip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """What the command line says, for all registries. ``root_file`` stands in for the system's authorities.

    ``insecure_registries`` are those that ``insecure`` holds for alone.
    """

    plain_http: bool = False
    insecure: bool = False
    insecure_registries: frozenset[str] = frozenset()
    ca_files: tuple[Path, ...] = ()
    client_certificates: tuple[ClientCertificate, ...] = ()
    root_file: Path | None = None


class Endpoints:
    """Knows where registries are. ``folders`` are the ``certs.d``, the first counts first.

    Its methods raise ConfigInvalid for what is wrong in a file, and Denied for a registry that a rule blocks.
    """

    def __init__(
        self,
        *,
        folders: Sequence[Path] = (),
        rules: Rules | None = None,
        options: EndpointOptions | None = None,
    ) -> None:
        self._folders = folders
        self._rules = rules or Rules()
        self._options = options or EndpointOptions()
        self._contexts = TlsContexts()
        self._of_hosts: dict[str, TlsSettings] = {}  # by host:port
        self._learnt: dict[str, str] = {}  # scheme by host[:port], where the first try has failed
        self._hosts_files: dict[str, HostsFile | None] = {}

    def for_pull(self, domain: str, name: str, *, by_digest: bool = False) -> list[Endpoint]:
        """Where to read from, in this order; the registry itself comes last.

        Some mirrors are only for what is asked for ``by_digest``, some only for tags.
        """
        rule = self._rule(domain, name)
        hosts = self._hosts_file(domain)
        if hosts is not None:
            wanted = "pull" if by_digest else "resolve"
            mirrors = [self._mirror(host, domain) for host in hosts.mirrors if wanted in host.capabilities]
            return [*mirrors, self._own(domain, rule)]
        if rule is None:
            return [self._own(domain, None)]
        mirrors = [
            self._moved(rule, mirror.location, domain, name, insecure=mirror.insecure, is_mirror=True)
            for mirror in rule.mirrors
            if mirror.serves(by_digest=by_digest)
        ]
        if rule.location:
            return [*mirrors, self._moved(rule, rule.location, domain, name, insecure=rule.insecure, is_mirror=False)]
        return [*mirrors, self._own(domain, rule)]

    def for_push(self, domain: str, name: str = "") -> Endpoint:
        """Where to write to: the registry itself, or the first host of its ``hosts.toml`` that takes pushes."""
        rule = self._rule(domain, name)
        hosts = self._hosts_file(domain)
        takers = [host for host in hosts.mirrors if "push" in host.capabilities] if hosts else []
        return self._mirror(takers[0], domain) if takers else self._own(domain, rule)

    def other(self, endpoint: Endpoint, error: RegistryError) -> Endpoint | None:
        """The same endpoint by the other of HTTP and HTTPS, if ``error`` says that this one was wrong, else None.

        Plain HTTP only where it is allowed, and when no connection came about. The choice holds from then on.
        """
        if not _is_wrong(endpoint, error):
            return None
        authority = _authority(endpoint.base_url)
        if authority not in self._learnt:  # else by a request that was under way at the same time
            self._learnt[authority] = "http" if endpoint.base_url.startswith("https:") else "https"
        known = self._known(endpoint)
        return known if known.base_url != endpoint.base_url else None

    def tls(self, authority: str) -> ssl.SSLContext:
        """The context for ``host:port``, of whatever kind: an endpoint, a token service, where a redirect leads."""
        settings = self._of_hosts.get(authority)
        if settings is None:
            settings = self._of_hosts[authority] = self._settings(authority, verify=True)
        return self._contexts.get(settings)

    def _rule(self, domain: str, name: str) -> Rule | None:
        rule = self._rules.find(f"{domain}/{name}" if name else domain)
        if rule is not None and rule.blocked:
            raise Denied(f"registry {rule.prefix} is blocked in {rule.file}", registry=domain, file=str(rule.file))
        return rule

    def _hosts_file(self, domain: str) -> HostsFile | None:
        if domain not in self._hosts_files:
            self._hosts_files[domain] = find_hosts_file(self._folders, domain)
        return self._hosts_files[domain]

    def _own(self, domain: str, rule: Rule | None) -> Endpoint:
        """The registry itself."""
        hosts = self._hosts_file(domain)
        if hosts is not None and hosts.server is not None:
            return self._of_host(hosts.server, domain, is_mirror=False)
        return self._plain(domain, insecure=rule is not None and rule.insecure)

    def _mirror(self, host: Host, domain: str) -> Endpoint:
        return self._of_host(host, domain, is_mirror=not _is_itself(host.base_url, domain))

    def _of_host(self, host: Host, domain: str, *, is_mirror: bool) -> Endpoint:
        """What a ``hosts.toml`` names. containerd tells every host but the registry's own which one is meant."""
        authority = _authority(host.base_url)
        settings = self._settings(authority, verify=host.verify).with_files(host.ca_files, host.client_certificates)
        return self._known(
            Endpoint(
                domain=domain if _is_itself(host.base_url, domain) else authority,
                base_url=host.base_url,
                is_mirror=is_mirror,
                capabilities=host.capabilities,
                query={} if _is_itself(host.base_url, domain) else {"ns": domain},
                headers=host.headers,
                tls=settings,
                new_prefix=host.prefix,
            )
        )

    def _moved(self, rule: Rule, location: str, domain: str, name: str, *, insecure: bool, is_mirror: bool) -> Endpoint:
        """A name below a rule's prefix at another location."""
        full = f"{domain}/{name}" if name else domain
        target, _, path = rule.moved(full, location).partition("/")
        if name and not path:
            raise ConfigInvalid(f"{rule.file}: location {location}: expected a path, where {full} can be", name=full)
        is_renamed = path != name
        return replace(
            self._plain(target, insecure=insecure),
            is_mirror=is_mirror,
            query={"ns": domain} if is_mirror and not is_renamed and target != domain else {},
            old_prefix=name if is_renamed else "",
            new_prefix=path if is_renamed else "",
        )

    def _plain(self, domain: str, *, insecure: bool) -> Endpoint:
        """A registry of which nothing but its name is known."""
        insecure = insecure or self._options.insecure or domain in self._options.insecure_registries
        authority = _HUB if domain == DEFAULT_DOMAIN else domain
        settings = self._settings(authority, verify=not insecure)
        has_certificates = bool(settings.ca_files or settings.client_certificates)
        is_local = is_loopback(urlsplit(f"//{authority}").hostname or "")
        is_http = self._options.plain_http or (is_local and not has_certificates)
        return self._known(
            Endpoint(
                domain=domain,
                base_url=f"{'http' if is_http else 'https'}://{authority}",
                tls=settings,
                may_be_http=insecure,
            )
        )

    def _settings(self, authority: str, *, verify: bool) -> TlsSettings:
        options = self._options
        name = DEFAULT_DOMAIN if authority == _HUB else authority
        files, certificates = find_certificates(self._folders, name)
        settings = TlsSettings(
            ca_files=options.ca_files + files,
            client_certificates=options.client_certificates + certificates,
            root_file=options.root_file,
        )
        return settings if verify and not options.insecure else settings.unverified()

    def _known(self, endpoint: Endpoint) -> Endpoint:
        """``endpoint`` with what was learnt of it; its TLS settings are for whoever connects."""
        authority = _authority(endpoint.base_url)
        if authority in self._learnt:
            endpoint = replace(endpoint, base_url=_with_scheme(endpoint.base_url, self._learnt[authority]))
        parts = urlsplit(endpoint.base_url)
        self._of_hosts[f"{_bracketed(parts.hostname or '')}:{parts.port or _PORTS[parts.scheme]}"] = endpoint.tls
        return endpoint


def _is_wrong(endpoint: Endpoint, error: RegistryError) -> bool:
    """Whether HTTPS, or HTTP, was wrong there."""
    if endpoint.base_url.startswith("https:"):
        return endpoint.may_be_http and _no_tls_came_about(error)
    return _wants_tls(error)


def _wants_tls(error: RegistryError) -> bool:
    return error.detail.get("cause") == "wants_tls" or any(words in error.message.lower() for words in _WANTS_TLS)


def _no_tls_came_about(error: RegistryError) -> bool:
    if isinstance(error, TlsFailed):
        return error.detail.get("cause") in ("plain_http", "handshake")
    return isinstance(error, ConnectionFailed) and error.sent_nothing


def _authority(url: str) -> str:
    return urlsplit(url).netloc


def _is_itself(url: str, domain: str) -> bool:
    return _authority(url) in (domain, _HUB if domain == DEFAULT_DOMAIN else domain)


def _with_scheme(url: str, scheme: str) -> str:
    return f"{scheme}://{url.partition('://')[2]}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
