"""The statements of ``metadata/leases.py``."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import bindparam, select

from entrepot.metadata.schema import leases
from entrepot.metadata.sql.statements import upsert

SELECT_LEASE = select(leases.c.holder, leases.c.fence, leases.c.expires_at).where(leases.c.name == bindparam("name"))

_insert = upsert(leases).values(
    name=bindparam("name"), holder=bindparam("holder"), fence=1, expires_at=bindparam("expires_at")
)

_is_held = leases.c.holder == _insert.excluded.holder

TAKE_LEASE = _insert.on_conflict_do_update(
    index_elements=["name"],
    set_={
        "holder": _insert.excluded.holder,
        "fence": leases.c.fence + sa.case((_is_held, 0), else_=1),
        "expires_at": _insert.excluded.expires_at,
    },
    where=_is_held | (leases.c.expires_at <= bindparam("now")) | (leases.c.expires_at > bindparam("too_late")),
).returning(leases.c.fence)

RENEW_LEASE = (
    sa.update(leases)
    .where(leases.c.name == bindparam("lease"), leases.c.holder == bindparam("current"))
    .values(expires_at=bindparam("until"))
    .returning(leases.c.fence)
)

END_LEASE = (
    sa.update(leases)
    .where(leases.c.name == bindparam("lease"), leases.c.holder == bindparam("current"))
    .values(expires_at=0)
    .returning(leases.c.name)
)

DELETE_LEASE = (
    sa.delete(leases)
    .where(leases.c.name == bindparam("name"), leases.c.holder == bindparam("holder"))
    .returning(leases.c.name)
)

SELECT_ENDED = (
    select(leases.c.name)
    .where(
        leases.c.name > bindparam("after"),
        leases.c.name < bindparam("until"),
        leases.c.expires_at < bindparam("before"),
    )
    .order_by(leases.c.name)
    .limit(bindparam("limit"))
)

DELETE_ENDED = (
    sa.delete(leases)
    .where(leases.c.name == bindparam("name"), leases.c.expires_at <= bindparam("now"))
    .returning(leases.c.name)
)
