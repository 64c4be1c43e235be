"""Podman's ``registries.conf``: mirrors, other locations, what is insecure or blocked (containers-registries.conf(5)).

Short names are not looked up here: a name without a registry is one of docker.io.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from entrepot.transport.toml_tables import TomlTable

_PULLS = ("", "all", "digest-only", "tag-only")
_OWN = "registries.conf"
_DROP_INS = "registries.conf.d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Another place for the names below a rule's prefix. ``pulls`` is ``all``, ``digest-only`` or ``tag-only``."""

    location: str
    insecure: bool = False
    pulls: str = "all"

    def serves(self, *, by_digest: bool) -> bool:
        """Whether it is asked for what is named by digest, or else by tag."""
        return self.pulls != ("tag-only" if by_digest else "digest-only")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A ``[[registry]]``. ``location`` is empty where names stay as they are."""

    prefix: str
    file: Path
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[Mirror, ...] = ()

    def matched(self, name: str) -> int:
        """How many characters of ``name`` (registry and repository) the prefix stands for; 0 when none."""
        if not self.prefix.startswith("*."):
            return len(self.prefix) if name == self.prefix or name.startswith(f"{self.prefix}/") else 0
        authority = name.partition("/")[0]
        host = authority if authority.endswith("]") else authority.partition(":")[0]
        return len(host) if host.endswith(self.prefix[1:]) else 0

    @property
    def exactness(self) -> tuple[bool, int]:
        """What decides between rules that match the same: a whole host before a star, a long suffix before a short."""
        return not self.prefix.startswith("*"), len(self.prefix)

    def moved(self, name: str, location: str) -> str:
        """``name`` at another location."""
        return location + name[self.matched(name) :] if location else name


class Rules:
    """The rules of all files; the one with the longest match counts."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = rules

    def find(self, name: str) -> Rule | None:
        """The rule for a name of registry and repository, e.g. ``docker.io/library/nginx``, or a registry alone."""
        best = max(self._rules, key=lambda rule: (rule.matched(name), *rule.exactness), default=None)
        return best if best is not None and best.matched(name) else None


def read_rules(*, system: Path, user: Path, named: Path | None = None) -> Rules:
    """The rules of ``/etc/containers`` and ``~/.config/containers``, or of the one file that is ``named``.

    A user's own file stands for the system's, with its drop-ins; a rule with a prefix that was there before takes its
    place. Raises ConfigInvalid.
    """
    rules: dict[str, Rule] = {}
    for file in _files(system, user, named):
        table = TomlTable.read(file)
        if table is not None:
            rules.update(_parse(table))
    return Rules(list(rules.values()))


def _files(system: Path, user: Path, named: Path | None) -> list[Path]:
    if named is not None:
        return [named]
    if (user / _OWN).is_file():
        return [user / _OWN, *_drop_ins(user)]
    return [system / _OWN, *_drop_ins(system), *_drop_ins(user)]


def _drop_ins(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in (folder / _DROP_INS).iterdir() if file.suffix == ".conf" and file.is_file())
    except OSError:  # not there, or of another user
        return []


def _parse(table: TomlTable) -> dict[str, Rule]:
    if isinstance(table.value("registries"), dict):
        return _parse_version_1(table)
    rules = [_rule(registry) for registry in table.tables("registry")]
    return {rule.prefix: rule for rule in rules}


def _parse_version_1(table: TomlTable) -> dict[str, Rule]:
    lists = table.table("registries")
    insecure, blocked = (_names(lists.table(kind)) for kind in ("insecure", "block"))
    return {
        name: Rule(prefix=name, file=table.file, insecure=name in insecure, blocked=name in blocked)
        for name in (*insecure, *blocked)
    }


def _names(table: TomlTable) -> tuple[str, ...]:
    return tuple(name.strip("/") for name in table.texts("registries"))


def _rule(table: TomlTable) -> Rule:
    location = _location(table)
    prefix = table.text("prefix").strip("/") or location
    if not prefix:
        table.refuse("prefix", "a registry such as example.com, here or as location")
    if "*" in prefix.removeprefix("*.") or (prefix.startswith("*.") and "/" in prefix):
        table.refuse("prefix", "* only as the first part of a host, as in *.example.com")
    return Rule(
        prefix=prefix,
        file=table.file,
        location="" if location == prefix else location,
        insecure=table.flag("insecure"),
        blocked=table.flag("blocked"),
        mirrors=tuple(_mirror(mirror, table) for mirror in table.tables("mirror")),
    )


def _mirror(table: TomlTable, rule: TomlTable) -> Mirror:
    location = _location(table)
    if not location:
        table.refuse("location", "a registry such as mirror.example.com")
    pulls = table.text("pull-from-mirror")
    if pulls not in _PULLS:
        table.refuse("pull-from-mirror", '"all", "digest-only" or "tag-only"')
    if rule.flag("mirror-by-digest-only"):
        if pulls:
            table.refuse("pull-from-mirror", "nothing where mirror-by-digest-only is set")
        pulls = "digest-only"
    return Mirror(location=location, insecure=table.flag("insecure"), pulls=pulls or "all")


def _location(table: TomlTable) -> str:
    location = table.text("location").strip("/")
    if "://" in location:
        table.refuse("location", "a registry without https://")
    return location
