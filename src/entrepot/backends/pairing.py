"""That a database and a store belong together: both keep the same id, from the first start on.

A replica that is told another bucket than the others would take pushes that nobody else finds, and a second registry
in one bucket would take the first one's uploads for leftovers. So neither starts.
"""

from __future__ import annotations

import uuid
from typing import Protocol

from entrepot.errors import ConfigInvalid, Corrupt
from entrepot.metadata import audit, pairing
from entrepot.metadata.base import Metadata
from entrepot.store.base import BlobStore


class KeptStore(BlobStore, Protocol):
    """A store that has an id."""

    async def find_id(self) -> str | None:
        """None before it has one."""

    async def keep_id(self, store_id: str) -> None:
        """Give it one, instead of what it has."""


async def require_pair(metadata: Metadata, store: KeptStore, *, names: tuple[str, str], may_adopt: bool) -> None:
    """Raises ConfigInvalid when the two do not belong together; makes them a pair at their first start.

    ``names``: of the database and the store, as they may be shown. ``may_adopt``: the database may be a new one
    for a store that is in use.
    """
    known = await metadata.read(pairing.find_store_id())
    found = await store.find_id()  # has it before the database does, so that replicas may start at once
    if known is None:
        if not (may_adopt and found) and not await _is_ours(metadata, store, found):
            raise _not_a_pair(*names)
        if found is None:
            found = await metadata.write(pairing.agree_on_store_id(str(uuid.uuid4())))
            await store.keep_id(found)
        await metadata.write(pairing.keep_store_id(found))
    elif found is None and await _has(metadata, store):  # the id was lost, or never copied
        await store.keep_id(known)
    elif found != known:
        raise _not_a_pair(*names)


async def _is_ours(metadata: Metadata, store: BlobStore, store_id: str | None) -> bool:
    """Of a database that knows of no id: whether the store may be, or become, the one it belongs to."""
    has_content = await _has(metadata, store)
    if has_content is None:
        return store_id in (None, await metadata.read(pairing.find_proposed_id()))
    return has_content  # a version without ids has put it there


async def _has(metadata: Metadata, store: BlobStore) -> bool | None:
    """Whether the first blob of the database is there; None when there is none."""
    for blob in await metadata.read(audit.blobs_after(0, limit=1)):
        try:
            await store.stat(blob.location or "")
        except Corrupt:
            return False
        return True
    return None


def _not_a_pair(database: str, store: str) -> ConfigInvalid:
    return ConfigInvalid(
        f"the store {store} is not the one that the database {database} belongs to",
        key="store",
        got=store,
        hint="name one store for all that share a database, and for nobody else; if its former database is gone "
        "for ever, remove store-id from the store, and it belongs to the next one",
    )
