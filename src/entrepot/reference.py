"""Names: of repositories and tags as a registry sees them, and of images as people type them.

The first are distribution-spec's ("Pulling manifests"), the second Docker's, which leave out what goes without saying.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import Self

from entrepot.digest import Digest
from entrepot.errors import NameInvalid, TagInvalid

MAX_NAME_LENGTH = 255  # many clients cap host and name together at this

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?", re.ASCII)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}", re.ASCII)

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_EXPECTED = "expected [HOST[:PORT]/]NAME[:TAG][@DIGEST], e.g. nginx:1.23.3"
_IPV6_PREFIX = "ip6-"


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


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A name as people type it, spelt out: ``nginx:1.23.3`` is ``docker.io``, ``library/nginx``, ``1.23.3``.

    The rules are Docker's (distribution/reference): the part before the first slash is a registry when it has
    a dot, a colon or an upper-case letter, or is ``localhost``; otherwise the name is one of ``docker.io``,
    below ``library/`` when it has a single part. With both a tag and a digest the digest is what counts.
    """

    domain: str  # with its port; lower case
    path: RepositoryName
    tag: Tag | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """What ``text`` names, with no tag supplied. Raises NameInvalid, TagInvalid or DigestInvalid."""
        if _IDENTIFIER.fullmatch(text):
            raise _invalid(text, f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
        rest, at, digest = text.partition("@")
        domain, path, tag = _split(rest)
        if domain == DEFAULT_DOMAIN and path == "scratch":
            raise _invalid(text, "'scratch' is a reserved name: it is the empty image")
        if domain == DEFAULT_DOMAIN and "/" not in path:
            path = _OFFICIAL + path
        if path != path.lower() and _NAME.fullmatch(path.lower()):
            raise _invalid(text, f"invalid reference format: repository name ({path}) must be lowercase")
        if not _NAME.fullmatch(path) or not _DOMAIN.fullmatch(domain):
            raise _invalid(text, f"invalid reference format: {_EXPECTED}, got {text[:MAX_NAME_LENGTH]!r}")
        if tag is not None and not _TAG.fullmatch(tag):
            raise TagInvalid(f"invalid reference format: {_EXPECTED}, got the tag {tag[:140]!r}", tag=tag[:140])
        name = RepositoryName.parse(path)
        return cls(domain, name, Tag(tag) if tag is not None else None, Digest.parse(digest) if at else None)

    @property
    def name(self) -> str:
        """Registry and repository: ``docker.io/library/nginx``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as it is shown: ``nginx``; other registries' in full."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        return short if "/" not in short else str(self.path)

    @property
    def familiar(self) -> str:
        """``familiar_name`` with tag and digest, as far as they are given."""
        return self.familiar_name + self._suffix

    @property
    def target(self) -> Tag | Digest:
        """What to ask the registry for: the digest, or the tag, or ``latest``."""
        return self.digest or self.tag or Tag(DEFAULT_TAG)

    @property
    def stored_name(self) -> RepositoryName:
        """The repository's name in an image store: ``localhost__5000/team/app``. Raises NameInvalid if too long."""
        return RepositoryName.parse(f"{_stored_domain(self.domain)}/{self.path}")

    @classmethod
    def from_stored_name(cls, name: str, target: Tag | Digest | None = None) -> Self:
        """The inverse of ``stored_name``, with a tag or digest. Raises NameInvalid when no registry comes first."""
        domain, slash, path = name.partition("/")
        if not slash:
            raise _invalid(name, f"expected a name that begins with its registry, got {name!r}")
        tag = target if isinstance(target, Tag) else None
        digest = target if isinstance(target, Digest) else None
        return cls(_domain_of(domain), RepositoryName(path), tag, digest)

    def with_default_tag(self) -> Self:
        """With ``latest`` when there is neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=Tag(DEFAULT_TAG))

    def at(self, target: Tag | Digest) -> Self:
        """The same repository at another tag or digest."""
        if isinstance(target, Digest):
            return replace(self, tag=None, digest=target)
        return replace(self, tag=target, digest=None)

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix


def _split(text: str) -> tuple[str, str, str | None]:
    """Domain, path and tag."""
    first, slash, rest = text.partition("/")
    if slash and _is_domain(first):
        domain, remainder = first.lower(), rest
    else:
        domain, remainder = DEFAULT_DOMAIN, text
    path, colon, tag = remainder.partition(":")
    domain = DEFAULT_DOMAIN if domain == _LEGACY_DOMAIN else domain
    return domain, path, tag if colon else None


def _is_domain(part: str) -> bool:
    return part == "localhost" or "." in part or ":" in part or part != part.lower()


def _stored_domain(domain: str) -> str:
    host, colon, port = domain.rpartition(":") if domain[-1:] != "]" else (domain, "", "")
    host, port = (host, port) if colon else (domain, "")
    if host.startswith("["):
        host = _IPV6_PREFIX + IPv6Address(host[1:-1]).exploded.replace(":", "-")
    return f"{host}__{port}" if port else host


def _domain_of(stored: str) -> str:
    host, separator, port = stored.partition("__")
    if host.startswith(_IPV6_PREFIX) and host.count("-") == 8:
        host = f"[{IPv6Address(host.removeprefix(_IPV6_PREFIX).replace('-', ':')).compressed}]"
    return f"{host}:{port}" if separator else host


def _invalid(text: str, message: str) -> NameInvalid:
    return NameInvalid(message, name=text[:MAX_NAME_LENGTH])
