"""What is said when something does not have what was asked for: the words of registries seldom name it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from entrepot.errors import NotFound
from entrepot.reference import ImageReference


@contextmanager
def naming(reference: ImageReference) -> Iterator[None]:
    """Errors about what is not there name it, and say what to do."""
    try:
        yield
    except NotFound as error:
        if "hint" in error.detail:  # it says more than we could
            raise
        detail = {**error.detail, "hint": f"entrepot ls {reference.familiar_name} lists what there is"}
        raise type(error)(f"{reference.familiar} not found: {error.message}", **detail) from error
