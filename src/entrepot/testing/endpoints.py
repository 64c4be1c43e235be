"""Registries at fixed addresses, for tests of what uses a Transport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from entrepot.errors import RegistryError


@dataclass(frozen=True, slots=True)
class Place:
    """One address."""

    base_url: str
    domain: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def repository(self, name: str) -> str:
        """The same name as everywhere."""
        return name


class FixedEndpoints:
    """The registry at ``base_url``, behind ``mirrors``, whatever domain is asked for."""

    def __init__(self, base_url: str, *mirrors: Place, headers: Mapping[str, str] | None = None) -> None:
        self._own = Place(base_url, base_url.partition("://")[2], headers=headers or {})
        self._mirrors = mirrors

    def for_pull(self, domain: str, name: str, *, by_digest: bool = False) -> Sequence[Place]:  # noqa: ARG002
        return [*self._mirrors, self._own]

    def for_push(self, domain: str, name: str = "") -> Place:  # noqa: ARG002
        return self._own

    def other(self, endpoint: object, error: RegistryError) -> Place | None:  # noqa: ARG002
        """There is nothing to switch to."""
        return None


async def no_wait(seconds: float) -> None:
    """For retries that need not wait."""
