"""Flattened images: the files of all layers as one tree, and as one tar.

The layers are read twice, and no more than headers are kept: first to learn which members survive, then to write those
in the order in which they come. Folders come first, by name; a file's other names come right after it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from entrepot.digest import Digest
from entrepot.layers.tar import BLOCK, Kind, Member
from entrepot.layers.tree import Tree
from entrepot.store.threads import DiskThreads
from entrepot.transfer.contents import Events, ImageContents, read_layer
from entrepot.transfer.trees import TreeBuilder

_XATTR = "SCHILY.xattr."
_Place = tuple[int, int]  # layer, and member in it


async def write_tar(image: ImageContents, file: BinaryIO) -> None:
    """Write the flattened image as a tar. Raises Corrupt, LayerInvalid, LayerTooLarge, BlobUnknown, OSError."""
    threads = DiskThreads(1)
    tree = await TreeBuilder().build(image)
    writing = _Writing(file)
    await threads.run(writing.begin, tree)
    for number, layer in enumerate(image.layers):
        if number in writing.layers:
            blob = await image.source.find_blob(Digest.parse(layer.digest))
            await read_layer(blob, writing.of_layer(number), threads)
            await threads.run(writing.end_member)
    await threads.run(writing.finish)


@dataclass(slots=True)
class _Writing:
    """Writes those members of the layers that have names in the tree."""

    file: BinaryIO
    names: dict[_Place, list[str]] = field(default_factory=dict)
    layers: set[int] = field(default_factory=set)
    _others: list[tuple[str, str]] = field(default_factory=list)  # further names of the file, and its first
    _padding: int = 0
    _is_wanted: bool = False

    def begin(self, tree: Tree) -> None:
        for path, inode in tree.walk():
            if inode.member.kind is Kind.FOLDER:
                if path:
                    self._header(path, inode.member)
            else:
                self.names.setdefault((inode.layer, inode.place), []).append(path)
                self.layers.add(inode.layer)

    def of_layer(self, layer: int) -> Callable[[Events], None]:
        place = -1

        def take(events: Events) -> None:
            nonlocal place
            for event in events:
                if isinstance(event, Member):
                    self.end_member()
                    place += 1
                    self._begin_member(event, self.names.get((layer, place), []))
                elif self._is_wanted:
                    self.file.write(event)

        return take

    def _begin_member(self, member: Member, names: list[str]) -> None:
        self._is_wanted = bool(names)
        if names:
            self._header(names[0], member)
            self._padding = member.padded_size - member.size
            self._others = [(name, names[0]) for name in names[1:]]

    def end_member(self) -> None:
        self.file.write(bytes(self._padding))
        for name, first in self._others:
            self._header(name, Member(name, Kind.HARD_LINK, 0, target=first))
        self._padding, self._others, self._is_wanted = 0, [], False

    def finish(self) -> None:
        self.file.write(bytes(2 * BLOCK))
        self.file.flush()

    def _header(self, path: str, member: Member) -> None:
        self.file.write(_header(path, member))


def _header(path: str, member: Member) -> bytes:
    entry = tarfile.TarInfo(path)
    entry.type, entry.size, entry.mode = member.kind.value, member.size, member.mode
    entry.uid, entry.gid, entry.uname, entry.gname = member.uid, member.gid, member.owner, member.group
    entry.mtime = int(member.mtime) if member.mtime == int(member.mtime) else member.mtime
    entry.linkname = member.target
    entry.devmajor, entry.devminor = member.device
    entry.pax_headers = {name: value for name, value in member.records.items() if name.startswith(_XATTR)}
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
