from __future__ import annotations

import pytest

from entrepot.digest import Digest
from entrepot.errors import DigestInvalid, NameInvalid, TagInvalid
from entrepot.reference import RepositoryName, Tag, parse_reference

SHA256 = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a", id="one letter"),
        pytest.param("0", id="one digit"),
        pytest.param("library/nginx", id="two parts"),
        pytest.param("a/b/c/d/e/f/g/h", id="many parts"),
        pytest.param("a.b_c__d-e", id="every separator"),
        pytest.param("a---b", id="several hyphens"),
        pytest.param("docker.io/library/nginx", id="with a registry's name"),
        pytest.param("localhost__5000/team/app", id="with a port"),
        pytest.param("a" * 255, id="longest"),
    ],
)
def test_parse_name_within_grammar_returns_the_same_text(text: str) -> None:
    assert RepositoryName.parse(text) == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("/", id="slash"),
        pytest.param("/a", id="leading slash"),
        pytest.param("a/", id="trailing slash"),
        pytest.param("a//b", id="empty part"),
        pytest.param("Library/nginx", id="upper case"),
        pytest.param("..", id="two dots"),
        pytest.param("a/../b", id="dots as a part"),
        pytest.param("a..b", id="dots within a part"),
        pytest.param(".a", id="leading dot"),
        pytest.param("a.", id="trailing dot"),
        pytest.param("-a", id="leading hyphen"),
        pytest.param("a-", id="trailing hyphen"),
        pytest.param("_a", id="leading underscore"),
        pytest.param("a___b", id="three underscores"),
        pytest.param("a_-b", id="mixed separators"),
        pytest.param("a:b", id="colon"),
        pytest.param("a%2Fb", id="encoded slash"),
        pytest.param("a\\b", id="backslash"),
        pytest.param("a\0b", id="NUL"),
        pytest.param("a b", id="blank"),
        pytest.param("a\n", id="trailing newline"),
        pytest.param("é", id="accent"),
        pytest.param("\u0661", id="arabic digit"),
        pytest.param("a" * 256, id="256 characters"),
        pytest.param("a-" * 127, id="a separator after every letter"),
        pytest.param("a/" * 100_000 + "a", id="very long"),
    ],
)
def test_parse_name_outside_grammar_is_refused(text: str) -> None:
    with pytest.raises(NameInvalid, match="expected") as refusal:
        RepositoryName.parse(text)

    assert refusal.value.detail == {"name": text[:255]}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("latest", id="word"),
        pytest.param("1.23.3", id="version"),
        pytest.param("_", id="underscore"),
        pytest.param("V1.0-RC_2", id="upper case and separators"),
        pytest.param("a" * 128, id="longest"),
    ],
)
def test_parse_tag_within_grammar_returns_the_same_text(text: str) -> None:
    assert Tag.parse(text) == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(".a", id="leading dot"),
        pytest.param("-a", id="leading hyphen"),
        pytest.param("..", id="two dots"),
        pytest.param("a/b", id="slash"),
        pytest.param("a:b", id="colon"),
        pytest.param("a+b", id="plus"),
        pytest.param("a b", id="blank"),
        pytest.param("a%20", id="percent"),
        pytest.param("a\0", id="NUL"),
        pytest.param("a\n", id="trailing newline"),
        pytest.param("ä", id="umlaut"),
        pytest.param("a" * 129, id="129 characters"),
        pytest.param("a" * 100_000, id="very long"),
    ],
)
def test_parse_tag_outside_grammar_is_refused(text: str) -> None:
    with pytest.raises(TagInvalid, match="expected") as refusal:
        Tag.parse(text)

    assert refusal.value.detail == {"tag": text[:140]}


def test_parse_reference_without_colon_is_a_tag() -> None:
    assert isinstance(parse_reference("latest"), Tag)


def test_parse_reference_with_colon_is_a_digest() -> None:
    assert isinstance(parse_reference(SHA256), Digest)


@pytest.mark.parametrize("text", ["sha256:short", "latest:", ":", "md5:" + "a" * 32])
def test_parse_reference_with_colon_and_no_supported_digest_is_refused_as_digest(text: str) -> None:
    with pytest.raises(DigestInvalid) as refusal:
        parse_reference(text)

    assert refusal.value.detail == {"digest": text}


def test_parse_reference_malformed_without_colon_is_refused_as_tag() -> None:
    with pytest.raises(TagInvalid) as refusal:
        parse_reference("-latest")

    assert refusal.value.detail == {"tag": "-latest"}
