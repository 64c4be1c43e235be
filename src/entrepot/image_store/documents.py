"""What ``inspect`` and ``history`` tell of an image, in docker's shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from entrepot.image import ImageConfig
from entrepot.image_store.lookup import ImageRecord
from entrepot.reference import ImageReference

NO_TIME = "0001-01-01T00:00:00Z"

# The fields of "Config" that docker prints whether or not they are set, in its order, and what it prints for none.
_CONTAINER: dict[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "ExposedPorts": ...,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Healthcheck": ...,
    "ArgsEscaped": ...,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "NetworkDisabled": ...,
    "MacAddress": ...,
    "OnBuild": None,
    "Labels": None,
    "StopSignal": ...,
    "StopTimeout": ...,
    "Shell": ...,
}
_MAPS = {"ExposedPorts", "Labels", "Volumes"}  # in JSON their keys are sorted


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One step of how an image was made, the newest first; ``size`` is what it added, uncompressed if known."""

    id: str | None  # of the image, on the first row only
    created: str | None
    created_by: str
    size: int
    comment: str


def image_document(
    record: ImageRecord,
    config: ImageConfig,
    names: Sequence[ImageReference],
    *,
    size: int,
    tagged_at: int | None,
) -> dict[str, Any]:
    """The object that ``docker image inspect`` prints; ``size`` in bytes, ``tagged_at`` in seconds since 1970."""
    document = config.document
    variant = _text(document, "variant")
    return {
        "Id": str(record.id),
        "RepoTags": [name.familiar for name in names if name.tag],
        "RepoDigests": [name.familiar for name in names if name.digest],
        "Parent": "",
        "Comment": _text(document, "comment") or _last_comment(config),
        "Created": config.created or NO_TIME,
        "DockerVersion": _text(document, "docker_version"),
        "Author": _text(document, "author"),
        "Config": container_config(document.get("config")),
        "Architecture": _text(document, "architecture"),
        **({"Variant": variant} if variant else {}),
        "Os": _text(document, "os"),
        "Size": size,
        "GraphDriver": {"Data": None, "Name": ""},
        "RootFS": {"Type": "layers", "Layers": list(config.diff_ids)},
        "Metadata": {"LastTagTime": _rfc3339(tagged_at)},
        "Descriptor": {
            "mediaType": record.top.media_type,
            "digest": str(record.top.digest),
            "size": len(record.top.content),
        },
    }


def container_config(value: Any) -> dict[str, Any]:
    """An image's ``config`` with the fields that docker prints, and whatever else it has."""
    given = {name: _sorted(name, each) for name, each in value.items()} if isinstance(value, dict) else {}
    shown = {name: given.get(name, empty) for name, empty in _CONTAINER.items() if empty is not ... or name in given}
    return {**shown, **{name: each for name, each in given.items() if name not in shown}}


def _sorted(name: str, value: Any) -> Any:
    return dict(sorted(value.items())) if name in _MAPS and isinstance(value, dict) else value


def history_rows(record: ImageRecord, config: ImageConfig, sizes: Sequence[int]) -> list[HistoryRow]:
    """The history of an image, the newest step first; ``sizes`` are those of its layers, lowest first."""
    steps = list(config.history)
    with_layer = sum(not step.get("empty_layer") for step in steps)
    steps += [{"created_by": ""}] * (len(sizes) - with_layer)  # layers that the history does not speak of
    rows, left = [], list(sizes)
    for step in steps:
        size = left.pop(0) if left and not step.get("empty_layer") else 0
        created = step.get("created")
        rows.append(
            HistoryRow(
                None,
                created if isinstance(created, str) else None,
                _text(step, "created_by"),
                size,
                _text(step, "comment"),
            )
        )
    if rows:
        last = rows[-1]
        rows[-1] = HistoryRow(record.id, last.created, last.created_by, last.size, last.comment)
    return rows[::-1]


def _last_comment(config: ImageConfig) -> str:
    return _text(config.history[-1], "comment") if config.history else ""


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _rfc3339(seconds: int | None) -> str:
    if seconds is None:
        return NO_TIME
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
