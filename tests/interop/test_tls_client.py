"""Our command over TLS: whom it trusts, what it shows of itself, and what it says when that does not do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.testing.images import Image, build_image
from entrepot.testing.server import RegistryProcess

from .entrepot_client import EntrepotClient
from .nginx import WANTS_CLIENT_CERTIFICATE, Nginx
from .peers import DockerRegistry, Registry

pytestmark = pytest.mark.interop

UNKNOWN_AUTHORITY = "tls: failed to verify certificate: x509: certificate signed by unknown authority"


@pytest.fixture
def ours(tmp_path: Path) -> EntrepotClient:
    """A home of its own, where ``certs.d`` may be."""
    return EntrepotClient(tmp_path / "ours")


@pytest.fixture
def certs_folder(ours: EntrepotClient, tmp_path: Path) -> Path:
    return tmp_path / "ours" / "home" / ".config" / "containers" / "certs.d"


@pytest.fixture
def image(seed: int) -> Image:
    return build_image(3, seed=seed, size=50_000, docker=True)


@pytest.fixture
def nginx(registry: Registry, authority: Path, tmp_path: Path) -> Iterator[Nginx]:
    with Nginx(tmp_path / "nginx", registry.host, authority) as server:
        yield server


@pytest.fixture
def strict_nginx(registry: Registry, authority: Path, tmp_path: Path) -> Iterator[Nginx]:
    """Talks to nobody without a certificate of the authority."""
    with Nginx(tmp_path / "nginx", registry.host, authority, WANTS_CLIENT_CERTIFICATE) as server:
        yield server


def assert_comes_back(ours: EntrepotClient, image: Image, name: str, *flags: str | Path) -> None:
    """Load, push, forget, pull: the same image."""
    ours.load(image, name)
    assert f"v1: digest: {image.digest} " in ours.cli.run("push", *flags, name)
    ours.remove(name)
    ours.cli.run("pull", *flags, name)
    assert ours.image_id(name) == image.id


def refusal(ours: EntrepotClient, *arguments: str | Path) -> str:
    """What a command that fails prints on standard error."""
    outcome = ours.cli.try_run(*arguments)
    assert outcome.status == 1, outcome.text
    return outcome.stderr


# whom we trust


def test_push_and_pull_trusting_a_ca_file(
    ours: EntrepotClient, secure_registry: RegistryProcess, path: str, image: Image, authority: Path
) -> None:
    assert_comes_back(ours, image, f"{secure_registry.host}/{path}:v1", "--ca-file", authority / "ca.crt")


def test_push_and_pull_trusting_what_is_in_certs_d(
    ours: EntrepotClient,
    secure_registry: RegistryProcess,
    certs_folder: Path,
    path: str,
    image: Image,
    authority: Path,
) -> None:
    folder = certs_folder / secure_registry.host
    folder.mkdir(parents=True)
    shutil.copy(authority / "ca.crt", folder)
    assert_comes_back(ours, image, f"{secure_registry.host}/{path}:v1")


def test_push_and_pull_insecurely(
    ours: EntrepotClient, secure_registry: RegistryProcess, path: str, image: Image
) -> None:
    assert_comes_back(ours, image, f"{secure_registry.host}/{path}:v1", "--insecure")


@pytest.mark.parametrize("command", ["pull", "push"])
def test_unknown_authority_is_refused_with_a_hint(
    ours: EntrepotClient, secure_registry: RegistryProcess, path: str, image: Image, command: str
) -> None:
    name = f"{secure_registry.host}/{path}:v1"
    ours.load(image, name)
    first, hint = refusal(ours, command, name).splitlines()[:2]
    assert first.endswith(UNKNOWN_AUTHORITY)
    assert hint == "Hint: --ca-file FILE trusts another authority, --insecure takes any certificate"


@pytest.mark.parametrize("command", ["pull", "push"])
def test_unknown_authority_of_nginx_is_refused_with_a_hint(
    ours: EntrepotClient, nginx: Nginx, path: str, image: Image, command: str
) -> None:
    """This computer is asked in plain HTTP first; what nginx says to that a HEAD does not show."""
    ours.load(image, f"{nginx.host}/{path}:v1")
    text = refusal(ours, command, f"{nginx.host}/{path}:v1")
    assert UNKNOWN_AUTHORITY in text
    assert "--ca-file" in text


# a certificate of our own


def test_push_and_pull_showing_a_certificate(
    ours: EntrepotClient, strict_nginx: Nginx, path: str, image: Image, authority: Path
) -> None:
    shown = ("--cert-file", authority / "client.cert", "--key-file", authority / "client.key")
    assert_comes_back(ours, image, f"{strict_nginx.host}/{path}:v1", "--ca-file", authority / "ca.crt", *shown)


def test_push_and_pull_showing_the_certificate_in_certs_d(
    ours: EntrepotClient, strict_nginx: Nginx, certs_folder: Path, path: str, image: Image, authority: Path
) -> None:
    folder = certs_folder / strict_nginx.host
    folder.mkdir(parents=True)
    for name in ("ca.crt", "client.cert", "client.key"):
        shutil.copy(authority / name, folder)
    assert_comes_back(ours, image, f"{strict_nginx.host}/{path}:v1")


@pytest.mark.parametrize("command", ["pull", "push"])
def test_no_certificate_where_one_is_wanted_is_told(
    ours: EntrepotClient, strict_nginx: Nginx, path: str, image: Image, authority: Path, command: str
) -> None:
    name = f"{strict_nginx.host}/{path}:v1"
    ours.load(image, name)
    text = refusal(ours, command, "--ca-file", authority / "ca.crt", name)
    assert "No required SSL certificate was sent" in text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(["--ca-file", "{folder}/none"], "{folder}/none: cannot be read", id="no file"),
        pytest.param(["--ca-file", "{folder}/client.key"], "expected certificates of authorities", id="no certificate"),
        pytest.param(["--cert-file", "{folder}/client.cert"], "expected a certificate and its key", id="no key"),
    ],
)
def test_wrong_file_is_named(
    ours: EntrepotClient, secure_registry: RegistryProcess, authority: Path, flags: list[str], message: str
) -> None:
    given = [flag.format(folder=authority) for flag in flags]
    assert message.format(folder=authority) in refusal(ours, "pull", *given, f"{secure_registry.host}/app:v1")


# HTTP meets HTTPS


def test_https_for_a_registry_without_tls_is_told(
    ours: EntrepotClient, registry: Registry, certs_folder: Path, path: str
) -> None:
    folder = certs_folder / registry.host
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(f'server = "https://{registry.host}"\n')
    text = refusal(ours, "pull", f"{registry.host}/{path}:v1")
    assert "http: server gave HTTP response to HTTPS client" in text
    assert "Hint: --plain-http" in text


def test_plain_http_for_a_registry_with_tls_turns_to_https_and_checks_it(
    ours: EntrepotClient, secure_registry: RegistryProcess, path: str
) -> None:
    assert UNKNOWN_AUTHORITY in refusal(ours, "pull", "--plain-http", f"{secure_registry.host}/{path}:v1")


# proxies as people have them


def test_push_through_a_proxy_that_does_not_tell_the_scheme(
    ours: EntrepotClient, nginx: Nginx, path: str, image: Image, authority: Path
) -> None:
    assert_comes_back(ours, image, f"{nginx.host}/{path}:v1", "--ca-file", authority / "ca.crt")


def test_push_where_uploads_are_said_to_go_on_in_plain_http(
    ours: EntrepotClient, path: str, image: Image, authority: Path, tmp_path: Path
) -> None:
    """distribution's ``Location`` begins with http:// when nginx does not send X-Forwarded-Proto."""
    with (
        DockerRegistry(tmp_path / "peer") as peer,
        Nginx(tmp_path / "nginx", peer.host, authority) as nginx,
    ):
        assert_comes_back(ours, image, f"{nginx.host}/{path}:v1", "--ca-file", authority / "ca.crt")


def test_push_of_a_layer_too_large_for_a_proxy_says_so(
    ours: EntrepotClient, registry: Registry, path: str, image: Image, authority: Path, tmp_path: Path
) -> None:
    """nginx's default is 1 MB, the first thing everybody runs into."""
    with Nginx(tmp_path / "nginx", registry.host, authority, "client_max_body_size 10k;") as nginx:
        name = f"{nginx.host}/{path}:v1"
        ours.load(image, name)
        text = refusal(ours, "push", "--ca-file", authority / "ca.crt", name)
    assert "413 Request Entity Too Large" in text
    assert "etrying" not in text


def test_pull_through_a_proxy_whose_registry_is_down_says_so(
    ours: EntrepotClient, path: str, authority: Path, tmp_path: Path
) -> None:
    with Nginx(tmp_path / "nginx", "127.0.0.1:1", authority) as nginx:
        text = refusal(ours, "pull", "--retries", "0", "--ca-file", authority / "ca.crt", f"{nginx.host}/{path}:v1")
    assert "502 Bad Gateway" in text
