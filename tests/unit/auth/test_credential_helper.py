from __future__ import annotations

import time
from pathlib import Path

import pytest

from entrepot.auth.credential_helper import CredentialHelper, CredentialHelperFailed
from entrepot.auth.secret import Credentials, Secret

from .conftest import WriteHelper

BOB = Credentials("bob", Secret("hunter2"))
HOST = "registry.example.com"


def test_store_then_get_then_erase_credentials(write_helper: WriteHelper, environment: dict[str, str]) -> None:
    write_helper("keep")
    helper = CredentialHelper("keep", environment)
    assert helper.get(HOST) is None
    helper.store(HOST, BOB)
    assert helper.get(HOST) == BOB
    helper.erase(HOST)
    assert helper.get(HOST) is None
    helper.erase(HOST)


def test_store_identity_token_under_the_name_for_it(
    write_helper: WriteHelper, environment: dict[str, str], helpers: Path
) -> None:
    write_helper("keep")
    helper = CredentialHelper("keep", environment)
    helper.store(HOST, Credentials("bob", Secret("hunter2"), Secret("identity")))
    assert '"Username": "<token>", "Secret": "identity"' in (helpers / "calls").read_text()
    assert helper.get(HOST) == Credentials("", Secret(""), Secret("identity"))


@pytest.mark.parametrize(
    ("program", "text"),
    [
        pytest.param("print('locked\\x1b[0m'); sys.exit(1)", "locked", id="refusal"),
        pytest.param("sys.stderr.write('no display'); sys.exit(2)", "no display", id="refusal on stderr"),
        pytest.param("sys.exit(3)", "it ended with 3", id="silent refusal"),
        pytest.param("print('{')", "its answer is not the JSON of a credential helper", id="no JSON"),
        pytest.param("print('[1]')", "its answer is not the JSON of a credential helper", id="list"),
        pytest.param("print('{\"Username\": 1}')", "its answer is not the JSON", id="wrong types"),
    ],
)
def test_get_credentials_from_a_failing_helper_says_why(
    write_helper: WriteHelper, environment: dict[str, str], program: str, text: str
) -> None:
    write_helper("bad", program)
    with pytest.raises(CredentialHelperFailed, match=text) as caught:
        CredentialHelper("bad", environment).get(HOST)
    assert "docker-credential-bad" in caught.value.message
    assert "\x1b" not in caught.value.message


@pytest.mark.parametrize("name", ["absent", "../bin/sh", "a b", ""])
def test_get_credentials_from_an_absent_helper_fails(environment: dict[str, str], name: str) -> None:
    with pytest.raises(CredentialHelperFailed, match="it is not installed, or not in the PATH"):
        CredentialHelper(name, environment).get(HOST)


def test_get_credentials_from_a_helper_that_cannot_be_run_fails(helpers: Path, environment: dict[str, str]) -> None:
    (helpers / "docker-credential-broken").write_text("#!/nonexistent/interpreter\n")
    (helpers / "docker-credential-broken").chmod(0o755)
    with pytest.raises(CredentialHelperFailed, match="No such file"):
        CredentialHelper("broken", environment).get(HOST)


def test_get_credentials_from_a_hanging_helper_ends(write_helper: WriteHelper, environment: dict[str, str]) -> None:
    write_helper("slow", "import subprocess; subprocess.run(['sleep', '100'])")  # whose child holds on to its output
    began = time.monotonic()
    with pytest.raises(CredentialHelperFailed, match=r"it did not answer within 0\.5 s"):
        CredentialHelper("slow", environment, time_limit_seconds=0.5).get(HOST)
    assert time.monotonic() - began < 60


def test_get_credentials_without_secret_is_nobody(write_helper: WriteHelper, environment: dict[str, str]) -> None:
    write_helper("empty", "print(json.dumps({'ServerURL': message, 'Username': '', 'Secret': ''}))")
    assert CredentialHelper("empty", environment).get(HOST) is None
