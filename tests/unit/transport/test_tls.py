from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from entrepot.errors import ConfigInvalid
from entrepot.transport.tls import ClientCertificate, TlsContexts, TlsSettings


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def refused(settings: TlsSettings) -> ConfigInvalid:
    with pytest.raises(ConfigInvalid) as caught:
        TlsContexts().get(settings)
    return caught.value


def subjects(context: ssl.SSLContext) -> list[str]:
    return [str(certificate["subject"]) for certificate in context.get_ca_certs()]


def test_get_context_verifies_by_default() -> None:
    context = TlsContexts().get(TlsSettings())

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_get_context_unverified_trusts_anybody() -> None:
    context = TlsContexts().get(TlsSettings(ca_files=(Path("/nowhere"),)).unverified())

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_get_context_twice_gives_the_same() -> None:
    contexts = TlsContexts()

    assert contexts.get(TlsSettings()) is contexts.get(TlsSettings())
    assert contexts.get(TlsSettings()) is not contexts.get(TlsSettings(verify=False))


def test_get_context_with_root_file_trusts_nobody_else(tmp_path: Path, authority: trustme.CA) -> None:
    file = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(file)

    assert len(subjects(TlsContexts().get(TlsSettings(root_file=file)))) == 1


def test_get_context_with_ca_file_adds_to_root_file(tmp_path: Path, authority: trustme.CA) -> None:
    files = tmp_path / "roots.pem", tmp_path / "ca.crt"
    authority.cert_pem.write_to_path(files[0])
    trustme.CA().cert_pem.write_to_path(files[1])

    assert len(subjects(TlsContexts().get(TlsSettings(root_file=files[0], ca_files=(files[1],))))) == 2


@pytest.mark.parametrize("place", ["root_file", "ca_files"])
def test_get_context_with_file_that_is_absent_is_refused(tmp_path: Path, place: str) -> None:
    file = tmp_path / "none.pem"
    error = refused(TlsSettings(root_file=file) if place == "root_file" else TlsSettings(ca_files=(file,)))

    assert error.message == f"{file}: cannot be read: no such file or directory"


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_get_context_with_file_of_no_certificates_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(content)

    assert refused(TlsSettings(ca_files=(file,))).message.startswith(
        f"{file}: expected certificates of authorities in PEM: "
    )


def leaf_files(folder: Path, authority: trustme.CA, name: str = "client") -> ClientCertificate:
    leaf = authority.issue_cert("me@client.example")
    leaf.cert_chain_pems[0].write_to_path(folder / f"{name}.cert")
    leaf.private_key_pem.write_to_path(folder / f"{name}.key")
    return ClientCertificate(folder / f"{name}.cert", folder / f"{name}.key")


def test_get_context_with_certificate_and_key_in_one_file_takes_it(tmp_path: Path, authority: trustme.CA) -> None:
    file = tmp_path / "client.pem"
    authority.issue_cert("me@client.example").private_key_and_cert_chain_pem.write_to_path(file)

    TlsContexts().get(TlsSettings(client_certificates=(ClientCertificate(file),)))


def test_get_context_with_key_of_another_certificate_is_refused(tmp_path: Path, authority: trustme.CA) -> None:
    one, other = leaf_files(tmp_path, authority, "one"), leaf_files(tmp_path, authority, "other")
    error = refused(TlsSettings(client_certificates=(ClientCertificate(one.certificate, other.key),)))

    assert error.message == (
        f"{one.certificate}: expected the certificate of the key {other.key}, both in PEM: key values mismatch"
    )


def test_get_context_with_key_that_is_absent_is_refused(tmp_path: Path, authority: trustme.CA) -> None:
    one = leaf_files(tmp_path, authority)
    error = refused(TlsSettings(client_certificates=(ClientCertificate(one.certificate, tmp_path / "none.key"),)))

    assert error.message == f"{tmp_path / 'none.key'}: cannot be read: no such file or directory"


def test_get_context_with_key_under_password_is_refused_and_asks_nobody(tmp_path: Path, authority: trustme.CA) -> None:
    one = leaf_files(tmp_path, authority)
    assert one.key is not None
    key = load_pem_private_key(one.key.read_bytes(), password=None)
    one.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret"))
    )

    assert refused(TlsSettings(client_certificates=(one,))).message == f"{one.key}: expected a key without a password"
