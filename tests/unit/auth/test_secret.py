from __future__ import annotations

import pickle

import pytest

from entrepot.auth.secret import Credentials, Secret, basic


def test_print_secret_shows_stars() -> None:
    credentials = Credentials("bob", Secret("hunter2"), Secret("identity"))
    shown = f"{credentials} {credentials!r} {credentials.password} {credentials.password!r} {[credentials]}"
    assert "hunter2" not in shown
    assert "identity" not in shown.replace("identity_token", "")
    assert "***" in shown


def test_reveal_secret_gives_the_text() -> None:
    assert Secret("hunter2").reveal() == "hunter2"


def test_compare_secrets_by_text() -> None:
    assert Secret("a") == Secret("a")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"
    assert not Secret("")


def test_pickle_secret_is_refused() -> None:
    with pytest.raises(TypeError, match="not to be written"):
        pickle.dumps(Secret("a"))


@pytest.mark.parametrize(
    ("username", "password", "header"),
    [
        ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 7617, 2
        ("test", "123£", "Basic dGVzdDoxMjPCow=="),  # RFC 7617, 2.1
    ],
    ids=["ascii", "utf-8"],
)
def test_encode_basic_as_the_rfc_has_it(username: str, password: str, header: str) -> None:
    assert basic(Credentials(username, Secret(password))) == header
