from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.errors import ConfigInvalid
from entrepot.transport.hosts_toml import CAPABILITIES, Host, HostsFile, find_certificates, find_hosts_file
from entrepot.transport.tls import ClientCertificate


def write(root: Path, name: str, text: str) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(text, "utf-8")
    return folder


def parse(root: Path, text: str) -> HostsFile:
    write(root, "registry.example", text)
    found = find_hosts_file([root], "registry.example")
    assert found is not None
    return found


def test_find_hosts_file_reads_every_key(tmp_path: Path) -> None:
    found = parse(
        tmp_path,
        """
        server = "https://main.example:8443"
        ca = "main.crt"
        skip_verify = true

        [host."https://mirror.example"]
          capabilities = ["pull", "resolve"]
          ca = ["a.crt", "/etc/b.crt"]
          client = [["client.cert", "client.key"], ["both.pem", ""]]
          dial_timeout = "5s"
          [host."https://mirror.example".header]
            X-One = "1"
            x-two = ["2", "3"]

        [host."http://second.example:5000"]
        """,
    )
    folder = tmp_path / "registry.example"

    assert found.server == Host(base_url="https://main.example:8443", ca_files=(folder / "main.crt",), verify=False)
    assert found.mirrors == (
        Host(
            base_url="https://mirror.example",
            capabilities=frozenset({"pull", "resolve"}),
            ca_files=(folder / "a.crt", Path("/etc/b.crt")),
            client_certificates=(
                ClientCertificate(folder / "client.cert", folder / "client.key"),
                ClientCertificate(folder / "both.pem"),
            ),
            headers={"x-one": "1", "x-two": "2, 3"},
        ),
        Host(base_url="http://second.example:5000"),
    )


@pytest.mark.parametrize(
    ("host", "overrides", "base_url", "prefix"),
    [
        pytest.param("https://m.example", False, "https://m.example", "", id="host alone"),
        pytest.param("m.example:5000", False, "https://m.example:5000", "", id="no scheme"),
        pytest.param("https://m.example/", False, "https://m.example", "", id="slash"),
        pytest.param("https://m.example/v2", False, "https://m.example", "", id="with the API"),
        pytest.param("https://m.example/docker", False, "https://m.example/docker", "", id="below a path"),
        pytest.param("https://m.example/v2/proxy", True, "https://m.example", "proxy/", id="prefix"),
        pytest.param("https://m.example/a/v2/b/c/", True, "https://m.example/a", "b/c/", id="path and prefix"),
        pytest.param("https://m.example/v2", True, "https://m.example", "", id="the API itself"),
        pytest.param("http://[fd00::1]:5000", False, "http://[fd00::1]:5000", "", id="IPv6"),
    ],
)
def test_find_hosts_file_splits_address(tmp_path: Path, host: str, overrides: bool, base_url: str, prefix: str) -> None:
    found = parse(tmp_path, f'[host."{host}"]\noverride_path = {str(overrides).lower()}\n')

    assert (found.mirrors[0].base_url, found.mirrors[0].prefix) == (base_url, prefix)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param('"a.pem"', [("a.pem", None)], id="a file"),
        pytest.param('["a.pem", "b.pem"]', [("a.pem", None), ("b.pem", None)], id="files"),
        pytest.param('[["a.cert", "a.key"]]', [("a.cert", "a.key")], id="pair"),
        pytest.param('["a.pem", ["b.cert", "b.key"]]', [("a.pem", None), ("b.cert", "b.key")], id="both"),
    ],
)
def test_find_hosts_file_reads_client_certificates(
    tmp_path: Path, value: str, expected: list[tuple[str, str | None]]
) -> None:
    folder = tmp_path / "registry.example"
    found = parse(tmp_path, f'[host."https://m.example"]\nclient = {value}\n').mirrors[0]

    assert found.client_certificates == tuple(
        ClientCertificate(folder / certificate, folder / key if key else None) for certificate, key in expected
    )


