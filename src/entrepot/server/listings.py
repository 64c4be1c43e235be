"""Tags, repositories, referrers and search (distribution-spec end-8, end-12; docker's catalog and search)."""

from __future__ import annotations

from entrepot.digest import require_digest
from entrepot.manifest import OCI_INDEX
from entrepot.repositories.base import Page
from entrepot.server.call import Call, json_response
from entrepot.server.http import Header, Response
from entrepot.wire import routes
from entrepot.wire.headers import format_link, parse_count

_SEARCH_RESULTS = 25
_MOST_SEARCH_RESULTS = 100
_INDEX: Header = (b"content-type", OCI_INDEX.encode())


async def list_tags(call: Call) -> Response:
    repository = call.repository
    wanted, last = _position(call)
    page = await repository.list_tags(last=last, limit=max(wanted, 1))
    tags = page.items if wanted else []
    links = _next(routes.tags_path(repository.name), page, wanted)
    return json_response({"name": repository.name, "tags": tags}, *links)


async def list_repositories(call: Call) -> Response:
    wanted, last = _position(call)
    page = await call.registry.list_repositories(last=last, limit=wanted) if wanted else Page([], None)
    return json_response({"repositories": page.items}, *_next("/v2/_catalog", page, wanted))


def _position(call: Call) -> tuple[int, str]:
    text = call.request.parameter("n")
    most = call.options.page_size
    return most if text is None else min(parse_count(text), most), call.request.parameter("last") or ""


def _next(path: str, page: Page, wanted: int) -> list[Header]:
    if page.last is None or not wanted:
        return []
    return [(b"link", format_link(path, {"n": wanted, "last": page.last}).encode())]


async def list_referrers(call: Call) -> Response:
    repository = call.repository
    subject = require_digest(call.match.last)
    artifact_type = call.request.parameter("artifactType")
    page = await repository.list_referrers(subject, artifact_type, last=call.request.parameter("last") or "")
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page.items}
    headers: list[Header] = []
    query: dict[str, str | int] = {}
    if artifact_type is not None:
        headers.append((b"oci-filters-applied", b"artifactType"))
        query["artifactType"] = artifact_type
    if page.last is not None:
        path = routes.referrers_path(repository.name, subject)
        headers.append((b"link", format_link(path, {**query, "last": page.last}).encode()))
    return json_response(index, *headers, content_type=_INDEX)


async def search(call: Call) -> Response:
    """What ``docker search HOST/TEXT`` asks for."""
    text = (call.request.parameter("q") or "").replace("+", " ").strip()
    count = parse_count(call.request.parameter("n") or str(_SEARCH_RESULTS))
    names = await call.registry.search(text, limit=min(count, _MOST_SEARCH_RESULTS))
    results = [
        {"name": name, "description": "", "star_count": 0, "is_official": False, "is_automated": False}
        for name in names
    ]
    return json_response({"num_results": len(results), "query": text, "results": results})
