"""Pulls from registries that make it hard to go on: the image is right in the end, or nothing is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from entrepot.testing.images import build_image
from tests.cli.conftest import Entrepot
from tests.resume.conftest import RequireWhole, require_sound
from tests.resume.odd import OddRegistry, odd_registry

IMAGE = build_image(1, seed=91, size=2_000_000)
LAYER = IMAGE.layers[0]
HALF = 1_000_000
KEPT = f"bytes={HALF}-"


@pytest.fixture
def odd() -> Iterator[OddRegistry]:
    """A registry whose first answers break off in the middle."""
    with odd_registry(IMAGE) as registry:
        registry.breaks_after = HALF
        yield registry


@pytest.fixture
def name(odd: OddRegistry) -> str:
    return f"{odd.host}/odd/app:v1"


@pytest.fixture
def begun(entrepot: Entrepot, odd: OddRegistry, name: str) -> OddRegistry:
    """The registry, from now on a good one, from which half of the layer was pulled."""
    failed = entrepot("pull", "--retries", "0", name)
    assert (failed.code, odd.ranges_asked) == (1, []), failed.err
    odd.breaks_after = None
    odd.sent = 0
    return odd


def partials(root: Path) -> list[str]:
    return [path.name for path in (root / "partials").rglob("*") if path.is_file()]


def test_pull_of_the_rest_is_on_condition_that_the_blob_is_the_same(
    entrepot: Entrepot, begun: OddRegistry, name: str, require_whole: RequireWhole
) -> None:
    assert entrepot("pull", name).code == 0
    assert begun.ranges_asked == [(KEPT, '"first"')]
    assert begun.sent == LAYER.size - HALF
    require_whole(name)


@pytest.mark.parametrize("etag", [None, 'W/"weak"'], ids=["none", "weak"])
def test_pull_of_the_rest_without_a_strong_etag_has_no_condition(
    entrepot: Entrepot, odd: OddRegistry, name: str, require_whole: RequireWhole, etag: str | None
) -> None:
    """A weak one may stand for other bytes (RFC 9110, 13.1.5); the digest tells whether they were the same."""
    odd.etag = etag
    assert entrepot("pull", "--retries", "0", name).code == 1
    odd.breaks_after = None
    assert entrepot("pull", name).code == 0
    assert odd.ranges_asked == [(KEPT, None)]
    require_whole(name)


def test_pull_from_a_registry_whose_etag_has_changed_takes_the_whole_answer(
    entrepot: Entrepot, begun: OddRegistry, name: str, require_whole: RequireWhole
) -> None:
    begun.etag = '"second"'
    assert entrepot("pull", name).code == 0
    assert begun.ranges_asked == [(KEPT, '"first"')]
    assert begun.sent == LAYER.size
    require_whole(name)


def test_pull_from_a_registry_without_ranges_takes_the_whole_answer(
    entrepot: Entrepot, begun: OddRegistry, name: str, require_whole: RequireWhole
) -> None:
    begun.ranges = "ignored"
    assert entrepot("pull", name).code == 0
    assert len(begun.ranges_asked) == 1
    require_whole(name)


def test_pull_in_parts_from_a_registry_without_ranges_takes_one_stream(
    entrepot: Entrepot, odd: OddRegistry, name: str, require_whole: RequireWhole
) -> None:
    odd.ranges, odd.breaks_after = "ignored", None
    assert entrepot("pull", "--split-above", "1MiB", name).code == 0
    assert odd.sent <= 2 * LAYER.size + IMAGE.config.size
    require_whole(name)


def test_pull_from_a_registry_that_sends_other_parts_takes_the_whole_blob(
    entrepot: Entrepot, begun: OddRegistry, name: str, require_whole: RequireWhole
) -> None:
    begun.ranges = "wrong"
    assert entrepot("pull", name).code == 0
    require_whole(name)


def test_pull_whose_kept_bytes_were_wrong_fetches_them_anew(
    entrepot: Entrepot, odd: OddRegistry, name: str, require_whole: RequireWhole
) -> None:
    odd.spoilt = True
    assert entrepot("pull", "--retries", "0", name).code == 1
    odd.spoilt, odd.breaks_after, odd.sent = False, None, 0
    assert entrepot("pull", name).code == 0
    assert odd.sent == (LAYER.size - HALF) + LAYER.size
    require_whole(name)


@pytest.mark.parametrize("flags", [[], ["--split-above", "1MiB"]], ids=["one", "parts"])
def test_pull_of_a_blob_that_is_wrong_now_fails_and_keeps_nothing_of_it(
    entrepot: Entrepot,
    begun: OddRegistry,
    name: str,
    store_root: Path,
    require_whole: RequireWhole,
    flags: list[str],
) -> None:
    begun.spoilt = True
    failed = entrepot("pull", *flags, name)
    assert failed.code == 1
    assert f"Error: digest mismatch: expected {LAYER.digest}" in failed.err
    assert "Traceback" not in failed.err
    assert partials(store_root) == []
    assert entrepot("images", "-q").out == ""
    require_sound(entrepot)
    begun.spoilt = False
    assert entrepot("pull", *flags, name).code == 0
    require_whole(name)


def test_pull_of_a_wrong_blob_is_not_tried_for_ever(entrepot: Entrepot, odd: OddRegistry, name: str) -> None:
    odd.spoilt, odd.breaks_after = True, None
    assert entrepot("pull", name).code == 1
    assert odd.sent <= LAYER.size + IMAGE.config.size


def test_pull_of_a_blob_that_is_announced_with_the_right_size_at_last_starts_over(
    entrepot: Entrepot, odd: OddRegistry, name: str, require_whole: RequireWhole
) -> None:
    wrong = IMAGE.manifest.data.replace(b'"size":%d' % LAYER.size, b'"size":%d' % (LAYER.size + 1))
    odd.image = replace(IMAGE, manifest=replace(IMAGE.manifest, data=wrong))
    failed = entrepot("pull", "--retries", "0", name)
    assert failed.code == 1
    assert f"{LAYER.digest} was announced with {LAYER.size + 1} bytes, and {odd.host} has {LAYER.size}" in failed.err
    odd.image, odd.breaks_after = IMAGE, None
    assert entrepot("pull", name).code == 0
    require_whole(name)
