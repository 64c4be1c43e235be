"""Names of repositories and tags as the registry sees them (distribution-spec, "Pulling manifests")."""

from __future__ import annotations

import re
from typing import Self

from entrepot.digest import Digest
from entrepot.errors import NameInvalid, TagInvalid

MAX_NAME_LENGTH = 255  # many clients cap host and name together at this

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)


class RepositoryName(str):
    """A repository's name, e.g. ``library/nginx``; a checked ``str``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check and wrap. Raises NameInvalid."""
        if len(text) > MAX_NAME_LENGTH:
            raise NameInvalid(
                f"invalid repository name: expected at most {MAX_NAME_LENGTH} characters, got {len(text)}",
                name=text[:MAX_NAME_LENGTH],
            )
        if not _NAME.fullmatch(text):
            raise NameInvalid(
                "invalid repository name: expected lower-case letters, digits and the separators . _ __ - "
                f"in parts joined by /, got {text!r}",
                name=text,
            )
        return cls(text)


class Tag(str):
    """A tag, e.g. ``1.23.3``; a checked ``str``."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check and wrap. Raises TagInvalid."""
        if len(text) <= 128 and _TAG.fullmatch(text):
            return cls(text)
        raise TagInvalid(
            "invalid tag: expected 1 to 128 letters, digits, underscores, dots and hyphens, not starting "
            f"with a dot or hyphen, got {text[:140]!r}",
            tag=text[:140],
        )


def parse_reference(text: str) -> Tag | Digest:
    """What stands behind ``/manifests/``: with a colon it is a digest, else a tag.

    Raises DigestInvalid or TagInvalid.
    """
    return Digest.parse(text) if ":" in text else Tag.parse(text)
