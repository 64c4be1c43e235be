"""entrepot: a container registry and its client in one package.

What programs use is described in ``entrepot.api`` and can be had from here; it is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from entrepot.version import __version__

if TYPE_CHECKING:
    from entrepot.api import (
        Access,
        Copied,
        Credentials,
        Digest,
        Event,
        ImageReference,
        ImageRow,
        ImageStore,
        Listener,
        NotFound,
        Pulled,
        RegistryError,
        RegistryErrors,
        RemoteRegistry,
        RepositoryName,
        Secret,
        State,
        Tag,
        copy,
        list_images,
        list_repositories,
        list_tags,
        open_registry,
        open_store,
        pull,
        push,
        resolve,
        tag,
    )

__all__ = [
    "Access",
    "Copied",
    "Credentials",
    "Digest",
    "Event",
    "ImageReference",
    "ImageRow",
    "ImageStore",
    "Listener",
    "NotFound",
    "Pulled",
    "RegistryError",
    "RegistryErrors",
    "RemoteRegistry",
    "RepositoryName",
    "Secret",
    "State",
    "Tag",
    "__version__",
    "copy",
    "list_images",
    "list_repositories",
    "list_tags",
    "open_registry",
    "open_store",
    "pull",
    "push",
    "resolve",
    "tag",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'entrepot' has no attribute {name!r}")
    return getattr(importlib.import_module("entrepot.api"), name)


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
