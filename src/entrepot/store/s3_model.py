"""The descriptions that botocore works by, without what is not needed here: whole they take 11 MiB in each process."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from botocore.loaders import JSONFileLoader, Loader

# S3, and what credentials may be got from; the address of a service that is not listed is made by rule
_SERVICES = {"s3", "sts", "sso", "portal.sso", "oidc", "signin"}

_Pairs = list[tuple[str, Any]]


@functools.cache
def loader() -> Loader:
    """Remembers what it has read; one for all clients of the process."""
    return Loader(file_loader=_LeanFiles())


class _LeanFiles(JSONFileLoader):
    def load_file(self, file_path: str) -> Any:
        lean = _LEAN.get(PurePath(file_path).name)
        text = None if lean is None else _read(Path(file_path))
        return super().load_file(file_path) if text is None else json.loads(text, object_pairs_hook=lean)


def _read(path: Path) -> bytes | None:
    plain, compressed = path.with_name(f"{path.name}.json"), path.with_name(f"{path.name}.json.gz")
    if plain.is_file():
        return plain.read_bytes()
    return gzip.decompress(compressed.read_bytes()) if compressed.is_file() else None


def _without_documentation(pairs: _Pairs) -> dict[str, Any]:
    # dropped while it is read, because what was there once leaves holes in memory; some have to have one
    return {key: "" if key == "documentation" and isinstance(value, str) else value for key, value in pairs}


def _with_few_services(pairs: _Pairs) -> dict[str, Any]:
    return {key: _few(value) if key == "services" else value for key, value in pairs}


def _few(services: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in services.items() if name in _SERVICES}


_LEAN: dict[str, Callable[[_Pairs], dict[str, Any]]] = {
    "service-2": _without_documentation,
    "endpoints": _with_few_services,
}
