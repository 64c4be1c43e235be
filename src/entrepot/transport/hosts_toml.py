"""What is configured for one registry in a folder of its own: ``certs.d/<host[:port]>/``.

There are either containerd's ``hosts.toml`` (its docs/hosts.md), which says where a registry and its mirrors are, or
certificates by the names that docker gave them: ``*.crt`` are authorities, ``NAME.cert`` and ``NAME.key`` belong to the
client. We read both, wherever they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from entrepot.errors import ConfigInvalid
from entrepot.transport.tls import ClientCertificate
from entrepot.transport.toml_tables import TomlTable

FILE_NAME = "hosts.toml"
DEFAULT_FOLDER = "_default"  # for registries that have no folder
CAPABILITIES = frozenset({"pull", "resolve", "push"})

_API = "/v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A registry or a mirror. ``prefix`` goes before the names of repositories there, and ends with a slash."""

    base_url: str
    prefix: str = ""
    capabilities: frozenset[str] = CAPABILITIES
    ca_files: tuple[Path, ...] = ()
    client_certificates: tuple[ClientCertificate, ...] = ()
    verify: bool = True
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostsFile:
    """The mirrors in the order of the file, and the registry itself if the file says where that is."""

    mirrors: tuple[Host, ...]
    server: Host | None


def find_hosts_file(folders: Sequence[Path], domain: str) -> HostsFile | None:
    """What the first ``hosts.toml`` for ``domain`` says; one of ``_default`` counts last. Raises ConfigInvalid."""
    for name in (*_folder_names(domain), DEFAULT_FOLDER):
        for folder in folders:
            table = TomlTable.read(folder / name / FILE_NAME)
            if table is not None:
                return _parse(table, folder / name)
    return None


def find_certificates(folders: Sequence[Path], domain: str) -> tuple[tuple[Path, ...], tuple[ClientCertificate, ...]]:
    """Authorities and client certificates for ``domain``, of the first folder that has any. Raises ConfigInvalid."""
    for folder in folders:
        for name in _folder_names(domain):
            files = _files(folder / name)
            if files:
                return tuple(file for file in files if file.suffix == ".crt"), _pairs(files)
    return (), ()


def _folder_names(domain: str) -> list[str]:
    """As containerd and docker look for them; the port may be spelt without the colon that Windows does not allow."""
    host, colon, port = domain.rpartition(":")
    if not colon or not port.isdigit():
        return [domain]
    return [f"{host}_{port}_", domain, *([host] if port == "443" else [])]


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.suffix in (".crt", ".cert", ".key"))
    except OSError:  # not there, or of another user
        return []


def _pairs(files: list[Path]) -> tuple[ClientCertificate, ...]:
    certificates = [file for file in files if file.suffix == ".cert"]
    for file in files:
        other = {".cert": ".key", ".key": ".cert"}.get(file.suffix)
        if other is not None and file.with_suffix(other) not in files:
            hint = "; certificates of authorities end with .crt" if other == ".key" else ""
            raise ConfigInvalid(f"{file}: expected {file.with_suffix(other).name} beside it{hint}", file=str(file))
    return tuple(ClientCertificate(file, file.with_suffix(".key")) for file in certificates)


def _parse(table: TomlTable, folder: Path) -> HostsFile:
    hosts = table.table("host")
    mirrors = tuple(_host(hosts.table(address), folder, hosts, address) for address in hosts.keys())  # noqa: SIM118
    server = table.text("server")
    return HostsFile(mirrors, _host(table, folder, table, server, key="server") if server else None)


def _host(table: TomlTable, folder: Path, parent: TomlTable, address: str, *, key: str | None = None) -> Host:
    base_url, prefix = _split(parent, key or address, address, overrides=table.flag("override_path"))
    return Host(
        base_url=base_url,
        prefix=prefix,
        capabilities=_capabilities(table),
        ca_files=tuple(folder / name for name in table.texts("ca")),
        client_certificates=_client_certificates(table, folder),
        verify=not table.flag("skip_verify"),
        headers=_headers(table.table("header")),
    )


def _split(table: TomlTable, key: str, address: str, *, overrides: bool) -> tuple[str, str]:
    """The address below which ``/v2/`` is, and what stands between that and the names."""
    parts = urlsplit(address if "://" in address else f"https://{address}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        table.refuse(key, f"an address such as https://mirror.example.com for {address!r}")
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    if not overrides:
        return origin + path.removesuffix(_API), ""
    root, api, prefix = f"{path}/".partition(f"{_API}/")
    if not api:
        table.refuse(key, f"a path with {_API} in it, because of override_path, for {address!r}")
    return origin + root, prefix


def _capabilities(table: TomlTable) -> frozenset[str]:
    wanted = frozenset(table.texts("capabilities")) or CAPABILITIES
    if not wanted <= CAPABILITIES:
        table.refuse("capabilities", 'some of "pull", "resolve" and "push"')
    return wanted


def _client_certificates(table: TomlTable, folder: Path) -> tuple[ClientCertificate, ...]:
    """A file with certificate and key, several of them, or pairs of files."""
    value = table.value("client")
    items = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(items, list):
        table.refuse("client", _CLIENT)
    return tuple(_client_certificate(table, folder, item) for item in items)


_CLIENT = "a file, a list of files, or a list of pairs [certificate, key]"


def _client_certificate(table: TomlTable, folder: Path, item: object) -> ClientCertificate:
    match [item] if isinstance(item, str) else item:
        case [str() as certificate]:
            return ClientCertificate(folder / certificate)
        case [str() as certificate, str() as key]:
            return ClientCertificate(folder / certificate, folder / key if key else None)
        case _:
            return table.refuse("client", _CLIENT)


def _headers(table: TomlTable) -> dict[str, str]:
    return {name.lower(): ", ".join(table.texts(name)) for name in table.keys()}  # noqa: SIM118
