"""What is said when something does not have what was asked for: the words of registries seldom name it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from entrepot.cli.output import print_warning
from entrepot.errors import NotFound
from entrepot.reference import DEFAULT_DOMAIN, ImageReference


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


def bare_registry(reference: ImageReference) -> str | None:
    """The HOST:PORT that was typed without a repository: the rules of names read it as a tag at docker.io."""
    name = reference.familiar_name
    is_host = reference.domain == DEFAULT_DOMAIN and "/" not in name and (name == "localhost" or "." in name)
    return f"{name}:{reference.tag}" if is_host and reference.tag and reference.tag.isdigit() else None


def warn_of_bare_registry(reference: ImageReference) -> None:
    """Say how such a name is understood."""
    registry = bare_registry(reference)
    if registry is not None:
        print_warning(f"{registry} is taken for an image of {DEFAULT_DOMAIN}; one of that registry is {registry}/NAME")
