"""What is said when a registry does not have what was asked for: its own words seldom name it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from entrepot.errors import NotFound
from entrepot.reference import ImageReference


@contextmanager
def naming(reference: ImageReference) -> Iterator[None]:
    """Errors about what is not there name ``reference``, and what to do."""
    try:
        yield
    except NotFound as error:
        if "hint" in error.detail:  # it says more than we could
            raise
        raise type(error)(
            f"{reference.familiar} not found: {error.message}",
            **{**error.detail, "hint": f"entrepot ls {reference.familiar_name} lists what there is"},
        ) from error
