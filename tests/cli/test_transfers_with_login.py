"""Pull and push at registries with logins: tokens that run out in the middle, scopes that are refused, passwords."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from entrepot.reference import ImageReference
from entrepot.testing.images import build_image
from entrepot.testing.server import RegistryProcess
from entrepot.testing.token_guard import Rules
from entrepot.testing.token_server import GuardedRegistry
from tests.cli.conftest import Entrepot, Publish

IMAGE = build_image(6, seed=77)

Guard = Callable[..., GuardedRegistry]


@pytest.fixture
def name() -> str:
    return f"private/app-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def guard(registry: RegistryProcess) -> Iterator[Guard]:
    """Starts a registry with logins that has the same content as ``registry``."""
    with ExitStack() as stack:
        yield lambda **rules: stack.enter_context(GuardedRegistry(registry.host, Rules(**rules)))


def log_in(home: Path, domain: str, password: str = "hunter2", **fields: str) -> None:
    folder = home / ".docker"
    folder.mkdir(exist_ok=True)
    auth = base64.b64encode(f"bob:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {domain: {"auth": auth, **fields}}}))


def at(registry: GuardedRegistry, reference: ImageReference) -> str:
    """The same image by the guarded registry's name."""
    return f"{registry.host}/{reference.path}:{reference.tag}"


@pytest.fixture
def pulled(entrepot: Entrepot, publish: Publish, name: str) -> ImageReference:
    """An image that is in the registry, under another name than it will be pushed to, and in the image store."""
    reference = publish(IMAGE, f"{name}-origin", "v1")
    assert entrepot("pull", str(reference)).code == 0
    return reference


VARIANTS: list[Any] = [
    pytest.param({}, 4, id="bearer"),
    pytest.param({"scheme": "basic"}, 4, id="basic"),
    pytest.param({"uses": 1}, 1, id="each token once"),
    pytest.param({"uses": 5}, 4, id="each token five times"),
    pytest.param({"lifetime_seconds": 3}, 4, id="three seconds"),
]


@pytest.mark.parametrize(("rules", "parallel"), VARIANTS)
def test_pull_with_login(
    entrepot: Entrepot, publish: Publish, guard: Guard, home: Path, name: str, rules: dict[str, Any], parallel: int
) -> None:
    registry = guard(**rules)
    log_in(home, registry.host)
    done = entrepot("pull", "--parallel", str(parallel), at(registry, publish(IMAGE, name, "v1")))
    assert (done.code, done.err) == (0, "")
    assert f"Digest: {IMAGE.manifest.digest}" in done.lines


@pytest.mark.parametrize(("rules", "parallel"), VARIANTS)
def test_push_with_login(
    entrepot: Entrepot,
    pulled: ImageReference,
    guard: Guard,
    home: Path,
    name: str,
    rules: dict[str, Any],
    parallel: int,
) -> None:
    registry = guard(**rules)
    log_in(home, registry.host)
    entrepot("tag", str(pulled), f"{registry.host}/{name}:v1")
    done = entrepot("push", "--parallel", str(parallel), f"{registry.host}/{name}:v1")
    assert (done.code, done.err) == (0, "")
    assert done.lines[-1] == f"v1: digest: {IMAGE.manifest.digest} size: {IMAGE.manifest.size}"


def test_pull_as_nobody_asks_for_one_token(entrepot: Entrepot, publish: Publish, guard: Guard, name: str) -> None:
    registry = guard(anonymous=frozenset({"pull"}))
    assert entrepot("pull", at(registry, publish(IMAGE, name, "v1"))).code == 0
    [call] = registry.token_calls
    assert dict(call.fields) == {"service": [registry.host], "scope": [f"repository:{name}:pull"]}


def test_push_in_parallel_asks_for_one_token(
    entrepot: Entrepot, pulled: ImageReference, guard: Guard, home: Path, name: str
) -> None:
    registry = guard()
    log_in(home, registry.host)
    entrepot("tag", str(pulled), f"{registry.host}/{name}:v1")
    assert entrepot("push", f"{registry.host}/{name}:v1").code == 0
    asked = Counter(tuple(call.fields["scope"]) for call in registry.token_calls)
    assert set(asked.values()) == {1}
    assert len(asked) <= 2  # to look, and to write


def test_pull_with_an_identity_token_posts_it(
    entrepot: Entrepot, publish: Publish, guard: Guard, home: Path, name: str
) -> None:
    registry = guard(refresh_tokens=True)
    assert entrepot("login", "-u", "bob", "-p", "hunter2", registry.host).code == 0
    assert entrepot("pull", at(registry, publish(IMAGE, name, "v1"))).code == 0
    login, pull = registry.token_calls
    assert (login.method, pull.method) == ("GET", "POST")
    assert pull.user == "bob"


