"""Addresses of the registry: which path means what, and the path of what.

Repository names contain slashes, so a path is read from its right end. A name is judged by whoever handles
the route; here only its place is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote


class Route(Enum):
    """The kinds of address. The values are the labels of the metrics."""

    BASE = "base"
    CATALOG = "catalog"
    TAGS = "tags"
    MANIFEST = "manifest"
    BLOB = "blob"
    UPLOADS = "uploads"
    UPLOAD = "upload"
    REFERRERS = "referrers"
    SEARCH = "search"
    V1_PING = "v1_ping"


@dataclass(frozen=True, slots=True)
class Match:
    """A route, the repository name in it, and its last part: a reference, digest or upload id. All unchecked.

    ``query`` is what a client has appended to the address of an upload by ``&``, as if that had a query already.
    """

    route: Route
    name: str = ""
    last: str = ""
    query: str = ""


_FIXED = {
    "/v2": Match(Route.BASE),
    "/v2/": Match(Route.BASE),
    "/v2/_catalog": Match(Route.CATALOG),
    "/v1/_ping": Match(Route.V1_PING),
    "/v1/search": Match(Route.SEARCH),
}
_BY_SEGMENT = {"manifests": Route.MANIFEST, "blobs": Route.BLOB, "referrers": Route.REFERRERS}


def match(path: str) -> Match | None:
    """What a raw path (percent-encoded, without the query) asks for; None when it is no address of the API."""
    if "%" in path:
        path = _decode(path)
    if not path.startswith("/v2/"):
        return _FIXED.get(path)
    head, _, last = path.rpartition("/")
    head, _, segment = head.rpartition("/")
    if segment == "uploads" and head.endswith("/blobs"):
        upload_id, _, query = last.partition("&")
        return Match(Route.UPLOAD if last else Route.UPLOADS, head[4:-6], upload_id, query)
    route = _BY_SEGMENT.get(segment)
    if route is not None:
        if route is Route.BLOB and last == "uploads":
            return Match(Route.UPLOADS, head[4:])
        return Match(route, head[4:], last)
    if last == "list" and segment == "tags":
        return Match(Route.TAGS, head[4:])
    return _FIXED.get(path)


def manifest_path(name: str, reference: str) -> str:
    return f"/v2/{name}/manifests/{reference}"


def blob_path(name: str, digest: str) -> str:
    return f"/v2/{name}/blobs/{digest}"


def uploads_path(name: str) -> str:
    return f"/v2/{name}/blobs/uploads/"


def upload_path(name: str, upload_id: str) -> str:
    return f"/v2/{name}/blobs/uploads/{upload_id}"


def tags_path(name: str) -> str:
    return f"/v2/{name}/tags/list"


def referrers_path(name: str, digest: str) -> str:
    return f"/v2/{name}/referrers/{digest}"


def _decode(path: str) -> str:
    # A slash that was encoded is no separator: it stays as it came, and the name it stands in is then refused.
    decoded = (unquote(segment, errors="replace") for segment in path.split("/"))
    return "/".join(part if "/" not in part else part.replace("/", "%2F") for part in decoded)
