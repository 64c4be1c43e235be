"""``entrepot login`` and ``logout`` against registries with logins, over sockets."""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entrepot.cli.main import run
from entrepot.testing.server import RegistryProcess
from entrepot.testing.token_guard import Rules
from entrepot.testing.token_server import GuardedRegistry

BEARER, BASIC, REFRESH = Rules(), Rules(scheme="basic"), Rules(refresh_tokens=True)
UNENCRYPTED = """
WARNING! Your credentials are stored unencrypted in '{file}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/

"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def guarded(registry: RegistryProcess, request: pytest.FixtureRequest) -> Iterator[GuardedRegistry]:
    with GuardedRegistry(registry.host, getattr(request, "param", BEARER)) as server:
        yield server


def at(*rules: Rules) -> pytest.MarkDecorator:
    names = [f"{each.scheme}{' refresh' if each.refresh_tokens else ''}" for each in rules]
    return pytest.mark.parametrize("guarded", rules, indirect=True, ids=names)


def config(home: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((home / ".docker" / "config.json").read_text())
    return settings


def write_config(home: Path, **settings: Any) -> None:
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker" / "config.json").write_text(json.dumps(settings))


def entry(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def give_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


class TestLogin:
    @at(BEARER, BASIC)
    @pytest.mark.parametrize("content", [b"hunter2", b"hunter2\n", b"hunter2\r\n"], ids=["bare", "unix", "windows"])
    def test_log_in_with_password_from_stdin_keeps_it(
        self,
        home: Path,
        guarded: GuardedRegistry,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        content: bytes,
    ) -> None:
        give_stdin(monkeypatch, content)
        assert run(["login", "-u", "bob", "--password-stdin", guarded.host]) == 0
        captured = capsys.readouterr()
        assert captured.out == "Login Succeeded\n"
        assert captured.err == UNENCRYPTED.format(file=home / ".docker" / "config.json")
        assert config(home) == {"auths": {guarded.host: entry("bob", "hunter2")}}

    def test_log_in_with_password_flag_warns(
        self, guarded: GuardedRegistry, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["login", "-u", "bob", "-p", "hunter2", f"http://{guarded.host}/v2/"]) == 0
        warning = "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n"
        assert capsys.readouterr().err.startswith(warning)

    @at(REFRESH)
    def test_log_in_at_a_registry_with_identity_tokens_keeps_no_password(
        self, home: Path, guarded: GuardedRegistry
    ) -> None:
        assert run(["login", "-u", "bob", "-p", "hunter2", guarded.host]) == 0
        [kept] = config(home)["auths"].values()
        assert kept.keys() == {"auth", "identitytoken"}
        assert kept["auth"] == entry("bob", "")["auth"]
        [call] = guarded.token_calls
        assert dict(call.fields) == {
            "account": ["bob"],
            "client_id": ["entrepot"],
            "offline_token": ["true"],
            "service": [guarded.host],
        }

    @at(REFRESH)
    def test_log_in_again_with_an_identity_token_uses_it(
        self, guarded: GuardedRegistry, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(["login", "-u", "bob", "-p", "hunter2", guarded.host])
        capsys.readouterr()
        assert run(["login", guarded.host]) == 0
        captured = capsys.readouterr()
        assert captured.err == "Authenticating with existing credentials... [Username: bob]\n"
        assert captured.out == "Login Succeeded\n"
        assert [call.method for call in guarded.token_calls] == ["GET", "POST"]

    @pytest.mark.parametrize(
        ("guarded", "text"),
        [
            (BEARER, 'Get "http://{host}/v2/": unauthorized: incorrect username or password'),
            (BASIC, "login attempt to http://{host}/v2/ failed with status: 401 Unauthorized"),
        ],
        indirect=["guarded"],
        ids=["bearer", "basic"],
    )
    def test_log_in_with_a_wrong_password_fails_and_keeps_nothing(
        self, home: Path, guarded: GuardedRegistry, capsys: pytest.CaptureFixture[str], text: str
    ) -> None:
        assert run(["login", "-u", "bob", "-p", "wrong-one", guarded.host]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert f"Error: {text.format(host=guarded.host)}\n" in captured.err
        assert "wrong-one" not in captured.err
        assert not (home / ".docker").exists()

    def test_log_in_at_an_open_registry_succeeds(
        self, registry: RegistryProcess, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["login", "-u", "bob", "-p", "any", registry.host]) == 0
        assert capsys.readouterr().out == "Login Succeeded\n"

    def test_log_in_where_nobody_listens_fails(self, capsys: pytest.CaptureFixture[str], home: Path) -> None:
        assert run(["login", "-u", "bob", "-p", "any", "127.0.0.1:1"]) == 1
        assert "refused" in capsys.readouterr().err
        assert not (home / ".docker").exists()

    def test_log_in_with_a_broken_config_fails_and_names_it(
        self, home: Path, guarded: GuardedRegistry, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_config(home)
        (home / ".docker" / "config.json").write_text("{")
        assert run(["login", "-u", "bob", "-p", "hunter2", guarded.host]) == 1
        assert f"Error: {home}/.docker/config.json is not valid JSON" in capsys.readouterr().err

    def test_log_in_with_existing_credentials_that_are_wrong_asks_again(
        self, home: Path, guarded: GuardedRegistry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_config(home, auths={guarded.host: entry("bob", "old")})
        give_stdin(monkeypatch, b"")
        assert run(["login", guarded.host]) == 1
        assert capsys.readouterr().err.splitlines() == [
            "Authenticating with existing credentials... [Username: bob]",
            f'Login did not succeed, error: Get "{guarded.url}/v2/": unauthorized: incorrect username or password',
            "Error: cannot perform an interactive login from a non TTY device",
        ]

    @pytest.mark.parametrize(
        ("known", "question", "typed"),
        [(None, "Username: ", "bob"), ("bob", "Username (bob): ", "")],
        ids=["new", "known"],
    )
    def test_log_in_on_a_terminal_asks(
        self, home: Path, guarded: GuardedRegistry, known: str | None, question: str, typed: str
    ) -> None:
        if known:
            write_config(home, auths={guarded.host: entry(known, "old")})
        code, output = on_terminal(["login", guarded.host], (question, typed), ("Password: ", "hunter2"))
        assert "hunter2" not in output
        assert output.rstrip().endswith("Login Succeeded")
        assert code == 0
        assert config(home)["auths"] == {guarded.host: entry("bob", "hunter2")}

    @pytest.mark.parametrize(
        ("arguments", "code", "text"),
        [
            (["-p", "a", "--password-stdin"], 125, "--password and --password-stdin are mutually exclusive"),
            (["--password-stdin"], 125, "the --password-stdin option requires --username to be set"),
            (["-u", "", "-p", "a"], 1, "username is required"),
            (["-u", "a", "-p", ""], 1, "password is required"),
            (["-u", "a:b", "-p", "a"], 1, "a username has no colon"),
            (["-u", "a"], 1, "cannot perform an interactive login from a non TTY device"),
            ([], 1, "cannot perform an interactive login from a non TTY device"),
            (["--get-login"], 1, "not logged in to 127.0.0.1:1"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else None,
    )
    def test_log_in_with_half_a_login_fails(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        code: int,
        text: str,
    ) -> None:
        give_stdin(monkeypatch, b"")
        assert run(["login", *arguments, "127.0.0.1:1"]) == code
        assert f": {text}\n" in capsys.readouterr().err

    @pytest.mark.parametrize("server", ["a b", "-", "ex ample.com", "http://", "a..b"])
    def test_log_in_at_what_is_no_host_fails(self, capsys: pytest.CaptureFixture[str], server: str) -> None:
        assert run(["login", "-u", "bob", "-p", "x", "--", server]) == 1
        assert "invalid registry: expected HOST[:PORT]" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("key", "server"),
        [
            ("https://index.docker.io/v1/", []),
            ("https://index.docker.io/v1/", ["https://index.docker.io/v1/"]),
            ("docker.io", ["docker.io"]),
            ("registry", ["registry"]),
            ("registry:5000", ["http://registry:5000/v2/"]),
        ],
        ids=str,
    )
    def test_get_login_prints_the_user(
        self, home: Path, capsys: pytest.CaptureFixture[str], key: str, server: list[str]
    ) -> None:
        write_config(home, auths={key: entry("bob", "hunter2")})
        assert run(["login", "--get-login", *server]) == 0
        assert capsys.readouterr().out == "bob\n"


class TestLogout:
    def test_log_out_forgets_the_login(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_config(home, auths={"a.example.com": entry("bob", "x"), "b.example.com": entry("bob", "y")})
        assert run(["logout", "a.example.com"]) == 0
        assert capsys.readouterr().out == "Removing login credentials for a.example.com\n"
        assert config(home) == {"auths": {"b.example.com": entry("bob", "y")}}

    def test_log_out_twice_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["logout"]) == 0
        captured = capsys.readouterr()
        assert (captured.out, captured.err) == ("Not logged in to https://index.docker.io/v1/\n", "")

    def test_log_out_with_a_login_elsewhere_warns(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        auths = {"a.example.com": entry("bob", "x")}
        write_config(home, auths=auths)
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": auths}))
        assert run(["logout", "a.example.com"]) == 0
        expected = (
            "Warning: there still is a login for a.example.com in DOCKER_AUTH_CONFIG, which is used from now on\n"
        )
        assert capsys.readouterr().err == expected


def on_terminal(arguments: list[str], *answers: tuple[str, str]) -> tuple[int, str]:
    """Exit code and output of a command on a pseudo terminal, where each question gets its answer."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "entrepot", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,  # so that the password is not read from the terminal that runs the tests
    ) as process:
        os.close(theirs)
        output = b""
        for question, answer in answers:
            output += _read(ours, question.encode())
            os.write(ours, answer.encode() + b"\n")
        output += _read(ours)
    os.close(ours)
    return process.returncode, output.decode().replace("\r\n", "\n")


def _read(terminal: int, until: bytes | None = None) -> bytes:
    output = b""
    while until is None or until not in output:
        try:
            output += os.read(terminal, 4096)
        except OSError:  # Linux says so when the last process has gone
            break
    return output
