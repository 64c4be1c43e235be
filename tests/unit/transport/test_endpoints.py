from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from entrepot.errors import ConfigInvalid, Denied, Invalid, RegistryError
from entrepot.transport.base import ConnectionFailed, Request, TlsFailed
from entrepot.transport.endpoints import Endpoint, EndpointOptions, Endpoints
from entrepot.transport.registries_conf import Mirror, Rule, Rules
from entrepot.transport.sockets import SocketExchange
from tests.unit.transport.servers import HOST, answering, fetch, ok, serving

FILE = Path("registries.conf")


def rules(**fields: Any) -> Rules:
    return Rules([Rule(file=FILE, **fields)])


def hosts(root: Path, domain: str, text: str) -> list[Path]:
    (root / domain).mkdir(parents=True)
    (root / domain / "hosts.toml").write_text(text, "utf-8")
    return [root]


def urls(endpoints: list[Endpoint]) -> list[str]:
    return [endpoint.base_url for endpoint in endpoints]


@pytest.mark.parametrize(
    ("domain", "url"),
    [
        pytest.param("docker.io", "https://registry-1.docker.io", id="docker.io"),
        pytest.param("registry.example", "https://registry.example", id="any"),
        pytest.param("registry.example:5000", "https://registry.example:5000", id="any with a port"),
        pytest.param("10.0.0.1:5000", "https://10.0.0.1:5000", id="private address"),
        pytest.param("localhost", "http://localhost", id="localhost"),
        pytest.param("localhost:5000", "http://localhost:5000", id="localhost with a port"),
        pytest.param("r.localhost:5000", "http://r.localhost:5000", id="below localhost"),
        pytest.param("127.1.2.3:5000", "http://127.1.2.3:5000", id="loopback"),
        pytest.param("[::1]:5000", "http://[::1]:5000", id="loopback of IPv6"),
    ],
)
def test_for_push_gives_address_by_name(domain: str, url: str) -> None:
    endpoint = Endpoints().for_push(domain, "team/app")

    assert (endpoint.base_url, endpoint.domain, endpoint.query) == (url, domain, {})
    assert Endpoints().for_pull(domain, "team/app") == [endpoint]
    assert endpoint.repository("team/app") == "team/app"
    assert not endpoint.is_mirror


def test_for_push_with_plain_http_gives_http() -> None:
    assert Endpoints(options=EndpointOptions(plain_http=True)).for_push("r.example").base_url == "http://r.example"


def test_for_push_to_this_computer_with_certificates_gives_https(tmp_path: Path) -> None:
    (tmp_path / "localhost:5000").mkdir()
    (tmp_path / "localhost:5000" / "ca.crt").touch()
    endpoints = Endpoints(folders=[tmp_path])

    assert endpoints.for_push("localhost:5000").base_url == "https://localhost:5000"
    assert endpoints.for_push("localhost:5001").base_url == "http://localhost:5001"


def test_for_push_to_this_computer_with_ca_file_gives_https() -> None:
    options = EndpointOptions(ca_files=(Path("ca.crt"),))

    assert Endpoints(options=options).for_push("localhost:5000").base_url == "https://localhost:5000"


MIRRORED = """
server = "https://main.example"
[host."https://all.example"]
  [host."https://all.example".header]
    x-one = "1"
[host."https://pull.example/v2/hub"]
  capabilities = ["pull"]
  override_path = true
[host."http://resolve.example"]
  capabilities = ["resolve"]
"""


def test_for_pull_gives_mirrors_of_hosts_toml_first(tmp_path: Path) -> None:
    endpoints = Endpoints(folders=hosts(tmp_path, "docker.io", MIRRORED))
    by_digest = endpoints.for_pull("docker.io", "library/nginx", by_digest=True)
    by_tag = endpoints.for_pull("docker.io", "library/nginx", by_digest=False)

    assert urls(by_digest) == ["https://all.example", "https://pull.example", "https://main.example"]
    assert urls(by_tag) == ["https://all.example", "http://resolve.example", "https://main.example"]
    assert [endpoint.query for endpoint in by_digest] == [{"ns": "docker.io"}] * 3
    assert [endpoint.domain for endpoint in by_digest] == ["all.example", "pull.example", "main.example"]
    assert [endpoint.is_mirror for endpoint in by_digest] == [True, True, False]
    assert by_digest[0].headers == {"x-one": "1"}
    assert by_digest[1].repository("library/nginx") == "hub/library/nginx"


def test_for_push_takes_first_host_of_hosts_toml_that_takes_pushes(tmp_path: Path) -> None:
    endpoint = Endpoints(folders=hosts(tmp_path, "docker.io", MIRRORED)).for_push("docker.io", "library/nginx")

    assert endpoint.base_url == "https://all.example"


