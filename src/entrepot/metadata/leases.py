"""Operations on leases: the right to run a background job, held by one process at a time.

Clocks may be wrong, above all when a computer starts: a lease that ends far later than it could if it had been taken
right now counts as ended, so that a year that somebody believed in for a moment does not stop a job for as long.
"""

from __future__ import annotations

from entrepot.metadata.base import Steps, operation, single_operation
from entrepot.metadata.named import Named

SELECT_LEASE = Named("leases.SELECT_LEASE")
TAKE_LEASE = Named("leases.TAKE_LEASE")
RENEW_LEASE = Named("leases.RENEW_LEASE")
END_LEASE = Named("leases.END_LEASE")
DELETE_LEASE = Named("leases.DELETE_LEASE")
SELECT_ENDED = Named("leases.SELECT_ENDED")
DELETE_ENDED = Named("leases.DELETE_ENDED")

# No leases, but kept among them: one row for each connection to PostgreSQL, which it changes in every transaction and
# by which it finds out whether that was committed (``postgres_connection.py``).
COMMIT = "commit:"
COMMIT_SECONDS = 24 * 3600  # a row that was not changed for so long is of no use any more

_WRONG_SECONDS = 24 * 3600  # what a clock is wrong by at least, when it is


@operation
def is_lease_free(name: str, holder: str, *, now: int, seconds: int) -> Steps[bool]:
    """Whether ``take_lease`` would succeed right now; costs no write."""
    rows = yield SELECT_LEASE, {"name": name}
    return not rows or rows[0][0] == holder or not now < rows[0][2] <= _too_late(now, seconds)


@single_operation
def take_lease(name: str, holder: str, *, now: int, seconds: int) -> Steps[int | None]:
    """Take or prolong a lease: its fence, which grows with every change of hands; None while another holds it."""
    until = {"now": now, "too_late": _too_late(now, seconds), "expires_at": now + seconds}
    rows = yield TAKE_LEASE, {"name": name, "holder": holder, **until}
    return rows[0][0] if rows else None


@single_operation
def renew_lease(name: str, holder: str, *, now: int, seconds: int) -> Steps[bool]:
    """Prolong a lease that is still there; False when it is not. So one that was dropped does not come back."""
    rows = yield RENEW_LEASE, {"lease": name, "current": holder, "until": now + seconds}
    return bool(rows)


@single_operation
def give_up_lease(name: str, holder: str) -> Steps[None]:
    """Let go of a lease, so that the next one need not wait for its end."""
    yield END_LEASE, {"lease": name, "current": holder}


@single_operation
def drop_lease(name: str, holder: str) -> Steps[None]:
    """Let go of a lease and leave nothing of it behind; its fence begins anew."""
    yield DELETE_LEASE, {"name": name, "holder": holder}


@operation
def ended_leases(after: str, until: str, *, before: int, limit: int) -> Steps[list[str]]:
    """The names between ``after`` and ``until`` of leases that ended before ``before``, in their order."""
    rows = yield SELECT_ENDED, {"after": after, "until": until, "before": before, "limit": limit}
    return [name for (name,) in rows]


@single_operation
def forget_lease(name: str, *, now: int) -> Steps[bool]:
    """Leave nothing of a lease that nobody holds; False when somebody does, or there is none."""
    rows = yield DELETE_ENDED, {"name": name, "now": now}
    return bool(rows)


def _too_late(now: int, seconds: int) -> int:
    return now + seconds + _WRONG_SECONDS
