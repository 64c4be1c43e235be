from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.errors import ParameterInvalid
from entrepot.transfer.semver import Version, VersionRange, newest_last

NUMBERS = st.integers(0, 4)
MARKS = st.lists(
    st.one_of(st.integers(0, 30).map(str), st.from_regex(r"[a-z][a-z0-9-]{0,3}", fullmatch=True)), max_size=2
)
VERSIONS = st.builds(
    lambda major, minor, patch, marks: Version(major, minor, patch, ".".join(marks)), NUMBERS, NUMBERS, NUMBERS, MARKS
)
RELEASES = st.builds(Version, NUMBERS, NUMBERS, NUMBERS)
RANGES = st.builds(
    lambda op, version, parts: op + ".".join(str(version).split(".")[:parts]),
    st.sampled_from(["", "=", "!=", ">", ">=", "<", "<=", "~", "^"]),
    RELEASES,
    st.integers(1, 3),
)


def version(text: str) -> Version:
    found = Version.parse(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("1.2.3", "1.2.3"),
        ("v1.2.3", "1.2.3"),
        ("1.2", "1.2.0"),
        ("1", "1.0.0"),
        ("22.04", "22.4.0"),
        ("1.2.3-rc.1", "1.2.3-rc.1"),
        ("1.23.3-alpine3.17", "1.23.3-alpine3.17"),
        ("1.2.3+build.5", "1.2.3"),
    ],
)
def test_parse_version_takes_what_tags_have(text: str, printed: str) -> None:
    assert str(version(text)) == printed


@pytest.mark.parametrize(
    "text", ["latest", "", "1.2.3.4", "1.2.x", "1..2", "-1", "1.2.3-", "1.2.3-a..b", "1_2", "9" * 19]
)
def test_parse_version_of_another_tag_gives_none(text: str) -> None:
    assert Version.parse(text) is None


def test_versions_are_ordered_as_the_standard_orders_its_example() -> None:
    names = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"]
    names += ["1.0.0-rc.1", "1.0.0", "1.0.1", "1.1.0", "1.10.0", "2.0.0"]
    assert all(version(low) < version(high) for low, high in pairwise(names))
    assert newest_last(names[::-1]) == names


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("^1.2", "1.2.0 1.2.9 1.99.0", "1.1.9 2.0.0 2.0.0-rc.1 1.3.0-rc.1"),
        ("^1.2.3", "1.2.3 1.3.0", "1.2.2 2.0.0"),
        ("^0.3", "0.3.0 0.3.7", "0.4.0 0.2.9 1.0.0"),
        ("^0.0.3", "0.0.3", "0.0.4 0.1.0"),
        ("^0.0", "0.0.0 0.0.9", "0.1.0"),
        ("^0", "0.0.1 0.9.0", "1.0.0"),
        ("~1.2.3", "1.2.3 1.2.10", "1.2.2 1.3.0"),
        ("~1.2", "1.2.0 1.2.9", "1.3.0"),
        ("~1", "1.0.0 1.9.0", "2.0.0"),
        ("~> 1.2.3", "1.2.4", "1.3.0"),
        (">=1.0 <2", "1.0.0 1.99.1", "0.9.9 2.0.0"),
        (">= 1.0, < 2", "1.0.0 1.99.1", "0.9.9 2.0.0"),
        ("1.x", "1.0.0 1.7.3", "2.0.0 0.9.0"),
        ("1.*", "1.0.0 1.7.3", "2.0.0"),
        ("1", "1.0.0 1.7.3", "2.0.0"),
        ("1.2.x", "1.2.0 1.2.7", "1.3.0"),
        ("*", "0.0.0 99.0.0", "1.0.0-rc.1"),
        (">1.2", "1.3.0", "1.2.0 1.2.9"),
        (">1.2.3", "1.2.4", "1.2.3"),
        ("<=1.2", "1.2.9 0.1.0", "1.3.0"),
        ("<=1.2.3", "1.2.3", "1.2.4"),
        ("<1.2.3", "1.2.2", "1.2.3"),
        ("1.2 - 1.4", "1.2.0 1.4.9", "1.1.9 1.5.0"),
        ("1.2.3 - 1.4.5", "1.2.3 1.4.5", "1.4.6"),
        ("=1.2.3", "1.2.3", "1.2.4 1.2.3-rc.1"),
        ("v1.2.3", "1.2.3", "1.2.4"),
        (">=1 !=1.5.0 <2", "1.4.0 1.5.1", "1.5.0"),
        (">=1 !=1.5 <2", "1.4.0 1.6.0", "1.5.0 1.5.1"),
        ("^1.2 || ^3", "1.4.0 3.1.0", "2.0.0"),
        (">=1.2-0 <2", "1.2.0-rc.1 1.3.0-beta 1.2.0", "2.0.0 2.0.0-rc.1 1.1.0"),
        ("^1.2.3-beta.2", "1.2.3-beta.3 1.2.3 1.9.0", "1.2.3-beta.1 2.0.0-alpha"),
        ("=1.2.3-rc.1", "1.2.3-rc.1", "1.2.3"),
        ("<*", "", "0.0.0 1.0.0"),
    ],
)  # fmt: skip
def test_range_holds_the_versions_it_says(text: str, inside: str, outside: str) -> None:
    found = VersionRange.parse(text)
    assert [name for name in inside.split() if version(name) not in found] == []
    assert [name for name in outside.split() if version(name) in found] == []


