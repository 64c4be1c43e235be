"""Operations on leases: the right to run a background job, held by one process at a time."""

from __future__ import annotations

from entrepot.metadata.base import Operation
from entrepot.metadata.named import Named

SELECT_LEASE = Named("leases.SELECT_LEASE")
PUT_LEASE = Named("leases.PUT_LEASE")
END_LEASE = Named("leases.END_LEASE")


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
