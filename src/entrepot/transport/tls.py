"""TLS contexts: which authorities are trusted, and which certificate the client shows.

The system's authorities always count; what is configured for a host comes in addition (as with docker's ``certs.d``).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from entrepot.errors import ConfigInvalid


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate in PEM, and its key, which may be in the same file."""

    certificate: Path
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How to speak TLS with a host. ``root_file`` stands in for the system's authorities, ``ca_files`` add to them."""

    ca_files: tuple[Path, ...] = ()
    client_certificates: tuple[ClientCertificate, ...] = ()
    root_file: Path | None = None
    verify: bool = True

    def with_files(self, ca_files: tuple[Path, ...], certificates: tuple[ClientCertificate, ...]) -> TlsSettings:
        """These settings and more files. What was there comes first."""
        return TlsSettings(
            ca_files=self.ca_files + ca_files,
            client_certificates=self.client_certificates + certificates,
            root_file=self.root_file,
            verify=self.verify,
        )

    def unverified(self) -> TlsSettings:
        """The same, trusting anybody."""
        return TlsSettings(client_certificates=self.client_certificates, verify=False)


class TlsContexts:
    """Makes contexts, one for equal settings: connections are shared by those who have the same."""

    def __init__(self) -> None:
        self._made: dict[TlsSettings, ssl.SSLContext] = {}

    def get(self, settings: TlsSettings) -> ssl.SSLContext:
        """Raises ConfigInvalid for a file that is not there or not what it should be."""
        if settings not in self._made:
            self._made[settings] = _make(settings)
        return self._made[settings]


def _make(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.root_file is None:
        context.load_default_certs()
    else:
        _load_authorities(context, settings.root_file)
    for file in settings.ca_files:
        _load_authorities(context, file)
    for certificate in settings.client_certificates:
        _load_certificate(context, certificate)
    return context


def _load_authorities(context: ssl.SSLContext, file: Path) -> None:
    _load(lambda: context.load_verify_locations(cafile=file), file, "certificates of authorities in PEM")


def _load_certificate(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    file, key = certificate.certificate, certificate.key

    def refuse_password() -> NoReturn:  # else OpenSSL asks on the terminal
        raise ConfigInvalid(f"{key or file}: expected a key without a password", file=str(key or file))

    for each in (file, key):
        if each is not None:
            _load(lambda each=each: each.read_bytes(), each, "a file")  # type: ignore[misc]  # mypy: default of a lambda
    kind = "a certificate and its key in PEM" if key is None else f"the certificate of the key {key}, both in PEM"
    _load(lambda: context.load_cert_chain(file, key, password=refuse_password), file, kind)


def _load(load: Callable[[], object], file: Path, kind: str) -> None:
    try:
        load()
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise ConfigInvalid(f"{file}: expected {kind}: {reason}", file=str(file)) from error
    except OSError as error:
        raise ConfigInvalid(
            f"{file}: cannot be read: {(error.strerror or str(error)).lower()}", file=str(file)
        ) from error