@pytest.mark.parametrize(
    "text",
    ["", " ", "latest", ">=", "1.2.3.4", "^", ">> 1", "1.2 ||", "|| 1", "1.x-rc", "=>1", "1 -", "a - b", "1" * 1001],
)
def test_parse_range_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(ParameterInvalid, match="invalid range of versions"):
        VersionRange.parse(text)


@given(VERSIONS)
def test_version_survives_printing(one: Version) -> None:
    assert Version.parse(str(one)) == one


@given(VERSIONS, VERSIONS, VERSIONS)
def test_order_of_versions_is_total(one: Version, two: Version, three: Version) -> None:
    assert (one < two) + (one == two) + (one > two) == 1
    assert not (one < two < three) or one < three


@given(RELEASES, RELEASES)
def test_comparators_agree_with_the_order(one: Version, two: Version) -> None:
    assert (one in VersionRange.parse(f">={two}")) == (one >= two)
    assert (one in VersionRange.parse(f">{two}")) == (one > two)
    assert (one in VersionRange.parse(f"<{two}")) == (one < two)
    assert (one in VersionRange.parse(f"<={two}")) == (one <= two)
    assert (one in VersionRange.parse(f"{two}")) == (one == two)
    assert (one in VersionRange.parse(f"!={two}")) == (one != two)


@given(RELEASES, RANGES, RANGES)
def test_alternatives_are_a_union_and_neighbours_an_intersection(one: Version, left: str, right: str) -> None:
    in_left, in_right = one in VersionRange.parse(left), one in VersionRange.parse(right)
    assert (one in VersionRange.parse(f"{left} || {right}")) == (in_left or in_right)
    assert (one in VersionRange.parse(f"{left} {right}")) == (in_left and in_right)
    assert (one in VersionRange.parse(f"{left},{right}")) == (in_left and in_right)


@given(RELEASES, RELEASES)
def test_caret_and_tilde_keep_what_they_promise(one: Version, base: Version) -> None:
    if one in VersionRange.parse(f"~{base}"):
        assert one >= base
        assert (one.major, one.minor) == (base.major, base.minor)
        assert one in VersionRange.parse(f"^{base}") or not base.major
    if one in VersionRange.parse(f"^{base}"):
        assert one >= base
        assert one.major == base.major


@given(VERSIONS, RANGES)
def test_prerelease_is_in_no_range_that_names_none(one: Version, text: str) -> None:
    if one.prerelease:
        assert one not in VersionRange.parse(text)
