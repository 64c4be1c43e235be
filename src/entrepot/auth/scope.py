"""What a token is for: ``repository:library/nginx:pull`` (distribution, "Token Scope Documentation")."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from entrepot.errors import ParameterInvalid

ANY = "*"
MAX_SCOPES = 64  # of one challenge

_MAX_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Scope:
    """Some actions on one thing. ``kind`` is ``repository`` or ``registry``."""

    kind: str
    name: str
    actions: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """``KIND:NAME:ACTION,...``; the name may contain colons. Raises ParameterInvalid."""
        kind, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        if not kind or not name or not all(character.isprintable() and character != " " for character in text):
            shown = text[:_MAX_SHOWN]
            raise ParameterInvalid(f"invalid scope: expected KIND:NAME:ACTIONS, got {shown!r}", value=shown)
        return cls(kind, name, frozenset(action for action in actions.split(",") if action))

    @classmethod
    def pull(cls, name: str) -> Self:
        """To read the repository ``name``."""
        return cls("repository", name, frozenset({"pull"}))

    @classmethod
    def push(cls, name: str) -> Self:
        """To read and write the repository ``name``."""
        return cls("repository", name, frozenset({"pull", "push"}))

    def covers(self, other: Scope) -> bool:
        """Whether a token for this one does for ``other``."""
        if (self.kind, self.name) != (other.kind, other.name):
            return False
        return ANY in self.actions or other.actions <= self.actions

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{','.join(sorted(self.actions))}"


def parse_scopes(text: str) -> frozenset[Scope]:
    """The scopes of a challenge, separated by blanks. What is none is passed over: servers send what they like."""
    scopes = set()
    for word in text.split()[:MAX_SCOPES]:
        try:
            scopes.add(Scope.parse(word))
        except ParameterInvalid:
            continue
    return frozenset(scopes)


def merge(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """The same rights with one scope for each thing."""
    actions: dict[tuple[str, str], frozenset[str]] = {}
    for scope in scopes:
        thing = (scope.kind, scope.name)
        actions[thing] = actions.get(thing, frozenset()) | scope.actions
    return frozenset(Scope(kind, name, allowed) for (kind, name), allowed in actions.items())
