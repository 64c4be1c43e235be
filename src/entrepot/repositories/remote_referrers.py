"""Referrers of a registry elsewhere, with the tag that stands in where it has no API for them.

distribution-spec, "Referrers Tag Schema": the tag ``sha256-<hex>`` of a subject points to an index that clients
maintain.
"""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

from entrepot.digest import Digest, require_digest
from entrepot.errors import ManifestInvalid, NotFound, Unsupported
from entrepot.manifest import OCI_INDEX, OCI_MANIFEST, Manifest, StoredManifest, parse_manifest
from entrepot.reference import Tag
from entrepot.repositories.base import Page, PushedManifest
from entrepot.transport.client import Answer, Call
from entrepot.transport.redirects import beside, require_path
from entrepot.wire import routes
from entrepot.wire.responses import parse_link_next

_NOT_IN_TAGS = re.compile(r"[^a-zA-Z0-9_.-]")
_NO_API = (NotFound, Unsupported)  # what registries answer that know no referrers


class Remote(Protocol):
    """What is needed of a RemoteRepository."""

    def call(self, method: str, path: Any, *, absent: type[NotFound], **more: Any) -> Call: ...

    async def open_listing(self, call: Call) -> tuple[Answer, Any]: ...

    async def get_manifest(self, reference: Tag | Digest) -> StoredManifest: ...

    async def put_manifest(self, reference: Tag | Digest, content: bytes, media_type: str | None) -> PushedManifest: ...


def fallback_tag(subject: str) -> Tag:
    """The tag below which the referrers of ``subject`` are found."""
    algorithm, _, encoded = subject.partition(":")
    return Tag.parse(_NOT_IN_TAGS.sub("-", f"{algorithm[:32]}-{encoded[:64]}"))


class RemoteReferrers:
    """The referrers of one repository."""

    def __init__(self, repository: Remote) -> None:
        self._repository = repository

    async def page(self, subject: str, artifact_type: str | None, last: str) -> Page:
        subject = require_digest(subject)
        query = {"artifactType": artifact_type} if artifact_type else {}
        call = self._repository.call(
            "GET", lambda name: routes.referrers_path(name, subject), absent=NotFound, query=query, pull=True
        )
        if last:
            call = self._repository.call("GET", call.path, absent=NotFound, url=require_path(last))
        try:
            answer, document = await self._repository.open_listing(call)
        except _NO_API:
            return Page(_filtered(await self._from_tag(subject), artifact_type), None)
        link = parse_link_next(answer.headers.get("link", ""))
        items = _filtered(_descriptors(document), artifact_type)
        following = beside(answer.url, link) if link else None
        if following is not None and following == last:
            raise ManifestInvalid("the registry lists the same page of referrers again and again", subject=subject)
        return Page(items, following)

    async def note(self, content: bytes, media_type: str) -> None:
        """After a push: list the manifest under its subject, unless the registry does that itself."""
        try:
            manifest = parse_manifest(content, media_type)
        except ManifestInvalid:
            return
        if manifest.subject is None or await self._has_api(manifest.subject.digest):
            return
        entry = _entry(manifest)
        known = await self._from_tag(manifest.subject.digest)
        if any(other.get("digest") == entry["digest"] for other in known):
            return
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*known, entry]}
        await self._repository.put_manifest(
            fallback_tag(manifest.subject.digest), json.dumps(index).encode(), OCI_INDEX
        )

    async def _has_api(self, subject: str) -> bool:
        call = self._repository.call("GET", lambda name: routes.referrers_path(name, subject), absent=NotFound)
        try:
            await self._repository.open_listing(call)
        except _NO_API:
            return False
        return True

    async def _from_tag(self, subject: str) -> list[dict[str, Any]]:
        try:
            found = await self._repository.get_manifest(fallback_tag(subject))
        except NotFound:
            return []
        if found.media_type != OCI_INDEX:
            return []
        return _descriptors(json.loads(parse_manifest(found.content, OCI_INDEX).content))


def _descriptors(document: Any) -> list[dict[str, Any]]:
    manifests = document.get("manifests") if isinstance(document, dict) else None
    if not isinstance(manifests, list) or not all(isinstance(item, dict) for item in manifests):
        raise ManifestInvalid("expected an index of referrers, got something else", field="manifests")
    return manifests


def _filtered(descriptors: list[dict[str, Any]], artifact_type: str | None) -> list[dict[str, Any]]:
    """Registries may ignore the filter (distribution-spec, "OCI-Filters-Applied")."""
    return [item for item in descriptors if artifact_type is None or item.get("artifactType") == artifact_type]


def _entry(manifest: Manifest) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "mediaType": manifest.media_type or OCI_MANIFEST,
        "digest": Digest.of(manifest.content),
        "size": len(manifest.content),
    }
    if manifest.referrer_artifact_type:
        entry["artifactType"] = manifest.referrer_artifact_type
    if manifest.annotations:
        entry["annotations"] = manifest.annotations
    return entry
