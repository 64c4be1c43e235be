from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from entrepot.cli.human import bar_size, created_at, created_since, human_duration, human_size, parse_rfc3339

NOW = datetime(2026, 11, 23, 10, 2, 3, tzinfo=UTC)
MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (300_000, "300kB"),
        (3_300_000, "3.3MB"),
        (1_094_000_000, "1.09GB"),
        (999_900, "1e+03kB"),  # go-units does the same
        (10**27, "1e+03YB"),
    ],
)
def test_format_size_has_three_digits(count: int, text: str) -> None:
    assert human_size(count) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0B"), (163_840, "163.8kB"), (3_001_234, "3.001MB")])
def test_format_size_beside_a_bar_has_four_digits(count: int, text: str) -> None:
    assert bar_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "Less than a second"),
        (0.9, "Less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (MINUTE, "About a minute"),
        (2 * MINUTE, "2 minutes"),
        (59 * MINUTE + 59, "59 minutes"),
        (HOUR, "About an hour"),
        (1.5 * HOUR, "2 hours"),
        (47.4 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (730 * DAY, "2 years"),
    ],
)
def test_format_duration_in_words(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23T10:02:03Z", NOW),
        ("2026-11-23T11:32:03+01:30", NOW),
        ("2026-11-23T09:02:03-01:00", NOW),
        ("2026-11-23T10:02:03.123456789Z", NOW + timedelta(microseconds=123456)),
        ("2026-11-23T10:02:03.5Z", NOW + timedelta(milliseconds=500)),
    ],
)
def test_parse_time_gives_utc(text: str, moment: datetime) -> None:
    assert parse_rfc3339(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        None,
        17,
        "",
        "yesterday",
        "2026-11-23",
        "2026-11-23T10:02:03",
        "2026-13-01T00:00:00Z",
        "2026-11-23T10:02:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-01:00",
        "2026-11-23T10:02:03.Z",
        "2026-11-23T10:02:03." + "1" * 5000 + "Z",
        "２０２６-11-23T10:02:03Z",
        "2026-11-23T10:02:03Z\n",
    ],
    ids=repr,
)
def test_parse_time_that_is_none_gives_none(text: object) -> None:
    assert parse_rfc3339(text) is None


@pytest.mark.parametrize(
    ("created", "text"),
    [
        ("2026-11-23T10:01:47.3Z", "15 seconds ago"),
        ("1970-01-01T00:00:00Z", "56 years ago"),
        ("2027-01-01T00:00:00Z", "Less than a second ago"),
        (None, "N/A"),
        ("0001-01-01T00:00:00Z", "N/A"),
        ("long ago", "N/A"),
    ],
)
def test_format_age_counts_from_now(created: str | None, text: str) -> None:
    assert created_since(created, NOW) == text


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        pytest.param(UTC, "2026-11-23 10:02:03 +0000 UTC", id="utc"),
        pytest.param(timezone(timedelta(hours=1), "CET"), "2026-11-23 11:02:03 +0100 CET", id="named"),
        pytest.param(timezone(timedelta(hours=-2)), "2026-11-23 08:02:03 -0200 -0200", id="unnamed"),
    ],
)
def test_format_creation_time_as_go_does(zone: timezone, text: str) -> None:
    assert created_at("2026-11-23T10:02:03.999Z", zone) == text


def test_format_creation_time_that_is_not_known() -> None:
    assert created_at(None) == "N/A"