def test_for_push_to_hosts_that_take_none_gives_the_registry_itself(tmp_path: Path) -> None:
    text = '[host."https://m.example"]\ncapabilities = ["pull", "resolve"]'
    endpoints = Endpoints(folders=hosts(tmp_path, "docker.io", text))

    assert endpoints.for_push("docker.io").base_url == "https://registry-1.docker.io"
    assert urls(endpoints.for_pull("docker.io", "a/b")) == ["https://m.example", "https://registry-1.docker.io"]


def test_for_pull_from_host_that_is_the_registry_itself_says_no_ns(tmp_path: Path) -> None:
    endpoints = Endpoints(folders=hosts(tmp_path, "docker.io", '[host."https://registry-1.docker.io"]'))
    endpoint = endpoints.for_pull("docker.io", "a/b")[0]

    assert (endpoint.query, endpoint.domain, endpoint.is_mirror) == ({}, "docker.io", False)


def test_for_pull_of_other_registry_takes_default_hosts_toml(tmp_path: Path) -> None:
    endpoints = Endpoints(folders=hosts(tmp_path, "_default", '[host."https://m.example"]'))
    found = endpoints.for_pull("r.example:5000", "a")

    assert urls(found) == ["https://m.example", "https://r.example:5000"]
    assert found[0].query == {"ns": "r.example:5000"}


def test_for_pull_gives_mirrors_of_registries_conf_first() -> None:
    mirrors = (
        Mirror(location="m0.example"),
        Mirror(location="m1.example/hub", pulls="digest-only"),
        Mirror(location="localhost:5000/hub", pulls="tag-only"),
    )
    endpoints = Endpoints(rules=rules(prefix="docker.io", mirrors=mirrors))
    by_digest = endpoints.for_pull("docker.io", "library/nginx", by_digest=True)
    by_tag = endpoints.for_pull("docker.io", "library/nginx", by_digest=False)

    assert urls(by_digest) == ["https://m0.example", "https://m1.example", "https://registry-1.docker.io"]
    assert urls(by_tag) == ["https://m0.example", "http://localhost:5000", "https://registry-1.docker.io"]
    assert [endpoint.repository("library/nginx") for endpoint in by_digest] == [
        "library/nginx",
        "hub/library/nginx",
        "library/nginx",
    ]
    assert [endpoint.query for endpoint in by_digest] == [{"ns": "docker.io"}, {}, {}]
    assert [endpoint.domain for endpoint in by_tag] == ["m0.example", "localhost:5000", "docker.io"]
    assert endpoints.for_push("docker.io", "library/nginx").base_url == "https://registry-1.docker.io"


def test_for_pull_of_moved_namespace_goes_to_its_location_and_push_does_not() -> None:
    endpoints = Endpoints(rules=rules(prefix="example.com/foo", location="internal.example/bar"))
    [endpoint] = endpoints.for_pull("example.com", "foo/image")

    assert (endpoint.base_url, endpoint.repository("foo/image")) == ("https://internal.example", "bar/image")
    assert (endpoint.query, endpoint.is_mirror) == ({}, False)
    assert urls(endpoints.for_pull("example.com", "other")) == ["https://example.com"]
    assert endpoints.for_push("example.com", "foo/image").base_url == "https://example.com"


def test_for_pull_of_repository_that_is_moved_to_no_path_is_refused() -> None:
    endpoints = Endpoints(rules=rules(prefix="example.com/foo", location="internal.example"))

    with pytest.raises(ConfigInvalid, match=r"location internal\.example: expected a path"):
        endpoints.for_pull("example.com", "foo")


@pytest.mark.parametrize("name", ["for_pull", "for_push"])
def test_use_of_blocked_registry_is_denied(name: str) -> None:
    with pytest.raises(Denied, match=r"registry bad\.example is blocked in registries\.conf"):
        getattr(Endpoints(rules=rules(prefix="bad.example", blocked=True)), name)("bad.example", "a/b")


REFUSED = ConnectionFailed("connection refused", sent_nothing=True)
BROKEN = ConnectionFailed("connection reset by peer")
NO_TLS = TlsFailed("server gave HTTP response", sent_nothing=True, cause="plain_http")
UNTRUSTED = TlsFailed("signed by unknown authority", sent_nothing=True, cause="certificate")


@pytest.mark.parametrize("error", [pytest.param(NO_TLS, id="no TLS"), pytest.param(REFUSED, id="refused")])
def test_other_of_insecure_registry_is_http_from_then_on(error: RegistryError) -> None:
    endpoints = Endpoints(options=EndpointOptions(insecure=True))
    first = endpoints.for_push("r.example:5000", "a")
    other = endpoints.other(first, error)

    assert first.base_url == "https://r.example:5000"
    assert not first.tls.verify
    assert other is not None
    assert other.base_url == "http://r.example:5000"
    assert endpoints.for_push("r.example:5000").base_url == "http://r.example:5000"
    assert endpoints.other(other, REFUSED) is None
    assert endpoints.for_push("other.example").base_url == "https://other.example"


