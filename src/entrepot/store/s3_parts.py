"""How large the parts of a multipart upload are: a matter of arithmetic.

S3 takes at most 10,000 parts, each of 5 MiB to 5 GiB but for the last one, and objects of at most 5 TiB.
"""

from __future__ import annotations

from entrepot.errors import UploadTooLarge

MIB = 1024 * 1024
LEAST_PART = 5 * MIB
FIRST_PART = 8 * MIB
LARGEST_PART = 4096 * MIB
MOST_PARTS = 10_000
_DOUBLED_EVERY = 900


def part_size(number: int, *, fixed: int = 0) -> int:
    """The size of part ``number``, counted from 0; all of them have ``fixed`` bytes if that is given.

    The first 900 have 8 MiB, and after each further 900 it is twice as much: 64 MiB after 49 GiB, more than that after
    105 GiB. So far more than 5 TiB can be reached, even when many a request has ended in the middle of a part. Raises
    UploadTooLarge behind the last part there can be.
    """
    if number >= MOST_PARTS:
        raise UploadTooLarge(
            f"an S3 server takes {MOST_PARTS} parts of an object, and they are used up", parts=MOST_PARTS
        )
    return fixed or min(FIRST_PART << (number // _DOUBLED_EVERY), LARGEST_PART)


def may_be_part(size: int, number: int, *, fixed: int = 0) -> bool:
    """Whether a remainder of ``size`` bytes at the end of a request becomes part ``number`` although more may come.

    Smaller ones would use up the numbers long before 5 TiB.
    """
    wanted = part_size(number, fixed=fixed)
    return size == wanted if fixed else size >= max(LEAST_PART, wanted * 5 // 8)
