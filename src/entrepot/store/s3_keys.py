"""Where things lie in the bucket, all of it below the store's prefix::

    blobs/sha256/<first two hex digits>/<hex>/<uuid>         bytes that were put when their digest was known
    blobs/sha256/<first two hex digits>/<hex>/<name>.<size>  empty: the bytes are at data/<name>
    data/<first two digits>/<name>                           a multipart upload: its id, and a number of its session
    tails/<first two digits>/<upload id>/<uuid>              a remainder between two requests, too small for a part
    quarantine/<hex>/<what it was called>                    what ``admin check --repair`` took out
    store-id                                                 the id that the store shares with its database

A *location* is what comes after ``blobs/``. Each is used once, and never again after its bytes are deleted. A
listing of ``blobs/`` tells the digest, size and location of all there is.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from entrepot.digest import CANONICAL, Digest
from entrepot.store.base import StoredBlob

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_LOCATION = re.compile(
    rf"{CANONICAL}/(?P<two>[0-9a-f]{{2}})/(?P<hex>(?P=two)[0-9a-f]{{62}})/"
    rf"(?P<name>{_UUID}(-[0-9a-f]{{8}}\.(?P<size>[0-9]{{1,15}}))?)",
    re.ASCII,
)
_DATA = re.compile(rf"data/[0-9a-f]{{2}}/(?P<id>{_UUID})-(?P<nonce>[0-9a-f]{{8}})", re.ASCII)
_TAIL = re.compile(rf"tails/[0-9a-f]{{2}}/(?P<id>{_UUID})/{_UUID}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Session:
    """A multipart upload: ``nonce`` tells it from others of the same upload, ``token`` is the server's name for it."""

    nonce: str
    token: str

    def __str__(self) -> str:
        return f"{self.nonce}:{self.token}"

    @classmethod
    def parse(cls, text: str) -> Session:
        """The opposite of ``str``."""
        nonce, _, token = text.partition(":")
        return cls(nonce, token)


@dataclass(frozen=True, slots=True)
class S3Keys:
    """The keys of one store."""

    prefix: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", f"{self.prefix.strip('/')}/" if self.prefix.strip("/") else "")

    @property
    def quarantined(self) -> str:
        return f"{self.prefix}quarantine/"

    @property
    def store_id(self) -> str:
        return f"{self.prefix}store-id"

    @property
    def blobs(self) -> str:
        return f"{self.prefix}blobs/"

    @property
    def data(self) -> str:
        return f"{self.prefix}data/"

    @property
    def tails(self) -> str:
        return f"{self.prefix}tails/"

    def below(self, path: str) -> str:
        """The key of a path below the prefix."""
        return f"{self.prefix}{path}"

    def path(self, key: str) -> str:
        """The opposite of ``below``."""
        return key.removeprefix(self.prefix)

    def session_data(self, upload_id: str, session: Session) -> str:
        """Where a multipart upload puts its bytes."""
        return f"{self.upload_data(upload_id)}{session.nonce}"

    def upload_data(self, upload_id: str) -> str:
        """What the keys of all multipart uploads of one upload begin with."""
        return f"{self.data}{upload_id[:2]}/{upload_id}-"

    def upload_tails(self, upload_id: str) -> str:
        """What the keys of all remainders of one upload begin with."""
        return f"{self.tails}{upload_id[:2]}/{upload_id}/"

    def content(self, location: str) -> str:
        """The key of the bytes of a blob."""
        match = _LOCATION.fullmatch(location)
        if match is None or match["size"] is None:
            return self.record(location)
        name = match["name"].partition(".")[0]
        return f"{self.data}{name[:2]}/{name}"

    def record(self, location: str) -> str:
        """The key that names the blob: of its bytes, or of the empty object that tells where they are."""
        return f"{self.blobs}{location}"

    def quarantine(self, location: str) -> str:
        """Where a damaged blob goes."""
        return f"{self.quarantined}{'/'.join(location.split('/')[-2:])}"

    def parse_blob(self, key: str, size: int) -> StoredBlob | None:
        """What an entry of the listing of ``blobs`` stands for; None for what is not ours."""
        location = key.removeprefix(self.blobs)
        match = _LOCATION.fullmatch(location)
        if match is None:
            return None
        digest = Digest(f"{CANONICAL}:{match['hex']}")
        return StoredBlob(digest, size if match["size"] is None else int(match["size"]), location)

    def parse_data(self, key: str) -> tuple[str, str] | None:
        """The upload id and the session's nonce of a key below ``data``."""
        match = _DATA.fullmatch(self.path(key))
        return (match["id"], match["nonce"]) if match else None

    def parse_tail(self, key: str) -> str | None:
        """The upload id of a key below ``tails``."""
        match = _TAIL.fullmatch(self.path(key))
        return match["id"] if match else None


def is_record(location: str) -> bool:
    """Whether the location is of an empty object, and the bytes are elsewhere."""
    match = _LOCATION.fullmatch(location)
    return match is not None and match["size"] is not None


def new_session_nonce() -> str:
    return uuid.uuid4().hex[:8]


def new_location(canonical: Digest) -> str:
    """A location for bytes that are put at once."""
    return f"{_folder(canonical)}/{uuid.uuid4()}"


def record_location(canonical: Digest, upload_id: str, session: Session, size: int) -> str:
    """The location of bytes that came by a multipart upload."""
    return f"{_folder(canonical)}/{upload_id}-{session.nonce}.{size}"


def new_tail_path(upload_id: str) -> str:
    """A path for a remainder behind parts."""
    return f"tails/{upload_id[:2]}/{upload_id}/{uuid.uuid4()}"


def _folder(canonical: Digest) -> str:
    return f"{canonical.algorithm}/{canonical.encoded[:2]}/{canonical.encoded}"
