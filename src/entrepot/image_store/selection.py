"""From everything there is to the lines of ``images``: filters, order, and the list at its quickest."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from entrepot.folders import DATABASE_FILE
from entrepot.image_store import filters as filtering
from entrepot.image_store.filters import Filters
from entrepot.image_store.listing import ImageRow, Library, newest_first, read_library, rows_of, seconds_of
from entrepot.image_store.lookup import locate_in
from entrepot.metadata.migrate import is_current
from entrepot.metadata.sqlite_connection import connect, drive_at_one_moment
from entrepot.platforms import Platform


def select_rows(library: Library, filters: Filters, wanted: Platform, now: float, *, digests: bool) -> list[ImageRow]:
    """The lines for what meets the filters, the newest first.

    Raises ParameterInvalid, and ManifestUnknown for an image that a filter names.
    """

    def made_at(name: str) -> float:
        found = locate_in(library.shelves, name, wanted)
        chosen = found.shelf.choose(found.top, wanted) or found.top
        image = library.by_id().get(chosen.image_id)
        return image.created_at if image is not None else seconds_of(None)

    kept = filtering.apply(filters, library.images, created_at=made_at, now=now)
    return [row for image in newest_first(kept) for row in rows_of(image, digests=digests)]


def list_at_once(root: Path, filters: Filters, wanted: Platform, now: float, *, digests: bool) -> list[ImageRow] | None:
    """The lines out of the database alone, without an event loop: the list is what people wait for most often.

    None when that does not do: the database is of an earlier version, or configs have to be read. Raises as
    ``select_rows`` does, and Corrupt, Unavailable; OSError for a root that can be none.
    """
    path = root / DATABASE_FILE
    try:
        path.stat()
    except FileNotFoundError:
        return []
    if not is_current(path):
        return None
    with closing(connect(path)) as connection:
        library = drive_at_one_moment(connection, read_library(wanted))
    if library.missing_configs:
        return None
    return select_rows(library, filters, wanted, now, digests=digests)
