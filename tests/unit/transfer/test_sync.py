from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.errors import NameInvalid, ParameterInvalid
from entrepot.reference import Tag
from entrepot.transfer.places import Kind, Place
from entrepot.transfer.semver import VersionRange
from entrepot.transfer.sync import Destination, TagRule, compile_pattern, parse_source

DIGEST_TAG = "sha256-" + "a" * 64
TAGS = [
    Tag(tag) for tag in ["1.0.0", "1.2.0", "1.10.0", "2.0.0", "2.1.0-rc.1", "latest", DIGEST_TAG, f"{DIGEST_TAG}.sig"]
]
GLOBS = st.lists(st.sampled_from(["1.*", "latest", "*", "[12].0.0", "1.?.0", DIGEST_TAG, "none"]), max_size=3).map(
    tuple
)


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        (TagRule(), "1.0.0 1.2.0 1.10.0 2.0.0 2.1.0-rc.1 latest"),
        (TagRule(globs=("1.*", "latest")), "1.0.0 1.2.0 1.10.0 latest"),
        (TagRule(globs=("1.*",), patterns=(compile_pattern("^2"),)), "1.0.0 1.2.0 1.10.0 2.0.0 2.1.0-rc.1"),
        (TagRule(patterns=(compile_pattern("0$"),)), "1.0.0 1.2.0 1.10.0 2.0.0"),
        (TagRule(without=("*-rc*", "latest")), "1.0.0 1.2.0 1.10.0 2.0.0"),
        (TagRule(without_patterns=(compile_pattern("[a-z]"),)), "1.0.0 1.2.0 1.10.0 2.0.0"),
        (TagRule(versions=VersionRange.parse("^1.1")), "1.2.0 1.10.0"),
        (TagRule(versions=VersionRange.parse("*"), newest=2), "1.10.0 2.0.0"),
        (TagRule(newest=1), "2.1.0-rc.1"),
        (TagRule(globs=(DIGEST_TAG,)), DIGEST_TAG),
        (TagRule(globs=("sha256-*",)), ""),
        (TagRule(globs=("sha256-*",), digest_tags=True), f"{DIGEST_TAG} {DIGEST_TAG}.sig"),
    ],
)
def test_rule_takes_those_tags(rule: TagRule, taken: str) -> None:
    assert rule.choose(TAGS) == taken.split()


@pytest.mark.parametrize(
    ("rule", "fixed"),
    [
        (TagRule(globs=("v1", "v2", "v1")), ["v1", "v2"]),
        (TagRule(globs=("v1", "v2"), without=("v2",)), ["v1"]),
        (TagRule(globs=("v*",)), None),
        (TagRule(), None),
        (TagRule(globs=("v1",), versions=VersionRange.parse("1")), None),
        (TagRule(globs=("v1",), newest=1), None),
    ],
)
def test_rule_of_names_alone_needs_no_listing(rule: TagRule, fixed: list[str] | None) -> None:
    assert rule.fixed == fixed


@given(GLOBS, GLOBS, st.lists(st.sampled_from(TAGS), unique=True))
def test_chosen_tags_are_some_of_those_there_in_their_order(
    globs: tuple[str, ...], without: tuple[str, ...], tags: list[Tag]
) -> None:
    rule = TagRule(globs=globs, without=without)
    chosen = rule.choose(tags)
    assert chosen == [tag for tag in tags if tag in chosen]
    assert TagRule(globs=without).choose(chosen) == [] or not without
    if rule.fixed is not None:
        assert set(chosen) == set(rule.fixed) & set(tags)


@given(GLOBS, st.integers(1, 4))
def test_newest_are_the_last_of_all_that_would_be_taken(globs: tuple[str, ...], count: int) -> None:
    versions = VersionRange.parse(">=0-0")
    every = TagRule(globs=globs, versions=versions).choose(TAGS)
    newest = TagRule(globs=globs, versions=versions, newest=count).choose(TAGS)
    assert len(newest) == min(count, len(every))
    assert newest == every[len(every) - len(newest) :]  # TAGS are in order


@pytest.mark.parametrize(
    ("destination", "source", "expected"),
    [
        (Destination("localhost:5000"), "nginx", "localhost:5000/library/nginx"),
        (Destination("localhost:5000/mirror/"), "quay.io/a/b", "localhost:5000/mirror/a/b"),
        (Destination("h.io/m", scoped=True), "localhost:5000/a", "h.io/m/localhost__5000/a"),
        (Destination("h.io/m", last_part_only=True), "quay.io/a/b", "h.io/m/b"),
        (Destination("store:"), "nginx", "store:nginx"),
        (Destination("store:h.io/m"), "nginx", "store:h.io/m/library/nginx"),
        (Destination("oci:backup"), "nginx", "oci:backup/library/nginx"),
        (Destination("docker://h.io"), "nginx", "h.io/library/nginx"),
        (Destination("h.io/m"), "oci:some/dir", "h.io/m/dir"),
    ],
)
def test_destination_names_the_place_of_each_source(destination: Destination, source: str, expected: str) -> None:
    assert str(destination.place_for(Place.parse(source))) == expected


@pytest.mark.parametrize("text", ["h.io/App", "dir:/tmp", "oci-archive:a.tar", "docker-daemon:x", ""])
def test_destination_that_is_no_place_for_repositories_is_refused(text: str) -> None:
    with pytest.raises((ParameterInvalid, NameInvalid)):
        Destination(text).place_for(Place.parse("nginx"))


def test_parse_source_takes_tag_and_digest_apart() -> None:
    place, rule, digest = parse_source("quay.io/a/b:v1")
    assert (str(place), rule, digest) == ("quay.io/a/b", TagRule(globs=("v1",)), None)
    place, rule, digest = parse_source(f"nginx@sha256:{'0' * 64}")
    assert (place.kind, rule, digest) == (Kind.REGISTRY, None, f"sha256:{'0' * 64}")


@pytest.mark.parametrize("text", ["docker-daemon:x", "oci-archive:a.tar", "docker-archive:a.tar:x"])
def test_parse_source_of_a_place_without_repositories_is_refused(text: str) -> None:
    with pytest.raises(ParameterInvalid, match="expected an image of a registry"):
        parse_source(text)


@pytest.mark.parametrize("text", ["(", "a{99999999999}", "[z-a]"])
def test_pattern_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ParameterInvalid, match="invalid regular expression"):
        compile_pattern(text)
