"""The tree of files that layers make together, lowest first (image-spec, layer.md, "Applying Changesets").

``.wh.NAME`` hides NAME of the layers below, ``.wh..wh..opq`` everything that those have in its folder; neither hides
what its own layer brings. Hard links are names of one *inode*, wherever its content came from: it stays when the name
that it came under is hidden. Parents that are symbolic links are followed inside the tree, as containerd does, so that
no path of the result leads through a link.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from entrepot.errors import LayerInvalid, LayerTooLarge
from entrepot.layers.tar import Kind, Member

MAX_ENTRIES = 2_000_000  # names in one tree; about a kilobyte of memory each
MAX_PATH_DEPTH = 1000
WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_AUFS = ".wh..wh."  # of aufs' own; they mean nothing elsewhere
_MAX_LINKS = 255  # followed for one path; Linux stops after 40


@dataclass(slots=True, eq=False)
class Inode:
    """What names stand for: the ``place``-th member of the layer ``layer``, both counted from 0."""

    member: Member
    layer: int
    place: int
    content: str = ""  # the digest of a file's content, if somebody has put it there


class Node:
    """A name in a folder. ``children`` is None unless this is a folder itself."""

    __slots__ = ("children", "inode", "layer")

    def __init__(self, inode: Inode, layer: int) -> None:
        self.inode = inode
        self.layer = layer  # that has brought the name
        self.children: dict[str, Node] | None = {} if inode.member.kind is Kind.FOLDER else None


class Tree:
    """Files and folders. Members are added in the order of their layers, and in that of each layer's tar."""

    def __init__(self, limit: int = MAX_ENTRIES) -> None:
        self._limit = limit
        self._count = 0
        self._root = _new_folder("", 0)
        self._layer = 0
        self._pruned: set[int] = set()  # folders without anything of lower layers, by id

    def add(self, member: Member, layer: int, place: int) -> Inode | None:
        """Apply one member; None when it is a whiteout. Raises LayerInvalid, LayerTooLarge."""
        if layer != self._layer:
            self._layer, self._pruned = layer, set()
        parts = split_path(member.name)
        if not parts:
            return self._set_root(member, layer, place)
        name = parts[-1]
        if name.startswith(WHITEOUT):
            self._hide(parts[:-1], name, layer)
            return None
        children = self._folder(parts[:-1], layer)
        inode = self._linked(member) if member.kind is Kind.HARD_LINK else Inode(member, layer, place)
        self._put(children, name, Node(inode, layer))
        return inode

    def walk(self) -> Iterator[tuple[str, Inode]]:
        """Every name with what it stands for, in byte order: the root first, folders before what is in them."""
        waiting = [("", self._root)]
        while waiting:
            path, node = waiting.pop()
            yield path, node.inode
            prefix = f"{path}/" if path else ""
            names = sorted(node.children or (), key=_sort_key, reverse=True)
            waiting += [(prefix + name, (node.children or {})[name]) for name in names]

    def _set_root(self, member: Member, layer: int, place: int) -> Inode:
        if member.kind is not Kind.FOLDER:
            _refuse(member.name, "a folder for the root")
        self._root.inode = Inode(member, layer, place)
        return self._root.inode

    def _put(self, children: dict[str, Node], name: str, node: Node) -> None:
        before = children.get(name)
        if before is None:
            self._count += 1
            if self._count > self._limit:
                raise LayerTooLarge(f"an image may have {self._limit} files, this one has more", limit=self._limit)
        elif before.children is not None and node.children is not None:
            node.children = before.children
        children[name] = node

    def _linked(self, member: Member) -> Inode:
        parts = split_path(member.target)
        node = self._find(parts)
        if node is None or node.children is not None:
            _refuse(member.name, f"a hard link to a file that is there, not to {member.target[:200]!r}")
        return node.inode

    def _hide(self, parts: list[str], name: str, layer: int) -> None:
        hidden = name.removeprefix(WHITEOUT)
        if hidden in ("", ".", ".."):
            _refuse(name, "a whiteout with a name")
        folder = self._find(parts, follow=True)
        if folder is None or folder.children is None or (name.startswith(_AUFS) and name != _OPAQUE):
            return
        if name == _OPAQUE:
            self._prune(folder.children)
            return
        node = folder.children.get(hidden)
        if node is not None and self._prune(node.children or {}) and node.layer < layer:
            del folder.children[hidden]

    def _prune(self, children: dict[str, Node]) -> bool:
        """Remove what lower layers have brought; True when nothing is left."""
        folders = [children] if id(children) not in self._pruned else []
        for inner in folders:  # grows while it is walked: parents before their children
            below = [node.children for node in inner.values() if node.children]
            folders += [folder for folder in below if id(folder) not in self._pruned]
        for inner in reversed(folders):
            for name in [name for name, node in inner.items() if node.layer < self._layer and not node.children]:
                del inner[name]
            self._pruned.add(id(inner))
        return not children

    def _find(self, parts: list[str], *, follow: bool = False) -> Node | None:
        """What a path leads to; its last part is followed only if ``follow``."""
        path = self._resolve(parts if follow else parts[:-1])
        path += [] if follow else parts[-1:]
        node: Node | None = self._root
        for part in path:
            node = node.children.get(part) if node is not None and node.children is not None else None
        return node

    def _folder(self, parts: list[str], layer: int) -> dict[str, Node]:
        """The children of a folder, made with its parents if need be."""
        children = self._root.children
        assert children is not None
        for part in self._resolve(parts):
            node = children.get(part)
            if node is None or node.children is None:
                node = _new_folder(part, layer)
                self._put(children, part, node)
            assert node.children is not None
            children = node.children
        return children

    def _resolve(self, parts: list[str]) -> list[str]:
        """The path without symbolic links, as far as it is there; it cannot lead above the root."""
        resolved: list[tuple[str, Node | None]] = []
        waiting = parts[::-1]
        links = 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                resolved = resolved[:-1]
                continue
            parent = resolved[-1][1] if resolved else self._root
            node = parent.children.get(part) if parent is not None and parent.children is not None else None
            if node is None or node.inode.member.kind is not Kind.SYMLINK:
                resolved.append((part, node))
                continue
            links += 1
            if links > _MAX_LINKS:
                _refuse("/".join(parts), "a path without links in a circle")
            target = node.inode.member.target
            resolved = [] if target.startswith("/") else resolved
            waiting += [step for step in reversed(target.split("/")) if step not in ("", ".")]
        return [part for part, _ in resolved]


def split_path(name: str) -> list[str]:
    """The parts of a member's name; none for the root. Raises LayerInvalid when it leads out of the tree."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or len(parts) > MAX_PATH_DEPTH:
        _refuse(name, "a name below the root")
    return parts


def _new_folder(name: str, layer: int) -> Node:
    """A folder that nothing describes: as umask 022 has it, of the epoch."""
    return Node(Inode(Member(name, Kind.FOLDER, 0, mode=0o755), layer, -1), layer)


def _sort_key(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _refuse(name: str, expected: str) -> NoReturn:
    raise LayerInvalid(f"invalid layer: expected {expected}, got {name[:200]!r}")
