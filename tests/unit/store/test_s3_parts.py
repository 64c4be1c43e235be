"""How large the parts of an upload to S3 are."""

from __future__ import annotations

from itertools import count

import pytest

from entrepot.errors import UploadTooLarge
from entrepot.store.s3_parts import LARGEST_PART, LEAST_PART, MIB, MOST_PARTS, may_be_part, part_size

TIB = 1024 * 1024 * MIB
S3_MOST_PART = 5 * 1024 * MIB


@pytest.mark.parametrize(
    ("number", "size"),
    [(0, 8 * MIB), (899, 8 * MIB), (900, 16 * MIB), (2700, 64 * MIB), (9_999, LARGEST_PART)],
)
def test_part_size_grows_with_the_number(number: int, size: int) -> None:
    assert part_size(number) == size


def test_part_size_never_falls_and_stays_within_what_s3_takes() -> None:
    sizes = [part_size(number) for number in range(MOST_PARTS)]
    assert sizes == sorted(sizes)
    assert sizes[0] >= LEAST_PART
    assert sizes[-1] <= S3_MOST_PART


def test_parts_of_an_upload_in_one_request_reach_five_tebibytes() -> None:
    assert sum(part_size(number) for number in range(MOST_PARTS)) >= 5 * TIB


def test_parts_of_an_upload_in_requests_of_awkward_size_reach_five_tebibytes() -> None:
    """Each request ends when there is just enough for a part."""
    smallest = [next(size for size in _sizes(number) if may_be_part(size, number)) for number in range(MOST_PARTS)]
    assert sum(smallest) >= 5 * TIB


def _sizes(number: int) -> range | count[int]:
    return count(max(LEAST_PART, part_size(number) // 2), MIB)


@pytest.mark.parametrize("number", [0, 5000, 9_999])
def test_part_size_that_is_fixed_is_the_same_for_all(number: int) -> None:
    assert part_size(number, fixed=64 * MIB) == 64 * MIB


def test_part_size_behind_the_last_part_is_refused() -> None:
    with pytest.raises(UploadTooLarge) as caught:
        part_size(MOST_PARTS)
    assert caught.value.detail == {"parts": MOST_PARTS}


@pytest.mark.parametrize(
    ("size", "number", "fixed", "expected"),
    [
        (LEAST_PART - 1, 0, 0, False),
        (LEAST_PART, 0, 0, True),
        (LEAST_PART, 900, 0, False),
        (10 * MIB, 900, 0, True),
        (63 * MIB, 0, 64 * MIB, False),
        (64 * MIB, 0, 64 * MIB, True),
    ],
    ids=["too_small_for_s3", "least", "too_small_for_its_number", "large_enough", "not_the_fixed_size", "fixed_size"],
)
def test_remainder_becomes_a_part_when_it_is_large_enough(size: int, number: int, fixed: int, expected: bool) -> None:
    assert may_be_part(size, number, fixed=fixed) is expected
