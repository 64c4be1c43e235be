"""Operations on the id that a database shares with its store: marks among the leases, as those of ``moves.py``."""

from __future__ import annotations

from entrepot.metadata.base import Steps, operation
from entrepot.metadata.moves import INSERT_MARK, SELECT_MARK, find_mark

_PROPOSED = "store:proposed"  # before the store has it
_ID = "store:id"


@operation
def find_store_id() -> Steps[str | None]:
    """The id of the store that the database belongs to; None before there is one."""
    return (yield from find_mark(_ID))


@operation
def find_proposed_id() -> Steps[str | None]:
    """The id that the first replica is giving to the store right now."""
    return (yield from find_mark(_PROPOSED))


@operation
def agree_on_store_id(proposal: str) -> Steps[str]:
    """The id to give to the store: the first that anybody has proposed."""
    yield INSERT_MARK, {"name": _PROPOSED, "holder": proposal}
    [[agreed]] = yield SELECT_MARK, {"name": _PROPOSED}
    return agreed  # type: ignore[no-any-return]  # a column of text


@operation
def keep_store_id(store_id: str) -> Steps[None]:
    """From now on the database belongs to the store that has this id."""
    yield INSERT_MARK, {"name": _ID, "holder": store_id}