@pytest.mark.parametrize(
    ("insecure", "error"),
    [
        pytest.param(False, NO_TLS, id="secure"),
        pytest.param(False, REFUSED, id="secure and refused"),
        pytest.param(True, UNTRUSTED, id="certificate"),
        pytest.param(True, BROKEN, id="after something was sent"),
        pytest.param(True, Invalid("400"), id="an answer"),
    ],
)
def test_other_is_none_where_http_is_not_allowed_or_no_help(insecure: bool, error: RegistryError) -> None:
    endpoints = Endpoints(options=EndpointOptions(insecure=insecure))

    assert endpoints.other(endpoints.for_push("r.example"), error) is None


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Invalid("Client sent an HTTP request to an HTTPS server."), id="Go"),
        pytest.param(Invalid("400 The plain HTTP request was sent to HTTPS port nginx"), id="nginx"),
        pytest.param(ConnectionFailed("TLS alert", cause="wants_tls"), id="alert"),
    ],
)
def test_other_of_this_computer_is_https_when_its_server_asks_for_it(error: RegistryError) -> None:
    endpoints = Endpoints()
    other = endpoints.other(endpoints.for_push("localhost:5000"), error)

    assert other is not None
    assert other.base_url == "https://localhost:5000"
    assert endpoints.for_pull("localhost:5000", "a")[-1].base_url == "https://localhost:5000"


def test_other_is_the_same_for_requests_that_were_under_way_when_it_was_found() -> None:
    endpoints = Endpoints()
    first, second = endpoints.for_push("localhost:5000"), endpoints.for_push("localhost:5000")
    wants_tls = Invalid("Client sent an HTTP request to an HTTPS server.")
    found = endpoints.other(first, wants_tls)

    assert found is not None
    assert endpoints.other(second, wants_tls) == found
    assert endpoints.other(found, UNTRUSTED) is None


@pytest.mark.parametrize("error", [REFUSED, BROKEN, Invalid("400 Bad Request")])
def test_other_of_this_computer_is_none_for_other_errors(error: RegistryError) -> None:
    endpoints = Endpoints()

    assert endpoints.other(endpoints.for_push("localhost:5000"), error) is None


def test_insecure_rule_holds_for_its_registry_only() -> None:
    endpoints = Endpoints(rules=rules(prefix="r.example", insecure=True))

    assert not endpoints.for_push("r.example", "a").tls.verify
    assert endpoints.tls("r.example:443").verify_mode == ssl.CERT_NONE
    assert endpoints.tls("cdn.example:443").verify_mode == ssl.CERT_REQUIRED


async def test_tls_of_host_trusts_its_folder(tmp_path: Path) -> None:
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(server)
    async with serving(answering(ok(b"{}")), tls=server) as port:
        folder = tmp_path / f"{HOST}:{port}"
        folder.mkdir()
        authority.cert_pem.write_to_path(folder / "ca.crt")
        endpoints = Endpoints(folders=[tmp_path])
        endpoint = endpoints.for_push(f"{HOST}:{port}")
        over = SocketExchange(tls=endpoints.tls, proxy=lambda _: None)

        assert await fetch(over, Request("GET", f"{endpoint.base_url}/v2/")) == (200, b"{}")


async def test_tls_of_mirror_uses_files_of_its_hosts_toml(tmp_path: Path) -> None:
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    async with serving(answering(ok(b"{}")), tls=server) as port:
        folders = hosts(
            tmp_path, "r.example", f'[host."https://localhost:{port}"]\nca = "ca.pem"\nclient = "client.pem"'
        )
        authority.cert_pem.write_to_path(tmp_path / "r.example" / "ca.pem")
        authority.issue_cert("me").private_key_and_cert_chain_pem.write_to_path(tmp_path / "r.example" / "client.pem")
        endpoints = Endpoints(folders=folders)
        mirror = endpoints.for_pull("r.example", "a")[0]
        over = SocketExchange(tls=endpoints.tls, proxy=lambda _: None)

        assert await fetch(over, Request("GET", f"{mirror.base_url}/v2/?ns=r.example")) == (200, b"{}")


def test_tls_for_any_host_has_what_the_command_line_says(tmp_path: Path) -> None:
    file = tmp_path / "roots.pem"
    trustme.CA().cert_pem.write_to_path(file)
    endpoints = Endpoints(options=EndpointOptions(root_file=file))

    assert len(endpoints.tls("auth.example:443").get_ca_certs()) == 1
    assert endpoints.tls("auth.example:443") is endpoints.tls("cdn.example:443")
