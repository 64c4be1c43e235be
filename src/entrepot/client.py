"""The composition root of the client: where registries are, who we are, where the images are kept.

The command line and ``import entrepot`` both come in here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from entrepot.auth.credentials import CredentialStore
from entrepot.auth.secret import Credentials
from entrepot.digest import Digest
from entrepot.folders import DATABASE_FILE
from entrepot.image_store.opening import prepare_root
from entrepot.image_store.pulling import Pull
from entrepot.image_store.pushing import Push, StoredPushes
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.platforms import Platform
from entrepot.progress import Listener, ignore
from entrepot.reference import ImageReference
from entrepot.repositories.local import LocalRegistry, Rules
from entrepot.repositories.remote import RemoteRegistry, RemoteRepository
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.transfer.copy import PARALLEL, SPLIT_ABOVE, Options
from entrepot.transfer.graph import Choice, OnlyPlatforms, everything
from entrepot.transport.client import Transport
from entrepot.transport.endpoints import EndpointOptions, Endpoints
from entrepot.transport.proxies import Proxies
from entrepot.transport.registries_conf import read_rules
from entrepot.transport.retry import RetryPolicy
from entrepot.transport.sockets import SocketExchange
from entrepot.transport.tls import ClientCertificate
from entrepot.version import __version__

# The store takes what it is given: an index with the one platform that was asked for, artifacts of any type.
_RULES = Rules(allow_partial_indexes=True, allow_unknown_types=True, manifest_bytes=16 * 1024 * 1024)
_SYSTEM_CONTAINERS = Path("/etc/containers")
_SYSTEM_CERTIFICATES = (
    Path("/etc/containers/certs.d"),
    Path("/etc/containerd/certs.d"),
    Path("/etc/docker/certs.d"),
)

# Nobody has said what the environment is; this module does not look for itself.
NO_ENVIRONMENT: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How registries are reached, and as whom. Files that users keep for docker, podman and containerd are read.

    ``logins`` go before what those files say, by registry; None is nobody.
    """

    environment: Mapping[str, str] = field(default_factory=lambda: NO_ENVIRONMENT)
    logins: Mapping[str, Credentials | None] = field(default_factory=dict)
    home: Path = field(default_factory=Path.home)
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = False  # take any certificate, and go on without TLS where there is none
    insecure_registries: frozenset[str] = frozenset()  # the same, for these alone
    plain_http: bool = False
    authfile: Path | None = None
    attempts: int = 6
    idle_seconds: float = 60.0
    parallel: int = PARALLEL
    split_above: int = SPLIT_ABOVE  # bytes; larger layers come in parts side by side
    max_unpacked: int = 0  # bytes that a layer may unpack to; 0 bounds it by its compressed size
    listener: Listener = ignore
    warn: Callable[[str], None] = lambda _: None


class Client:
    """Registries and the image store at ``root``. Use it with ``async with``, on one event loop."""

    def __init__(self, root: Path, access: Access | None = None) -> None:
        self.root = root
        self.access = access or Access()
        self._transport: Transport | None = None
        self._metadata: SqliteMetadata | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            await self._transport.close()
        if self._metadata is not None:
            await self._metadata.close()

    @cached_property
    def credentials(self) -> CredentialStore:
        access = self.access
        return CredentialStore(access.environment, access.home, access.warn, access.authfile)

    @property
    def transport(self) -> Transport:
        if self._transport is None:
            self._transport = _transport(self.access, self.find_credentials)
        return self._transport

    @cached_property
    def store(self) -> LocalRegistry:
        """The image store; it is made when it is not there. Raises Unavailable."""
        prepare_root(self.root)
        self._metadata = SqliteMetadata(self.root / DATABASE_FILE)
        return LocalRegistry(FilesystemBlobStore(self.root), self._metadata, _RULES)

    def registry(self, domain: str, *, remember: bool = True) -> RemoteRegistry:
        """The registry at ``domain``, e.g. ``docker.io``. ``remember`` keeps places of torn uploads in the store."""
        pushes = _Pushes(self) if remember else None
        return RemoteRegistry(self.transport, domain, pushes=pushes)

    def remote(self, reference: ImageReference) -> RemoteRepository:
        """The repository that a name stands for."""
        return self.registry(reference.domain).repository(reference.path)

    def options(self, choice: Choice = everything) -> Options:
        """How to copy, as this client does it."""
        access = self.access
        return Options(
            choice=choice,
            parallel=access.parallel,
            split_above=access.split_above,
            max_unpacked=access.max_unpacked,
            listener=access.listener,
        )

    def pull(self, reference: ImageReference, choice: Choice = everything) -> Pull:
        """The pull of images of the repository that ``reference`` names."""
        return Pull(self.store, self.remote(reference), self.options(choice))

    def push(self, reference: ImageReference) -> Push:
        """The push of images to the repository that ``reference`` names."""
        return Push(self.store, self.remote(reference), self.options())

    def find_credentials(self, domain: str, path: str = "") -> Credentials | None:
        """The login for a registry, or for a repository ``path`` of it; None for nobody."""
        logins = self.access.logins
        return logins[domain] if domain in logins else self.credentials.find(domain, path)


@dataclass(frozen=True, slots=True)
class _Pushes:
    """Unfinished uploads, remembered in the image store; who only reads makes no store."""

    client: Client

    async def find(self, domain: str, name: str, digest: Digest) -> str | None:
        return await StoredPushes(self.client.store).find(domain, name, digest)

    async def remember(self, domain: str, name: str, digest: Digest, location: str) -> None:
        await StoredPushes(self.client.store).remember(domain, name, digest, location)

    async def forget(self, domain: str, name: str, digest: Digest) -> None:
        await StoredPushes(self.client.store).forget(domain, name, digest)


def only(*platforms: Platform) -> Choice:
    """A choice of platforms out of an index."""
    return OnlyPlatforms(platforms)


def _transport(access: Access, find: Callable[[str, str], Credentials | None]) -> Transport:
    endpoints = _endpoints(access)
    exchange = SocketExchange(tls=endpoints.tls, proxy=Proxies(access.environment), idle_seconds=access.idle_seconds)
    retry = RetryPolicy(attempts=access.attempts, listener=access.listener)
    return Transport(exchange, endpoints, find, retry=retry, agent=f"entrepot/{__version__}")


def _endpoints(access: Access) -> Endpoints:
    containers = access.home / ".config" / "containers"
    named = access.environment.get("CONTAINERS_REGISTRIES_CONF")
    roots = access.environment.get("SSL_CERT_FILE")
    rules = read_rules(system=_SYSTEM_CONTAINERS, user=containers, named=Path(named) if named else None)
    options = EndpointOptions(
        plain_http=access.plain_http,
        insecure=access.insecure,
        insecure_registries=access.insecure_registries,
        ca_files=(access.ca_file,) if access.ca_file else (),
        client_certificates=(ClientCertificate(access.certificate, access.key),) if access.certificate else (),
        root_file=Path(roots) if roots else None,
    )
    folders = (containers / "certs.d", *_SYSTEM_CERTIFICATES)
    return Endpoints(folders=folders, rules=rules, options=options)
