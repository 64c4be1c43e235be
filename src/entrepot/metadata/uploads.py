"""Operations on uploads in progress."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

from entrepot.errors import TooManyUploads, UploadUnknown
from entrepot.metadata import locks
from entrepot.metadata.base import Steps, operation, single_operation
from entrepot.metadata.named import Named
from entrepot.reference import RepositoryName
from entrepot.store.base import UploadPart, UploadState

COUNT_UPLOADS = Named("uploads.COUNT_UPLOADS")
INSERT_UPLOAD = Named("uploads.INSERT_UPLOAD")
SELECT_UPLOAD = Named("uploads.SELECT_UPLOAD")
UPDATE_UPLOAD = Named("uploads.UPDATE_UPLOAD")
DELETE_UPLOAD = Named("uploads.DELETE_UPLOAD")
SELECT_EXPIRED = Named("uploads.SELECT_EXPIRED")
SELECT_UPLOAD_EXISTS = Named("uploads.SELECT_UPLOAD_EXISTS")


@dataclass(frozen=True, slots=True)
class UploadFound:
    """An upload's state; ``algorithm`` is the one it was announced for."""

    state: UploadState
    algorithm: str


@operation
def begin_upload(repository: RepositoryName, state: UploadState, algorithm: str, now: int, *, most: int) -> Steps[None]:
    """Record a new upload. Raises TooManyUploads when the repository has ``most`` of them."""
    yield locks.counting_uploads(repository)
    values = {"id": state.id, "repository": repository, "state": _encode(state, algorithm), "now": now, "most": most}
    if not (yield INSERT_UPLOAD, values):
        [[count]] = yield COUNT_UPLOADS, {"repository": repository}
        raise TooManyUploads(
            f"{repository} has {count} uploads open, the most it may have; finish or cancel some",
            retry_after_seconds=60,
            name=repository,
            most=most,
        )


@operation
def find_upload(repository: RepositoryName, upload_id: str) -> Steps[UploadFound]:
    """Raises UploadUnknown, also for an upload of another repository."""
    rows = yield SELECT_UPLOAD, {"id": upload_id, "repository": repository}
    if not rows:
        raise UploadUnknown(
            f"no upload {upload_id} in {repository}: it was finished or cancelled, has expired, or was never begun",
            name=repository,
            upload=upload_id,
        )
    return _decode(upload_id, rows[0][0])


@single_operation
def save_upload(state: UploadState, algorithm: str, now: int) -> Steps[None]:
    """Record how far an upload has come. Raises UploadUnknown when it has ended meanwhile."""
    rows = yield UPDATE_UPLOAD, {"upload_id": state.id, "new_state": _encode(state, algorithm), "now": now}
    if not rows:
        raise UploadUnknown(f"upload {state.id} has ended meanwhile", upload=state.id)


@operation
def end_upload(upload_id: str) -> Steps[bool]:
    """Forget an upload; False when there was none."""
    rows = yield DELETE_UPLOAD, {"id": upload_id}
    return bool(rows)


@operation
def expired_uploads(*, before: int, limit: int) -> Steps[list[UploadState]]:
    """Uploads that nobody has touched since ``before``, the oldest first."""
    rows = yield SELECT_EXPIRED, {"before": before, "limit": limit}
    return [_decode(upload_id, text).state for upload_id, text in rows]


@operation
def end_expired_upload(upload_id: str, *, before: int) -> Steps[bool]:
    """Forget an upload that nobody has touched since ``before``; False when somebody has, or there is none.

    Whoever asks holds the upload, so that nobody touches it meanwhile.
    """
    rows = yield SELECT_UPLOAD_EXISTS, {"id": upload_id}
    return bool(rows) and rows[0][0] < before and (yield from end_upload(upload_id))


@operation
def upload_exists(upload_id: str) -> Steps[bool]:
    """Whether an upload of that id is open in any repository."""
    rows = yield SELECT_UPLOAD_EXISTS, {"id": upload_id}
    return bool(rows)


def _encode(state: UploadState, algorithm: str) -> str:
    hashes = {name: saved.hex() for name, saved in state.hashes.items()}
    values = {"offset": state.offset, "hashes": hashes, "algorithm": algorithm, **_encode_parts(state)}
    return json.dumps(values, separators=(",", ":"))


def _encode_parts(state: UploadState) -> dict[str, Any]:
    values = {
        "session": state.session,
        "parts": [[part.size, part.etag] for part in state.parts],
        "tail": b64encode(state.tail).decode("ascii"),
        "tail_location": state.tail_location,
    }
    return {name: value for name, value in values.items() if value}  # stores of files have none of it


def _decode(upload_id: str, text: str) -> UploadFound:
    values: dict[str, Any] = json.loads(text)
    hashes = {name: bytes.fromhex(saved) for name, saved in values["hashes"].items()}
    state = UploadState(
        upload_id,
        values["offset"],
        hashes,
        values.get("session", ""),
        tuple(UploadPart(size, etag) for size, etag in values.get("parts", ())),
        b64decode(values.get("tail", "")),
        values.get("tail_location", ""),
    )
    return UploadFound(state, values["algorithm"])
