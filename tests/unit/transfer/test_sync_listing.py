from __future__ import annotations

import pytest

from entrepot.errors import ManifestInvalid
from entrepot.repositories.base import Page
from entrepot.transfer.listing import walk_repositories


class Pages:
    """A registry that gives these pages one after the other."""

    def __init__(self, *pages: Page) -> None:
        self._pages = iter(pages)

    async def list_repositories(self, *, last: str = "", limit: int) -> Page:
        return next(self._pages)


async def test_walk_goes_through_all_pages() -> None:
    pages = Pages(Page(["a", "b"], "b"), Page([], "c"), Page(["d"], None))
    assert [name async for name in walk_repositories(pages)] == ["a", "b", "d"]  # type: ignore[arg-type]


async def test_walk_in_a_circle_is_refused() -> None:
    pages = Pages(Page(["a"], "a"), Page(["b"], "b"), Page(["a"], "a"))
    with pytest.raises(ManifestInvalid, match="no end"):
        [name async for name in walk_repositories(pages)]  # type: ignore[arg-type]
