"""The list that ``entrepot sync`` reads: our own form, or that of skopeo (skopeo-sync(1)).

Ours::

    to: registry.example.com/mirror       # a registry, maybe with a path; store:; oci:DIR
    registries:                           # for logins and certificates that are nowhere else
      registry.example.com: {username: anna, password: secret, tls-verify: false}
    images:
      - nginx:1.23.3                      # one image
      - from: quay.io/team/app            # a repository: all its tags, but for
        to: localhost:5000/app            # where this one goes
        tags: [stable, 1.*]               # only tags like these, and
        regex: ^v2                        # those in which an expression is found
        semver: ">=1.20 <2"               # of them, only versions in a range
        newest: 5                         # of them, only the latest so many
        exclude: ["*-debug"]              # never these; exclude-regex as well
        digests: ["sha256:..."]           # these images too
        platforms: [linux/amd64]
        referrers: true                   # signatures and the like
        digest-tags: true                 # also tags like sha256-<hex>.sig

Values are taken as they are written, so that 1.10 is a tag and no number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from entrepot.auth.secret import Credentials, Secret
from entrepot.cli.catalog import parse_host
from entrepot.cli.yaml_values import Value, read_yaml
from entrepot.digest import Digest
from entrepot.errors import ConfigInvalid, RegistryError
from entrepot.platforms import Platform
from entrepot.transfer.places import Place
from entrepot.transfer.semver import VersionRange
from entrepot.transfer.sync import Destination, SyncRule, TagRule, compile_pattern, parse_source

T = TypeVar("T")

_OURS = ("to", "registries", "images")
_ENTRY = (
    "from", "to", "tags", "regex", "semver", "newest", "exclude", "exclude-regex", "digests", "platforms",
    "referrers", "digest-tags",
)  # fmt: skip
_REGISTRY = ("username", "password", "tls-verify")
_BY_TAG, _BY_REGEX, _BY_VERSION = "images", "images-by-tag-regex", "images-by-semver"
_SKOPEO = (_BY_TAG, _BY_REGEX, _BY_VERSION, "credentials", "tls-verify")


@dataclass(slots=True)
class SyncList:
    """What the list says: what to copy, and how some registries are reached."""

    rules: list[SyncRule] = field(default_factory=list)
    logins: dict[str, Credentials] = field(default_factory=dict)
    insecure: set[str] = field(default_factory=set)


def read_list(file: Path, destination: str | None, *, scoped: bool) -> SyncList:
    """Read a list of either form; ``destination`` goes before what is in it. Raises ConfigInvalid, OSError."""
    root = read_yaml(file)
    top = root.mapping()
    if not top:
        root.refuse("a list of images")
    is_ours = isinstance(top["images"].content, list) if "images" in top else "to" in top
    return _Ours(destination, scoped).read(root) if is_ours else _Skopeo(destination, scoped).read(root)


@dataclass(slots=True)
class _Ours:
    destination: str | None
    scoped: bool

    def read(self, root: Value) -> SyncList:
        top = root.mapping(*_OURS)
        found = SyncList()
        for host, value in top["registries"].mapping().items() if "registries" in top else ():
            _read_registry(found, _host(host, value), value.mapping(*_REGISTRY), value)
        if self.destination is None and "to" in top:
            self.destination = top["to"].text()
        if "images" not in top:
            root.refuse("images, a list of what to copy")
        found.rules = [self._rule(entry) for entry in top["images"].items()]
        return found

    def _rule(self, entry: Value) -> SyncRule:
        if isinstance(entry.content, str):
            return self._made(entry, entry, {})
        keys = entry.mapping(*_ENTRY)
        if "from" not in keys:
            entry.refuse("from, the image or repository to copy")
        return self._made(entry, keys["from"], keys)

    def _made(self, entry: Value, source: Value, keys: dict[str, Value]) -> SyncRule:
        place, named, digest = source.read(parse_source)
        rule = _tag_rule(keys)
        if rule != TagRule() and (named is not None or digest is not None):
            source.refuse("a repository without tag or digest, because others are chosen below")
        digests = (*_all(keys, "digests", Digest.parse), *([digest] if digest else []))
        return SyncRule(
            source=place,
            target=self._target(entry, keys, place),
            tags=named or rule,
            digests=digests,
            only_digests=bool(digests) and rule == TagRule() and named is None,
            platforms=_all(keys, "platforms", Platform.parse),
            referrers="referrers" in keys and keys["referrers"].flag(),
            where=entry.where,
        )

    def _target(self, entry: Value, keys: dict[str, Value], source: Place) -> Place:
        if "to" in keys:
            place, named, digest = keys["to"].read(parse_source)
            if named is not None or digest is not None:
                keys["to"].refuse("a repository without tag or digest")
            return place
        return _destined(entry, self.destination, source, scoped=self.scoped)


@dataclass(slots=True)
class _Skopeo:
    destination: str | None
    scoped: bool

    def read(self, root: Value) -> SyncList:
        found = SyncList()
        for host, value in root.mapping().items():
            domain = _host(host, value)
            keys = value.mapping(*_SKOPEO)
            login = keys["credentials"].mapping("username", "password") if "credentials" in keys else {}
            _read_registry(found, domain, {**login, **{key: keys[key] for key in keys if key == "tls-verify"}}, value)
            for kind, read in ((_BY_TAG, _listed), (_BY_REGEX, _by_regex), (_BY_VERSION, _by_version)):
                for name, chosen in keys[kind].mapping().items() if kind in keys else ():
                    found.rules.append(self._rule(f"{domain}/{name}", chosen, read))
        return found

    def _rule(self, name: str, chosen: Value, read: Callable[[Value], SyncRule]) -> SyncRule:
        place, named, digest = Value(chosen.file, chosen.line, name).read(parse_source)
        if named is not None or digest is not None:
            chosen.refuse("a repository without tag or digest as key")
        rule = read(chosen)
        target = _destined(chosen, self.destination, place, scoped=self.scoped, last_part_only=not self.scoped)
        return replace(rule, source=place, target=target, where=chosen.where)


_NOWHERE = Place.parse("nowhere")  # replaced by those who make a rule of it


def _listed(chosen: Value) -> SyncRule:
    """Tags and digests; all tags when there are none."""
    texts = [item for item in chosen.items() if item.text()]
    digests = tuple(item.read(Digest.parse) for item in texts if ":" in item.text())
    tags = tuple(item.text() for item in texts if ":" not in item.text())
    return SyncRule(
        source=_NOWHERE,
        target=_NOWHERE,
        tags=TagRule(globs=tags),
        digests=digests,
        only_digests=bool(digests) and not tags,
    )


def _by_regex(chosen: Value) -> SyncRule:
    return SyncRule(source=_NOWHERE, target=_NOWHERE, tags=TagRule(patterns=(chosen.read(compile_pattern),)))


def _by_version(chosen: Value) -> SyncRule:
    return SyncRule(source=_NOWHERE, target=_NOWHERE, tags=TagRule(versions=chosen.read(VersionRange.parse)))


def _tag_rule(keys: dict[str, Value]) -> TagRule:
    return TagRule(
        globs=_all(keys, "tags", str),
        patterns=_all(keys, "regex", compile_pattern),
        without=_all(keys, "exclude", str),
        without_patterns=_all(keys, "exclude-regex", compile_pattern),
        versions=keys["semver"].read(VersionRange.parse) if "semver" in keys else None,
        newest=keys["newest"].count() if "newest" in keys else None,
        digest_tags="digest-tags" in keys and keys["digest-tags"].flag(),
    )


def _all(keys: dict[str, Value], key: str, parse: Callable[[str], T]) -> tuple[T, ...]:
    return tuple(item.read(parse) for item in keys[key].items()) if key in keys else ()


def _destined(
    entry: Value, destination: str | None, source: Place, *, scoped: bool, last_part_only: bool = False
) -> Place:
    if destination is None:
        raise ConfigInvalid(
            f"{entry.where}: nothing says where this goes",
            hint="name a destination behind the list: entrepot sync -f LIST DESTINATION; or write to: into it",
        )
    try:
        return Destination(destination, scoped, last_part_only).place_for(source)
    except RegistryError as error:
        raise ConfigInvalid(f"{entry.where}: {error.message}", **error.detail) from error


def _read_registry(found: SyncList, domain: str, keys: dict[str, Value], value: Value) -> None:
    if ("username" in keys) != ("password" in keys):
        value.refuse("username and password, both or none of them")
    if "username" in keys:
        found.logins[domain] = Credentials(keys["username"].text(), Secret(keys["password"].text()))
    if "tls-verify" in keys and not keys["tls-verify"].flag():
        found.insecure.add(domain)


def _host(text: str, value: Value) -> str:
    return Value(value.file, value.line, text).read(parse_host)


def shared_targets(rules: list[SyncRule]) -> Iterator[tuple[Place, str]]:
    """Targets that several sources would be copied to, with where the second is asked for."""
    seen: dict[str, SyncRule] = {}
    for rule in rules:
        first = seen.setdefault(str(rule.target), rule)
        if first.source != rule.source:
            yield rule.target, rule.where
