from __future__ import annotations

import pytest

from entrepot.errors import ConfigInvalid
from entrepot.transport.proxies import Proxies

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        pytest.param({}, "https://r.example/", None, id="none"),
        pytest.param({"HTTPS_PROXY": PROXY}, "https://r.example/", PROXY, id="https"),
        pytest.param({"https_proxy": PROXY}, "https://r.example/", PROXY, id="lower case"),
        pytest.param({"HTTPS_PROXY": PROXY}, "http://r.example/", None, id="of the other scheme"),
        pytest.param({"HTTP_PROXY": PROXY}, "http://r.example/", PROXY, id="http"),
        pytest.param({"ALL_PROXY": PROXY}, "https://r.example/", PROXY, id="all"),
        pytest.param({"ALL_PROXY": "http://x", "HTTP_PROXY": PROXY}, "http://r.example/", PROXY, id="own before all"),
        pytest.param({"HTTP_PROXY": PROXY, "http_proxy": "http://x"}, "http://r.example/", PROXY, id="upper first"),
        pytest.param({"HTTP_PROXY": "", "http_proxy": PROXY}, "http://r.example/", PROXY, id="empty counts as none"),
        pytest.param({"HTTP_PROXY": "proxy.example:3128"}, "http://r.example/", PROXY, id="no scheme"),
        pytest.param(
            {"HTTPS_PROXY": "https://me:pw@proxy.example"}, "https://r/", "https://me:pw@proxy.example", id="login"
        ),
        pytest.param({"ALL_PROXY": PROXY}, "http://localhost:5000/", None, id="localhost"),
        pytest.param({"ALL_PROXY": PROXY}, "https://127.0.0.9/", None, id="loopback"),
        pytest.param({"ALL_PROXY": PROXY}, "https://[::1]:5000/", None, id="loopback of IPv6"),
        pytest.param({"ALL_PROXY": PROXY}, "https://r.localhost/", None, id="name below localhost"),
    ],
)
def test_call_gives_proxy_of_the_environment(environment: dict[str, str], url: str, proxy: str | None) -> None:
    assert Proxies(environment)(url) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_direct"),
    [
        pytest.param("r.example", "https://r.example/", True, id="host"),
        pytest.param("R.Example", "https://r.EXAMPLE/", True, id="in capitals"),
        pytest.param("r.example", "https://a.r.example/", True, id="below it"),
        pytest.param("r.example", "https://other.example/", False, id="another"),
        pytest.param("r.example", "https://myr.example/", False, id="ends the same"),
        pytest.param(".example", "https://r.example/", True, id="suffix"),
        pytest.param(".r.example", "https://r.example/", False, id="suffix is not itself"),
        pytest.param("*.example", "https://r.example/", True, id="suffix with a star"),
        pytest.param("*", "https://r.example/", True, id="everything"),
        pytest.param("a, r.example ,b", "https://r.example/", True, id="in a list with blanks"),
        pytest.param("r.example:5000", "https://r.example:5000/", True, id="port"),
        pytest.param("r.example:5000", "https://r.example/", False, id="another port"),
        pytest.param("r.example:443", "https://r.example/", True, id="port of the scheme"),
        pytest.param("10.1.2.3", "https://10.1.2.3/", True, id="address"),
        pytest.param("10.1.2.3:5000", "https://10.1.2.3:5000/", True, id="address and port"),
        pytest.param("10.1.2.3:5000", "https://10.1.2.3/", False, id="address and another port"),
        pytest.param("10.0.0.0/8", "https://10.1.2.3/", True, id="network"),
        pytest.param("10.0.0.1/8", "https://10.1.2.3/", True, id="network by one of its addresses"),
        pytest.param("10.0.0.0/8", "https://11.1.2.3/", False, id="another network"),
        pytest.param("10.0.0.0/8", "https://r.example/", False, id="names are not looked up"),
        pytest.param("fd00::/8", "https://[fd00::1]/", True, id="network of IPv6"),
        pytest.param("fd00::1", "https://[fd00::1]:5000/", True, id="address of IPv6"),
        pytest.param("[fd00::1]:5000", "https://[fd00::1]:5000/", True, id="address of IPv6 and port"),
        pytest.param("0.0.0.0/0", "https://[fd00::1]/", False, id="other version"),
        pytest.param(",,", "https://r.example/", False, id="commas"),
        pytest.param("r.example.", "https://r.example/", True, id="dot at the end"),
    ],
)
def test_call_for_exception_gives_no_proxy(no_proxy: str, url: str, is_direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert Proxies({"ALL_PROXY": PROXY, name: no_proxy})(url) == (None if is_direct else PROXY)


@pytest.mark.parametrize("value", ["socks5://proxy.example:1080", "http://", "http://proxy:port", "http://[::1"])
def test_make_proxies_of_unusable_address_is_refused(value: str) -> None:
    with pytest.raises(ConfigInvalid, match="https_proxy: expected the address of an http or https proxy"):
        Proxies({"https_proxy": value})


def test_make_proxies_of_unusable_address_shows_no_password() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        Proxies({"ALL_PROXY": "socks5://me:secret@proxy.example"})

    assert "secret" not in caught.value.message
