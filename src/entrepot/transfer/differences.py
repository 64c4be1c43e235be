"""What two images differ in: config, layers, and files of the flattened trees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from entrepot.layers.tar import Kind
from entrepot.layers.tree import Inode
from entrepot.manifest import Descriptor
from entrepot.transfer.contents import ImageContents
from entrepot.transfer.trees import TreeBuilder

ABSENT = object()  # instead of a value that only one of the two configs has
_NOT_CONFIG = {"rootfs", "history"}  # of which the layers tell
_FOLDER_FACTS = ("mode", "uid", "gid")


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A key of the config, e.g. ``config.Env.PATH``, and its values; ABSENT where there is none."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class LayerChange:
    """A layer and who has it: ``=`` both, ``-`` the first, ``+`` the second image. ``size`` as it is stored."""

    sign: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that was added (A), changed (C) or removed (D); ``what`` names the facts that changed. Sizes in bytes."""

    sign: str
    path: str
    kind: str
    before: int
    after: int
    what: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Differences:
    """All of it; files by path."""

    config: list[ConfigChange]
    layers: list[LayerChange]
    files: list[FileChange]


async def compare(one: ImageContents, other: ImageContents) -> Differences:
    """Raises Corrupt, LayerInvalid, LayerTooLarge, BlobUnknown."""
    files = await compare_files(one, other) if one.config.diff_ids != other.config.diff_ids else []
    config = compare_configs(one.config.document, other.config.document)
    return Differences(config, compare_layers(one.layers, other.layers), files)


def compare_configs(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[ConfigChange]:
    """Every key with another value, by name; environment variables are keys, other lists are values."""
    before, after = dict(_flat(one)), dict(_flat(other))
    return [
        ConfigChange(key, before.get(key, ABSENT), after.get(key, ABSENT))
        for key in sorted(before.keys() | after.keys())
        if before.get(key, ABSENT) != after.get(key, ABSENT)
    ]


def _flat(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    waiting = [(key, value) for key, value in document.items() if key not in _NOT_CONFIG]
    while waiting:
        key, value = waiting.pop()
        if key.endswith(".Env") and isinstance(value, list) and all(isinstance(item, str) for item in value):
            value = dict(item.split("=", 1) if "=" in item else (item, "") for item in value)
        if isinstance(value, dict) and value:
            waiting += [(f"{key}.{name}", inner) for name, inner in value.items()]
        elif value not in (None, "", [], {}):
            yield key, value


def compare_layers(one: tuple[Descriptor, ...], other: tuple[Descriptor, ...]) -> list[LayerChange]:
    """The layers of the first image in order, then those that only the second has."""
    first, second = {layer.digest for layer in one}, {layer.digest for layer in other}
    changes = [LayerChange("=" if layer.digest in second else "-", layer.digest, layer.size) for layer in one]
    return changes + [LayerChange("+", layer.digest, layer.size) for layer in other if layer.digest not in first]


async def compare_files(one: ImageContents, other: ImageContents) -> list[FileChange]:
    """The files of both trees by path, without those that are the same. Times do not count."""
    trees = TreeBuilder(hash_files=True)
    before, after = dict((await trees.build(one)).walk()), dict((await trees.build(other)).walk())
    changes = (_change(path, before.get(path), after.get(path)) for path in sorted(before.keys() | after.keys()))
    return [change for change in changes if change is not None]


def _change(path: str, before: Inode | None, after: Inode | None) -> FileChange | None:
    if before is None or after is None:
        there = before or after
        assert there is not None
        size, kind = there.member.size, there.member.kind.name.lower()
        return FileChange("D", path, kind, size, 0) if before else FileChange("A", path, kind, 0, size)
    what = tuple(_facts_that_differ(before, after))
    if not what:
        return None
    return FileChange("C", path, after.member.kind.name.lower(), before.member.size, after.member.size, what)


def _facts_that_differ(before: Inode, after: Inode) -> Iterator[str]:
    one, other = before.member, after.member
    if one.kind is not other.kind:
        yield "kind"
        return
    if one.kind is Kind.FOLDER and -1 in (before.place, after.place):  # nobody has described one of them
        return
    if before.content != after.content:
        yield "content"
    for fact in (*_FOLDER_FACTS, "target", "device", "records"):
        if getattr(one, fact) != getattr(other, fact):
            yield "xattrs" if fact == "records" else fact
