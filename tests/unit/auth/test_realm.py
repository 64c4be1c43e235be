from __future__ import annotations

import pytest

from entrepot.auth.realm import is_loopback, is_private, require_allowed_realm, require_secret_transport
from entrepot.errors import AccessDenied

PUBLIC = "https://registry.example.com"
LOCAL = "http://127.0.0.1:5000"


@pytest.mark.parametrize(
    ("realm", "endpoint"),
    [
        ("https://registry.example.com/token", PUBLIC),
        ("https://auth.example.com/token?a=b", PUBLIC),
        ("https://auth.example.com:8443/token", LOCAL),
        ("http://localhost:5001/token", LOCAL),
        ("http://127.0.0.1:5000/token", LOCAL),
        ("http://[::1]:5000/token", LOCAL),
        ("https://10.0.0.2/token", "https://10.0.0.1"),
        ("https://10.0.0.1/token", "https://10.0.0.1"),
    ],
)
def test_require_allowed_realm_lets_good_ones_pass(realm: str, endpoint: str) -> None:
    require_allowed_realm(realm, endpoint, with_credentials=True)


def test_require_allowed_realm_over_plain_http_is_for_nobody_s_login_only() -> None:
    endpoint = "http://registry.example.com"
    require_allowed_realm(f"{endpoint}/token", endpoint, with_credentials=False)
    with pytest.raises(AccessDenied, match="passwords are not sent over plain HTTP"):
        require_allowed_realm(f"{endpoint}/token", endpoint, with_credentials=True)


@pytest.mark.parametrize(
    ("realm", "endpoint", "why"),
    [
        ("http://auth.example.com/token", PUBLIC, "on another host it has to be https"),
        ("http://registry.example.com/token", PUBLIC, "it would leave TLS"),
        ("http://127.0.0.1:1/token", PUBLIC, "on another host it has to be https"),
        ("http://auth.example.com/token", LOCAL, "on another host it has to be https"),
        ("https://127.0.0.1/token", PUBLIC, "it is in a private network"),
        ("https://10.0.0.1/token", PUBLIC, "it is in a private network"),
        ("https://169.254.169.254/latest", PUBLIC, "it is in a private network"),
        ("https://[::ffff:127.0.0.1]/token", PUBLIC, "it is in a private network"),
        ("https://127.1/token", PUBLIC, "it is in a private network"),
        ("https://0x7f000001/token", PUBLIC, "it is in a private network"),
        ("https://localhost./token", PUBLIC, "it is in a private network"),
        ("file:///etc/passwd", PUBLIC, "expected an address"),
        ("/token", PUBLIC, "expected an address"),
        ("https://user:pass@auth.example.com/", PUBLIC, "expected an address"),
        ("https://auth.example.com:99999/", PUBLIC, "expected an address"),
        ("https://auth.example.com\\@127.0.0.1/", PUBLIC, "expected an address"),
        ("https://auth.example.com/\nx", PUBLIC, "expected an address"),
        ("https://[::1", PUBLIC, "expected an address"),
    ],
)
def test_require_allowed_realm_refuses_others(realm: str, endpoint: str, why: str) -> None:
    with pytest.raises(AccessDenied, match=why) as caught:
        require_allowed_realm(realm, endpoint, with_credentials=False)
    assert "pass@" not in caught.value.message


@pytest.mark.parametrize("endpoint", ["https://registry.example.com", "http://localhost:5000", "http://127.3.2.1"])
def test_require_secret_transport_takes_tls_and_loopback(endpoint: str) -> None:
    require_secret_transport(endpoint)


def test_require_secret_transport_refuses_plain_http() -> None:
    with pytest.raises(AccessDenied, match=r"password for registry\.example\.com:5000 is not sent over plain HTTP"):
        require_secret_transport("http://registry.example.com:5000")


@pytest.mark.parametrize(
    ("host", "private", "loopback"),
    [
        ("localhost", True, True),
        ("a.localhost", True, True),
        ("127.9.9.9", True, True),
        ("::1", True, True),
        ("192.168.0.1", True, False),
        ("8.8.8.8", False, False),
        ("example.com", False, False),
        ("localhost.example.com", False, False),
        ("", False, False),
    ],
)
def test_place_host(host: str, private: bool, loopback: bool) -> None:
    assert (is_private(host), is_loopback(host)) == (private, loopback)
