"""Where redirects may lead, and what goes along."""

from __future__ import annotations

import pytest

from entrepot.errors import AccessDenied
from entrepot.transport.base import Body, Request
from entrepot.transport.redirects import beside, redirected, resolved

SECRET = {"authorization": "Bearer secret", "cookie": "secret", "x-api-key": "secret"}
HARMLESS = {"accept": "*/*", "range": "bytes=5-", "if-range": '"tag"', "user-agent": "entrepot"}


def go(location: str, *, base: str = "https://registry.test/v2/app/blobs/x", status: int = 307) -> Request:
    return redirected(Request("GET", base, {**SECRET, **HARMLESS}), status, location)


@pytest.mark.parametrize(
    "location",
    [
        "https://cdn.test/blob?sig=abc",
        "https://registry.test:8443/blob",
        "https://sub.registry.test/blob",
        "//cdn.test/blob",
        "https://registry.test.evil.test/blob",
    ],
    ids=["host", "port", "subdomain", "no_scheme", "lookalike"],
)
def test_redirect_to_another_place_takes_no_secret_along(location: str) -> None:
    assert go(location).headers == HARMLESS


@pytest.mark.parametrize(
    "location", ["/v2/other", "other", "https://registry.test/v2/x", "https://registry.test:443/x", "?again=1"]
)
def test_redirect_within_a_place_keeps_everything(location: str) -> None:
    assert go(location).headers == {**SECRET, **HARMLESS}


def test_redirect_from_http_to_https_takes_no_secret_along() -> None:
    assert go("https://registry.test/x", base="http://registry.test/x").headers == HARMLESS


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://cdn.test/x", "only http and https"),
        ("gopher://cdn.test/x", "only http and https"),
        ("javascript:alert(1)", "only http and https"),
        ("http://registry.test/x", "leave TLS"),
        ("http://cdn.test/x", "leave TLS"),
        ("https://me:secret@cdn.test/x", "login in it"),
        ("https://127.0.0.1/x", "private network"),
        ("https://localhost:8443/x", "private network"),
        ("https://[::1]/x", "private network"),
        ("https://[::ffff:127.0.0.1]/x", "private network"),
        ("https://10.1.2.3/x", "private network"),
        ("https://192.168.0.1/x", "private network"),
        ("https://169.254.169.254/latest/meta-data", "private network"),
        ("https://0x7f000001/x", "private network"),
        ("https://2130706433/x", "private network"),
        ("https://127.1/x", "private network"),
    ],
)
def test_redirect_where_a_registry_has_no_business_is_refused(location: str, why: str) -> None:
    with pytest.raises(AccessDenied, match=why) as caught:
        go(location)
    assert "secret" not in str(caught.value)
    assert caught.value.detail["registry"] == "registry.test"


@pytest.mark.parametrize("location", ["https://[::1/x", "https://cdn.test:port/x", "https://cdn.test:99999/x"])
def test_redirect_to_no_address_is_refused(location: str) -> None:
    with pytest.raises(AccessDenied, match="no address"):
        go(location)


@pytest.mark.parametrize(
    ("base", "location", "is_allowed"),
    [
        ("http://127.0.0.1:5000/x", "http://127.0.0.1:9000/y", True),
        ("http://localhost:5000/x", "http://10.0.0.1/y", True),
        ("http://10.0.0.1:5000/x", "http://10.0.0.2:9000/y", True),
        ("http://10.0.0.1:5000/x", "http://cdn.test/y", True),
        ("http://10.0.0.1:5000/x", "http://127.0.0.1:9000/y", False),
        ("http://10.0.0.1:5000/x", "http://169.254.169.254/y", False),
    ],
)
def test_redirect_leads_into_no_smaller_circle(base: str, location: str, is_allowed: bool) -> None:
    if is_allowed:
        assert go(location, base=base).url == location
    else:
        with pytest.raises(AccessDenied):
            go(location, base=base)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_of_upload_keeps_method_and_body(status: int) -> None:
    body = Body.of(b"content")
    moved = redirected(Request("PUT", "https://registry.test/a", {}, body), status, "/b")
    assert (moved.method, moved.url, moved.body) == ("PUT", "https://registry.test/b", body)


def test_redirect_303_of_upload_is_read() -> None:
    moved = redirected(Request("POST", "https://registry.test/a", {}, Body.of(b"x")), 303, "/b")
    assert (moved.method, moved.body) == ("GET", None)


def test_redirect_drops_the_fragment() -> None:
    assert go("https://cdn.test/x?y=1#z").url == "https://cdn.test/x?y=1"


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("/v2/_catalog?last=a&n=1", "/v2/_catalog?last=a&n=1"),
        ("?last=a", "/v2/_catalog?last=a"),
        ("http://registry.test/v2/_catalog?token=x", "/v2/_catalog?token=x"),
    ],
    ids=["path", "query", "other_scheme"],
)
def test_beside_gives_path_and_query(link: str, expected: str) -> None:
    assert beside("https://registry.test/v2/_catalog?n=1", link) == expected


@pytest.mark.parametrize("link", ["https://evil.test/v2/_catalog", "//evil.test/x", "http://[::1/"])
def test_beside_on_another_host_is_refused(link: str) -> None:
    with pytest.raises(AccessDenied):
        beside("https://registry.test/v2/_catalog", link)


def test_resolved_shows_no_more_than_needed_of_what_is_no_address() -> None:
    with pytest.raises(AccessDenied) as caught:
        resolved("https://registry.test", "https://[" + "x" * 10_000)
    assert len(str(caught.value)) < 400
