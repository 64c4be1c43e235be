"""Whiteouts, hard links and links in paths: what layers make together."""

from __future__ import annotations

import pytest

from entrepot.errors import LayerInvalid, LayerTooLarge
from entrepot.layers.tar import Kind, Member
from entrepot.layers.tree import Tree


def file(name: str, size: int = 1) -> Member:
    return Member(name, Kind.FILE, size)


def folder(name: str, mode: int = 0o700) -> Member:
    return Member(name, Kind.FOLDER, 0, mode=mode)


def symlink(name: str, target: str) -> Member:
    return Member(name, Kind.SYMLINK, 0, target=target)


def link(name: str, target: str) -> Member:
    return Member(name, Kind.HARD_LINK, 0, target=target)


def build(*layers: list[Member]) -> Tree:
    tree = Tree()
    for number, members in enumerate(layers):
        for place, member in enumerate(members):
            tree.add(member, number, place)
    return tree


def paths(tree: Tree) -> list[str]:
    return [path for path, _ in tree.walk() if path]


def origins(tree: Tree) -> dict[str, tuple[int, int]]:
    """Of everything but made-up folders the layer and place that it comes from."""
    return {path: (inode.layer, inode.place) for path, inode in tree.walk() if inode.place >= 0}


USR_LIB = ["lib", "usr", "usr/lib", "usr/lib/x"]
CASES: dict[str, tuple[list[list[Member]], list[str]]] = {
    "one-layer": ([[file("b"), file("a"), folder("c"), file("c/d")]], ["a", "b", "c", "c/d"]),
    "dots-and-slashes": ([[file("./a"), file("/b"), file("c//d/./e")]], ["a", "b", "c", "c/d", "c/d/e"]),
    "parents-are-made": ([[file("x/y/z")]], ["x", "x/y", "x/y/z"]),
    "added-to-folder": ([[folder("d"), file("d/a")], [folder("d"), file("d/b")]], ["d", "d/a", "d/b"]),
    "whiteout-file": ([[file("a"), file("b")], [file(".wh.a")]], ["b"]),
    "whiteout-folder": ([[file("d/a"), file("d/e/b")], [file(".wh.d")]], []),
    "whiteout-deep": ([[file("d/a"), file("d/b")], [file("d/.wh.a")]], ["d", "d/b"]),
    "whiteout-of-nothing": ([[file("a")], [file(".wh.x"), file("n/.wh.y")]], ["a"]),
    "whiteout-leaves-own-layer": ([[file("a")], [file("a"), file(".wh.a")]], ["a"]),
    "whiteout-then-own-file": ([[file("a")], [file(".wh.a"), file("a")]], ["a"]),
    "whiteout-of-folder-and-new-one": ([[file("d/a")], [file(".wh.d"), file("d/b")]], ["d", "d/b"]),
    "new-folder-and-whiteout": ([[file("d/a")], [folder("d"), file("d/b"), file(".wh.d")]], ["d", "d/b"]),
    "whiteout-comes-back": ([[file("a")], [file(".wh.a")], [file("a")]], ["a"]),
    "opaque": ([[file("d/a"), file("d/e/b")], [file("d/.wh..wh..opq"), file("d/c")]], ["d", "d/c"]),
    "opaque-last": ([[file("d/a"), file("d/e/b")], [file("d/e/c"), file("d/.wh..wh..opq")]], ["d", "d/e", "d/e/c"]),
    "opaque-root": ([[file("a"), file("d/a")], [file(".wh..wh..opq"), file("b")]], ["b"]),
    "opaque-of-nothing": ([[file("a")], [file("x/.wh..wh..opq")]], ["a"]),
    "opaque-twice": ([[file("d/a")], [file("d/.wh..wh..opq"), file("d/b"), file("d/.wh..wh..opq")]], ["d", "d/b"]),
    "aufs-marks": ([[file("a")], [folder(".wh..wh.plnk"), file(".wh..wh.aufs")]], ["a"]),
    "file-over-folder": ([[file("d/a")], [file("d")]], ["d"]),
    "folder-over-file": ([[file("d")], [folder("d"), file("d/a")]], ["d", "d/a"]),
    "below-a-file": ([[file("d")], [file("d/a")]], ["d", "d/a"]),
    "last-of-two-counts": ([[file("a", 1), file("a", 2)]], ["a"]),
    "through-symlink": ([[folder("usr/lib"), symlink("lib", "usr/lib")], [file("lib/x")]], USR_LIB),
    "through-absolute-symlink": ([[symlink("lib", "/usr/lib")], [file("lib/x")]], USR_LIB),
    "through-absolute-symlink-below": ([[symlink("d/l", "/e")], [file("d/l/x")]], ["d", "d/l", "e", "e/x"]),
    "through-symlink-outside": ([[symlink("l", "../../etc")], [file("l/x")]], ["etc", "etc/x", "l"]),
    "through-symlink-beside": ([[symlink("a/l", "../c")], [file("a/l/x")]], ["a", "a/l", "c", "c/x"]),
    "whiteout-through-symlink": ([[file("usr/x"), symlink("l", "usr")], [file("l/.wh.x")]], ["l", "usr"]),
    "symlink-is-replaced": ([[symlink("l", "/etc")], [folder("l"), file("l/x")]], ["l", "l/x"]),
    "whiteout-of-symlink": ([[file("d/a"), symlink("l", "d")], [file(".wh.l")]], ["d", "d/a"]),
    "byte-order": ([[file("b/c"), file("b-c"), file("B")]], ["B", "b", "b/c", "b-c"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_apply_layers_gives_paths(name: str) -> None:
    layers, expected = CASES[name]
    assert sorted(paths(build(*layers))) == sorted(expected)


def test_walk_gives_names_in_byte_order_and_folders_first() -> None:
    assert paths(build([file("b/c"), file("b-c"), file("B"), file("b/a")])) == ["B", "b", "b/a", "b/c", "b-c"]


def test_apply_file_over_file_gives_the_upper() -> None:
    assert origins(build([file("a"), file("b")], [file("b")])) == {"a": (0, 0), "b": (1, 0)}


def test_apply_folder_over_folder_gives_the_uppers_mode() -> None:
    tree = build([folder("d", 0o755), file("d/a")], [folder("d", 0o711)])
    assert dict(tree.walk())["d"].member.mode == 0o711


def test_apply_root_gives_its_mode() -> None:
    tree = build([folder("./", 0o755), file("a")], [folder(".", 0o700)])
    assert dict(tree.walk())[""].member.mode == 0o700


def test_hard_link_shares_the_inode() -> None:
    assert origins(build([file("a"), link("b", "./a"), link("c", "b")])) == {"a": (0, 0), "b": (0, 0), "c": (0, 0)}


def test_hard_link_stays_when_its_first_name_is_hidden() -> None:
    assert origins(build([file("a"), link("b", "a")], [file(".wh.a")])) == {"b": (0, 0)}


def test_hard_link_stays_when_its_first_name_is_replaced() -> None:
    assert origins(build([file("a"), link("b", "a")], [file("a")])) == {"a": (1, 0), "b": (0, 0)}


def test_hard_link_into_lower_layer_is_found() -> None:
    assert origins(build([file("usr/a"), symlink("l", "usr")], [link("b", "l/a")]))["b"] == (0, 0)


BROKEN = {
    "parent": [[file("a/../../b")]],
    "parent-at-end": [[folder("a/..")]],
    "absolute-parent": [[file("/../b")]],
    "link-outside": [[link("a", "../etc/passwd")]],
    "link-to-nothing": [[link("a", "b")]],
    "link-to-itself": [[link("a", "a")]],
    "link-to-folder": [[folder("d"), link("a", "d")]],
    "link-to-hidden": [[file("b")], [file(".wh.b"), link("a", "b")]],
    "links-in-a-circle": [[symlink("a", "b"), symlink("b", "a"), file("a/x")]],
    "whiteout-without-name": [[file("d/.wh.")]],
    "whiteout-of-parent": [[file("d/.wh...")]],
    "root-is-a-file": [[file("./")]],
    "too-deep": [[file("d/" * 1001 + "x")]],
}


@pytest.mark.parametrize("name", BROKEN)
def test_apply_hostile_member_is_refused(name: str) -> None:
    with pytest.raises(LayerInvalid, match="invalid layer: expected"):
        build(*BROKEN[name])


def test_apply_more_than_the_limit_is_refused() -> None:
    tree = Tree(limit=3)
    for number in range(3):
        tree.add(file(str(number)), 0, number)
    tree.add(file("0"), 0, 3)
    with pytest.raises(LayerTooLarge, match="may have 3 files"):
        tree.add(file("3"), 0, 4)


def test_apply_many_opaque_marks_takes_little_time() -> None:
    tree = build([file(f"d/{number}/x") for number in range(3000)])
    for place in range(20_000):
        tree.add(file(f"d/n{place}" if place % 2 else "d/.wh..wh..opq"), 1, place)
    assert len(paths(tree)) == 10_001
