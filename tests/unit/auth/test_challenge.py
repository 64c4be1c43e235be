from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.auth.challenge import MAX_CHALLENGES, MAX_LENGTH, Challenge, parse_challenges

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("Basic", [Challenge("basic")], id="scheme alone"),
        pytest.param('BASIC REALM="x"', [Challenge("basic", {"realm": "x"})], id="case"),
        pytest.param(
            HUB,
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
            id="commas in quotes",
        ),
        pytest.param(
            'Basic realm="a", Bearer realm="b"',
            [Challenge("basic", {"realm": "a"}), Challenge("bearer", {"realm": "b"})],
            id="two",
        ),
        pytest.param(
            "Negotiate, Basic realm=x",
            [Challenge("negotiate"), Challenge("basic", {"realm": "x"})],
            id="first without parameters",
        ),
        pytest.param(
            "Negotiate YII+/==, Basic realm=x",
            [Challenge("negotiate"), Challenge("basic", {"realm": "x"})],
            id="token68",
        ),
        pytest.param(r'Basic realm="a \"b\" \\"', [Challenge("basic", {"realm": r'a "b" \ '.strip()})], id="escapes"),
        pytest.param(
            'Basic realm = "a" , charset = "UTF-8"',
            [Challenge("basic", {"realm": "a", "charset": "UTF-8"})],
            id="blanks",
        ),
        pytest.param(
            "Bearer realm=https://a/token,service=b",
            [Challenge("bearer", {"realm": "https://a/token", "service": "b"})],
            id="address without quotes",
        ),
        pytest.param(
            'Basic realm="a", realm="b"', [Challenge("basic", {"realm": "a"})], id="repeated: the first counts"
        ),
        pytest.param(',, Basic realm="a",,', [Challenge("basic", {"realm": "a"})], id="empty elements"),
    ],
)
def test_parse_challenges_reads_what_servers_send(text: str, expected: list[Challenge]) -> None:
    assert parse_challenges(text) == expected


@pytest.mark.parametrize(
    ("text", "schemes"),
    [
        pytest.param('realm="a"', [], id="parameter without scheme"),
        pytest.param('Bearer realm="a', ["bearer"], id="open quote"),
        pytest.param('"x" Basic realm="a"', ["basic"], id="quoted text in front"),
        pytest.param('@@@ Basic realm="a"', ["basic"], id="signs in front"),
        pytest.param("Bearer realm=", ["bearer"], id="no value"),
        pytest.param("Bearer \x00\x01é", ["bearer"], id="no text"),
    ],
)
def test_parse_challenges_passes_over_garbage(text: str, schemes: list[str]) -> None:
    assert [challenge.scheme for challenge in parse_challenges(text)] == schemes


def test_parse_challenges_is_bounded() -> None:
    assert len(parse_challenges("Basic, " * 1000)) == MAX_CHALLENGES
    assert parse_challenges(" " * MAX_LENGTH + "Basic") == []


@given(st.text(alphabet=st.sampled_from('Bearer realm="=,\\ \t\x00é;a'), max_size=300))
def test_parse_challenges_of_any_text_raises_nothing(text: str) -> None:
    for challenge in parse_challenges(text):
        assert challenge.scheme == challenge.scheme.lower()