@pytest.mark.parametrize(
    ("rules", "password", "text"),
    [
        pytest.param({}, None, "unauthorized: authentication required", id="nobody"),
        pytest.param({"scheme": "basic"}, None, "no basic auth credentials", id="nobody, basic"),
        pytest.param({}, "wrong", "unauthorized: incorrect username or password", id="wrong password"),
        pytest.param({"scheme": "basic"}, "wrong", "unauthorized: incorrect username or password", id="wrong, basic"),
    ],
)
def test_pull_without_the_right_login_fails(
    entrepot: Entrepot,
    publish: Publish,
    guard: Guard,
    home: Path,
    name: str,
    rules: dict[str, Any],
    password: str | None,
    text: str,
) -> None:
    registry = guard(**rules)
    if password:
        log_in(home, registry.host, password)
    done = entrepot("pull", at(registry, publish(IMAGE, name, "v1")))
    assert done.code == 1
    assert text in done.err
    assert len(registry.requests) <= 4
    assert "wrong" not in done.err


def test_push_where_one_may_only_read_is_denied(
    entrepot: Entrepot, pulled: ImageReference, guard: Guard, home: Path, name: str
) -> None:
    registry = guard(denied=frozenset({name}))
    log_in(home, registry.host)
    entrepot("tag", str(pulled), f"{registry.host}/{name}:v1")
    done = entrepot("push", f"{registry.host}/{name}:v1")
    assert done.code == 1
    assert "denied: requested access to the resource is denied" in done.err


def test_push_where_the_mount_s_source_is_hidden_uploads(
    entrepot: Entrepot, publish: Publish, guard: Guard, home: Path, name: str
) -> None:
    origin = publish(IMAGE, f"{name}-origin", "v1")
    registry = guard()
    log_in(home, registry.host)
    entrepot("pull", at(registry, origin))
    entrepot("tag", at(registry, origin), f"{registry.host}/{name}:v1")
    registry.guard.rules = Rules(hidden=frozenset({str(origin.path)}))
    assert entrepot("push", f"{registry.host}/{name}:v1").code == 0
    assert any("from=" in path for _, path, status in registry.requests if status == 401)


def test_pull_with_a_missing_credential_helper_goes_on_as_nobody(
    entrepot: Entrepot, publish: Publish, guard: Guard, home: Path, name: str
) -> None:
    registry = guard(anonymous=frozenset({"pull"}))
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text('{"credsStore": "desktop"}')
    done = entrepot("pull", at(registry, publish(IMAGE, name, "v1")))
    assert done.code == 0
    assert done.err.count("docker-credential-desktop") == 1


def test_pull_with_a_slow_credential_helper_does_not_hold_the_others_up(
    entrepot: Entrepot, publish: Publish, guard: Guard, home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked once, however many requests are on their way."""
    registry = guard()
    calls = home / "calls"
    helper = home / "docker-credential-slow"
    answer = json.dumps({"ServerURL": registry.host, "Username": "bob", "Secret": "hunter2"})
    helper.write_text(f"#!/bin/sh\necho $1 >> {calls}\ncat > /dev/null\necho '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(json.dumps({"credHelpers": {registry.host: "slow"}}))
    assert entrepot("pull", at(registry, publish(IMAGE, name, "v1"))).code == 0
    assert calls.read_text() == "get\n"


@pytest.mark.parametrize(
    ("realm", "text"),
    [
        ("http://192.0.2.1/token", "on another host it has to be https"),
        ("file:///etc/passwd", "expected an address that begins with https://"),
    ],
    ids=["plain http elsewhere", "file"],
)
def test_pull_with_a_realm_elsewhere_sends_no_password(
    entrepot: Entrepot, publish: Publish, guard: Guard, home: Path, name: str, realm: str, text: str
) -> None:
    registry = guard(realm=realm)
    log_in(home, registry.host)
    began = time.monotonic()
    done = entrepot("pull", at(registry, publish(IMAGE, name, "v1")))
    assert done.code == 1
    assert f"{registry.host} wants a login at" in done.err
    assert time.monotonic() - began < 60  # nothing was tried, again and again


def test_pull_with_logins_for_two_paths_takes_each_its_own(
    entrepot: Entrepot, publish: Publish, guard: Guard, home: Path, tmp_path: Path, name: str
) -> None:
    """As podman's auth.json has it; docker knows one login for a registry only."""
    registry = guard(users={"bob": "hunter2", "eve": "apple"})
    logins = {
        f"{registry.host}/{name}": {"auth": base64.b64encode(b"eve:apple").decode()},
        registry.host: {"auth": base64.b64encode(b"bob:hunter2").decode()},
    }
    authfile = tmp_path / "auth.json"
    authfile.write_text(json.dumps({"auths": logins}))
    for reference in (publish(IMAGE, name, "v1"), publish(IMAGE, f"{name}-2", "v1")):
        assert entrepot("pull", "--authfile", str(authfile), at(registry, reference)).code == 0
    assert [call.user for call in registry.token_calls] == ["eve", "bob"]