@pytest.mark.parametrize("capabilities", ["", "capabilities = []"])
def test_find_hosts_file_without_capabilities_has_all(tmp_path: Path, capabilities: str) -> None:
    assert parse(tmp_path, f'[host."https://m"]\n{capabilities}').mirrors[0].capabilities == CAPABILITIES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("server = 5", "server: expected a string, got 5", id="server"),
        pytest.param('server = "ftp://x"', "server: expected an address such as https://mirror", id="scheme"),
        pytest.param('[host."https://"]', "expected an address such as https://mirror", id="no host"),
        pytest.param('[host."https://u:p@m"]', "expected an address such as https://mirror", id="login"),
        pytest.param('[host."https://m/x"]\noverride_path = true', "expected a path with /v2 in it", id="no API"),
        pytest.param("host = 5", "host: expected a table, got 5", id="host"),
        pytest.param('[host]\n"https://m" = 5', 'host."https://m": expected|host.https://m: expected', id="entry"),
        pytest.param(
            '[host."https://m.x"]\nskip_verify = "yes"',
            "host.\"https://m.x\".skip_verify: expected true or false, got 'yes'",
            id="flag",
        ),
        pytest.param('[host."https://m"]\ncapabilities = ["fly"]', "capabilities: expected some of", id="capability"),
        pytest.param('[host."https://m"]\ncapabilities = [1]', "capabilities: expected a list of", id="number"),
        pytest.param('[host."https://m"]\nca = {}', "ca: expected a list of strings", id="ca"),
        pytest.param('[host."https://m"]\nclient = 5', "client: expected a file, a list of", id="client"),
        pytest.param('[host."https://m"]\nclient = [["a", "b", "c"]]', "client: expected a file", id="three files"),
        pytest.param('[host."https://m".header]\nx = 5', "header.x: expected a list of strings", id="header"),
        pytest.param("= 5", "expected TOML: ", id="no TOML"),
    ],
)
def test_find_hosts_file_with_wrong_value_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse(tmp_path, text)

    assert caught.value.message.startswith(f"{tmp_path / 'registry.example' / 'hosts.toml'}: ")
    assert any(part in caught.value.message for part in message.split("|"))


def test_find_hosts_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "registry.example").mkdir()
    (tmp_path / "registry.example" / "hosts.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigInvalid, match="expected TOML in UTF-8"):
        find_hosts_file([tmp_path], "registry.example")


@pytest.mark.parametrize(
    ("folder", "domain", "is_found"),
    [
        pytest.param("r.example", "r.example", True, id="host"),
        pytest.param("r.example:5000", "r.example:5000", True, id="host and port"),
        pytest.param("r.example_5000_", "r.example:5000", True, id="port without a colon"),
        pytest.param("_default", "r.example", True, id="default"),
        pytest.param("_default", "r.example:5000", True, id="default with a port"),
        pytest.param("r.example", "r.example:5000", False, id="another port"),
        pytest.param("r.example:5000", "r.example", False, id="no port"),
        pytest.param("[fd00--1]", "[fd00::1]", False, id="another host"),
    ],
)
def test_find_hosts_file_looks_for_folder(tmp_path: Path, folder: str, domain: str, is_found: bool) -> None:
    write(tmp_path, folder, 'server = "https://found.example"')

    assert (find_hosts_file([tmp_path], domain) is not None) is is_found


def test_find_hosts_file_takes_the_first_folder_and_default_last(tmp_path: Path) -> None:
    write(tmp_path / "one", "_default", 'server = "https://default.example"')
    write(tmp_path / "two", "r.example", 'server = "https://two.example"')
    write(tmp_path / "three", "r.example", 'server = "https://three.example"')
    folders = [tmp_path / "none", tmp_path / "one", tmp_path / "two", tmp_path / "three"]
    found = find_hosts_file(folders, "r.example")

    assert found is not None
    assert found.server == Host(base_url="https://two.example")


def touch(root: Path, folder: str, *names: str) -> Path:
    (root / folder).mkdir(parents=True)
    for name in names:
        (root / folder / name).touch()
    return root / folder


def test_find_certificates_sorts_files_by_their_names(tmp_path: Path) -> None:
    folder = touch(tmp_path, "r.example:5000", "b.crt", "a.crt", "me.cert", "me.key", "you.cert", "you.key", "README")

    assert find_certificates([tmp_path], "r.example:5000") == (
        (folder / "a.crt", folder / "b.crt"),
        (
            ClientCertificate(folder / "me.cert", folder / "me.key"),
            ClientCertificate(folder / "you.cert", folder / "you.key"),
        ),
    )


def test_find_certificates_takes_first_folder_that_has_any(tmp_path: Path) -> None:
    touch(tmp_path / "one", "r.example", "README")
    two = touch(tmp_path / "two", "r.example", "a.crt")
    touch(tmp_path / "three", "r.example", "b.crt")
    folders = [tmp_path / name for name in ("none", "one", "two", "three")]

    assert find_certificates(folders, "r.example") == ((two / "a.crt",), ())
    assert find_certificates(folders, "r.example:443") == ((two / "a.crt",), ())
    assert find_certificates(folders, "r.example:444") == ((), ())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("me.cert", "expected me.key beside it; certificates of authorities end with .crt", id="no key"),
        pytest.param("me.key", "expected me.cert beside it", id="no certificate"),
    ],
)
def test_find_certificates_without_their_other_half_is_refused(tmp_path: Path, name: str, message: str) -> None:
    folder = touch(tmp_path, "r.example", name)
    with pytest.raises(ConfigInvalid) as caught:
        find_certificates([tmp_path], "r.example")

    assert caught.value.message == f"{folder / name}: {message}"
