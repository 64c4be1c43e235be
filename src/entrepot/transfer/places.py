"""Names of where images come from and go to, beyond registries: what ``entrepot copy`` takes.

::

    nginx:1.23.3                       docker://HOST/NAME:TAG  the registry, spelt out
    store:NAME[:TAG]                   the image store of this computer
    oci:DIR[:TAG|@DIGEST]              a folder that is an OCI image layout
    oci-archive:FILE[:TAG|@DIGEST]     the same in a tar
    docker-archive:FILE[:NAME[:TAG]]   what docker save writes
    docker-daemon:NAME[:TAG]           a docker engine

The words are those of containers-transports(5), which skopeo, podman and buildah have as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Self

from entrepot.digest import HEX_LENGTHS, Digest, is_digest
from entrepot.errors import NameInvalid
from entrepot.reference import ImageReference, Tag

_ELSEWHERE = ("dir", "containers-storage", "sif", "tarball", "ostree", "atomic", "docker-tarfile")


class Kind(Enum):
    """What sort of place it is. The values are the words in front of the colon."""

    REGISTRY = "docker"
    STORE = "store"
    LAYOUT = "oci"
    OCI_ARCHIVE = "oci-archive"
    DOCKER_ARCHIVE = "docker-archive"
    ENGINE = "docker-daemon"


ARCHIVES = frozenset({Kind.OCI_ARCHIVE, Kind.DOCKER_ARCHIVE})
_NAMED = frozenset({Kind.REGISTRY, Kind.STORE, Kind.ENGINE})


@dataclass(frozen=True, slots=True)
class Place:
    """An image, or with no tag maybe a repository, and where it is.

    Registries, stores and engines have a ``reference``; layouts and archives a ``path``, and either a ``target`` in it
    or, for docker-archives, a ``reference``, when these are given.
    """

    kind: Kind
    reference: ImageReference | None = None
    path: Path | None = None
    target: Tag | Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises NameInvalid, TagInvalid, DigestInvalid."""
        word, colon, rest = text.partition(":")
        kind = _WORDS.get(word) if colon else None
        if kind is None:
            if colon and word in _ELSEWHERE and "/" in rest:
                raise NameInvalid(f"{word}: is no place that entrepot knows; those are {_KNOWN}", name=text[:200])
            return cls._of_name(Kind.REGISTRY, text)
        if kind is Kind.REGISTRY:  # docker:24 is an image of that name
            return cls._of_name(kind, rest.removeprefix("//") if rest.startswith("//") else text)
        if not rest:
            raise _invalid(kind, text)
        if kind in _NAMED:
            return cls._of_name(kind, rest)
        return cls._of_docker_archive(kind, rest) if kind is Kind.DOCKER_ARCHIVE else cls._of_layout(kind, rest)

    @classmethod
    def _of_name(cls, kind: Kind, text: str) -> Self:
        reference = ImageReference.parse(text)
        return cls(kind, reference, target=reference.digest or reference.tag)

    @classmethod
    def _of_layout(cls, kind: Kind, text: str) -> Self:
        path, at, digest = text.rpartition("@")
        if at and path and (is_digest(digest) or digest.partition(":")[0] in HEX_LENGTHS):
            return cls(kind, path=Path(path), target=Digest.parse(digest))
        path, colon, tag = text.rpartition(":")
        if colon and path and "/" not in tag:
            return cls(kind, path=Path(path), target=Tag.parse(tag))
        return cls(kind, path=Path(text))

    @classmethod
    def _of_docker_archive(cls, kind: Kind, text: str) -> Self:
        path, colon, name = text.partition(":")
        if not colon:
            return cls(kind, path=Path(path))
        reference = ImageReference.parse(name).with_default_tag()
        if not path or reference.digest is not None:
            raise _invalid(kind, text)
        return cls(kind, reference, Path(path), reference.tag)

    @property
    def tag(self) -> Tag | None:
        """The tag that was given."""
        return self.target if isinstance(self.target, Tag) else None

    @property
    def is_repository(self) -> bool:
        """Whether neither tag nor digest was given."""
        return self.target is None

    def at(self, target: Tag | Digest) -> Self:
        """The same place at another tag or digest."""
        reference = self.reference.at(target) if self.reference is not None else None
        return replace(self, reference=reference, target=target)

    def __str__(self) -> str:
        """As it is typed; registries without ``docker://``."""
        if self.kind in _NAMED:
            name = self.reference.familiar if self.reference is not None else ""
            return name if self.kind is Kind.REGISTRY else f"{self.kind.value}:{name}"
        if self.reference is not None:
            return f"{self.kind.value}:{self.path}:{self.reference.familiar}"
        separator = "@" if isinstance(self.target, Digest) else ":"
        return f"{self.kind.value}:{self.path}" + (f"{separator}{self.target}" if self.target else "")


_WORDS = {kind.value: kind for kind in Kind}
_EXAMPLES = {
    Kind.REGISTRY: "docker://localhost:5000/team/app:v1",
    Kind.STORE: "store:nginx:1.23.3",
    Kind.LAYOUT: "oci:images/nginx:1.23.3",
    Kind.OCI_ARCHIVE: "oci-archive:nginx.tar:1.23.3",
    Kind.DOCKER_ARCHIVE: "docker-archive:nginx.tar:nginx:1.23.3",
    Kind.ENGINE: "docker-daemon:nginx:1.23.3",
}
_KNOWN = ", ".join("docker://" if kind is Kind.REGISTRY else f"{kind.value}:" for kind in Kind)


def _invalid(kind: Kind, text: str) -> NameInvalid:
    return NameInvalid(f"expected something like {_EXAMPLES[kind]}, got {text[:200]!r}", name=text[:200])
