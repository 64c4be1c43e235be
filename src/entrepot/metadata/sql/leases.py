"""The statements of ``metadata/leases.py``."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import bindparam, select

from entrepot.metadata.schema import leases
from entrepot.metadata.sql.statements import upsert

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
