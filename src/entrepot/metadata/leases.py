"""Operations on leases: the right to run a background job, held by one process at a time."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import bindparam, select

from entrepot.metadata.base import Operation
from entrepot.metadata.schema import leases
from entrepot.metadata.statements import upsert

SELECT_LEASE = select(leases.c.holder, leases.c.fence, leases.c.expires_at).where(leases.c.name == bindparam("name"))

_insert = upsert(leases).values(
    name=bindparam("name"), holder=bindparam("holder"), fence=bindparam("fence"), expires_at=bindparam("expires_at")
)
PUT_LEASE = _insert.on_conflict_do_update(
    index_elements=["name"],
    set_={name: _insert.excluded[name] for name in ("holder", "fence", "expires_at")},
)
END_LEASE = (
    sa.update(leases)
    .where(leases.c.name == bindparam("lease"), leases.c.holder == bindparam("current"))
    .values(expires_at=0)
)


def is_lease_free(name: str, holder: str, *, now: int) -> Operation[bool]:
    """Whether ``take_lease`` would succeed right now; costs no write."""
    rows = yield SELECT_LEASE, {"name": name}
    return not rows or rows[0][0] == holder or rows[0][2] <= now


def take_lease(name: str, holder: str, *, now: int, seconds: int) -> Operation[int | None]:
    """Take or prolong a lease: its fence, which grows with every change of hands; None while another holds it."""
    rows = yield SELECT_LEASE, {"name": name}
    current, fence, expires_at = rows[0] if rows else (None, 0, 0)
    if current != holder:
        if expires_at > now:
            return None
        fence += 1
    yield PUT_LEASE, {"name": name, "holder": holder, "fence": fence, "expires_at": now + seconds}
    taken: int = fence
    return taken


def give_up_lease(name: str, holder: str) -> Operation[None]:
    """Let go of a lease, so that the next one need not wait for its end."""
    yield END_LEASE, {"lease": name, "current": holder}
