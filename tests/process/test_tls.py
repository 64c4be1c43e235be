"""TLS from certificate files."""

from __future__ import annotations

import ssl
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess, free_port
from tests.hostile.raw import Wire, request
from tests.hostile.waiting import eventually

from .certificates import Certificates, make_certificates
from .conftest import Starter

HEADER_SECONDS = 2


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def registry(start_for_all: Starter, certificates: Certificates) -> RegistryProcess:
    return start_for_all(
        *certificates.flags,
        workers=2,
        server__absolute_urls=True,
    )


@pytest.fixture(scope="module")
def impatient(start_for_all: Starter, certificates: Certificates) -> RegistryProcess:
    """Nothing can be sure to be quick enough for it; what is sent to it has to be tried again."""
    return start_for_all(
        *certificates.flags,
        workers=2,
        server__header_timeout_seconds=HEADER_SECONDS,
        server__idle_timeout_seconds=HEADER_SECONDS,
    )


@pytest.fixture(scope="module")
def newest_only(start_for_all: Starter, certificates: Certificates) -> RegistryProcess:
    return start_for_all(*certificates.flags, server__tls_minimum="1.3")


def ask(connection: ssl.SSLSocket, data: bytes) -> bytes:
    """All that comes after ``data`` until the server ends the connection."""
    connection.sendall(data)
    answer = b""
    while piece := connection.recv(1 << 16):
        answer += piece
    return answer


def ping(connection: ssl.SSLSocket) -> bytes:
    return ask(connection, request("GET", "/v2/", {"Connection": "close"}))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_connect_by_current_version_is_answered(
    registry: RegistryProcess, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    with certificates.connect(registry.port, certificates.client(version=version)) as connection:
        assert connection.version() == version.name.replace("_", ".")
        assert ping(connection).startswith(b"HTTP/1.1 200 OK")


def test_connect_by_outdated_version_is_refused(registry: RegistryProcess, certificates: Certificates) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        outdated = certificates.client(version=ssl.TLSVersion.TLSv1_1)
    outdated.set_ciphers("ALL:@SECLEVEL=0")  # or else it is our side that refuses
    with pytest.raises(ssl.SSLError) as refusal:
        certificates.connect(registry.port, outdated)
    assert refusal.value.reason in ("TLSV1_ALERT_PROTOCOL_VERSION", "SSLV3_ALERT_HANDSHAKE_FAILURE")  # the server's


def test_connect_below_the_minimum_is_refused(newest_only: RegistryProcess, certificates: Certificates) -> None:
    with pytest.raises(ssl.SSLError) as refusal:
        certificates.connect(newest_only.port, certificates.client(version=ssl.TLSVersion.TLSv1_2))
    assert refusal.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
    with certificates.connect(newest_only.port) as connection:
        assert ping(connection).startswith(b"HTTP/1.1 200 OK")


def test_connect_to_the_server_with_a_stranger_as_authority_fails(registry: RegistryProcess, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        make_certificates(tmp_path).connect(registry.port)


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), (["x"], None), ([], None)]
)
def test_connect_chooses_the_protocol(
    registry: RegistryProcess, certificates: Certificates, offered: list[str], chosen: str | None
) -> None:
    context = certificates.client()
    if offered:
        context.set_alpn_protocols(offered)
    if offered == ["x"]:
        with pytest.raises(ssl.SSLError):
            certificates.connect(registry.port, context)
    else:
        with certificates.connect(registry.port, context) as connection:
            assert connection.selected_alpn_protocol() == chosen


def test_push_and_pull_keep_the_scheme(registry: RegistryProcess, certificates: Certificates) -> None:
    content = bytes(range(256)) * 4096
    path = f"/v2/tls/blobs/uploads/?digest={Digest.of(content)}"
    fields = {"Connection": "close", "Host": f"localhost:{registry.port}"}
    with certificates.connect(registry.port) as connection:
        answer = ask(connection, request("POST", path, fields, content))
    blob = f"/v2/tls/blobs/{Digest.of(content)}"
    assert answer.startswith(b"HTTP/1.1 201")
    assert f"location: https://localhost:{registry.port}{blob}\r\n".encode() in answer
    with certificates.connect(registry.port) as connection:
        assert ask(connection, request("GET", blob, fields)).endswith(content)


def test_speak_plain_http_to_tls_is_ended_and_others_are_served(
    registry: RegistryProcess, certificates: Certificates
) -> None:
    with Wire(registry.port) as wire:
        wire.send(request("GET", "/v2/"))
        assert b"HTTP/1.1" not in wire.rest()
    with certificates.connect(registry.port) as connection:
        assert ping(connection).startswith(b"HTTP/1.1 200 OK")


def test_silent_peers_are_ended_and_hinder_nobody(impatient: RegistryProcess, certificates: Certificates) -> None:
    before_handshake = [Wire(impatient.port) for _ in range(100)]
    after_handshake = [connect_in_time(impatient, certificates) for _ in range(10)]
    eventually(lambda: is_served(impatient, certificates))
    for silent in after_handshake:
        with silent:
            assert silent.recv(1) == b""
    for wire in before_handshake:
        with wire:
            assert wire.rest() == b""


def connect_in_time(process: RegistryProcess, certificates: Certificates) -> ssl.SSLSocket:
    """Until the handshake is done before the server gives it up."""
    while True:
        with suppress(OSError):
            return certificates.connect(process.port)


def is_served(process: RegistryProcess, certificates: Certificates) -> bool:
    with suppress(OSError), certificates.connect(process.port) as connection:
        return ping(connection).startswith(b"HTTP/1.1 200 OK")
    return False


@pytest.mark.parametrize("broken", ["chain", "other_key"])
def test_start_with_broken_files_says_which(certificates: Certificates, tmp_path: Path, broken: str) -> None:
    files = {"chain": certificates.chain, "key": certificates.key}
    if broken == "other_key":
        files["key"] = make_certificates(tmp_path).key
    else:
        files[broken] = tmp_path / "broken.pem"
        files[broken].write_text("-----BEGIN nothing-----")
    flags = ["--tls-certificate", str(files["chain"]), "--tls-key", str(files["key"])]
    listen = f"127.0.0.1:{free_port()}"
    done = subprocess.run(
        [sys.executable, "-m", "entrepot", "serve", "--root", str(tmp_path / "root"), "--listen", listen, *flags],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(files["chain"]) in done.stderr
    assert str(files["key"]) in done.stderr
