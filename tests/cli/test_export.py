"""``entrepot export``: the tree of all layers as a tar that unpacks to just that, from every kind of place."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from entrepot.cli.main import run
from entrepot.digest import Digest
from entrepot.testing.images import Content, Image, Index, Layer, build_image, build_index, write_layout
from tests.unit.repositories.archives import layout_members, tar

OCI_TAR = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENTREPOT_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    return tmp_path / "rootfs.tar"


def info(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    for key, value in more.items():
        setattr(member, key, value)
    return member


def layer(*members: tarfile.TarInfo | tuple[str, bytes]) -> Layer:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            entry, content = (info(member[0]), member[1]) if isinstance(member, tuple) else (member, b"")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return Layer(OCI_TAR, file.getvalue(), Digest.of(file.getvalue()))


def load(tmp_path: Path, image: Image | Index, name: str = "docker.io/library/app:v1") -> None:
    file = tmp_path / "in.tar"
    file.write_bytes(tar(layout_members({name: image})))
    assert run(["load", "-q", "-i", str(file)]) == 0


def members(file: Path) -> list[tuple[str, bytes | str]]:
    """Names in order, each with its content, or what a link points to."""
    found: list[tuple[str, bytes | str]] = []
    with tarfile.open(file) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            found.append((member.name, content.read() if content else member.linkname))
    return found


def export(tmp_path: Path, exported: Path, *layers: Layer) -> list[tuple[str, bytes | str]]:
    load(tmp_path, build_image(layers))
    assert run(["export", "-o", str(exported), "app:v1"]) == 0
    return members(exported)


def test_export_applies_whiteouts_and_writes_folders_first(tmp_path: Path, exported: Path) -> None:
    lower = layer(("etc/a", b"old"), ("etc/b", b"b"), ("var/x/y", b"y"), ("var/z", b"z"), ("bin/sh", b"#!"))
    upper = layer(("etc/.wh.b", b""), ("etc/a", b"new"), ("var/.wh..wh..opq", b""), ("var/w", b"w"))
    assert export(tmp_path, exported, lower, upper) == [
        ("bin", ""),
        ("etc", ""),
        ("var", ""),
        ("bin/sh", b"#!"),
        ("etc/a", b"new"),
        ("var/w", b"w"),
    ]


def test_export_writes_hard_links_after_their_file(tmp_path: Path, exported: Path) -> None:
    lower = layer(("c", b"content"), info("b", tarfile.LNKTYPE, linkname="c"), info("a", tarfile.LNKTYPE, linkname="c"))
    upper = layer((".wh.c", b""), ("d", b"d"))
    assert export(tmp_path, exported, lower, upper) == [("a", b"content"), ("b", "a"), ("d", b"d")]


def test_export_of_link_and_replaced_file_keeps_the_old_content(tmp_path: Path, exported: Path) -> None:
    lower = layer(("a", b"old"), info("b", tarfile.LNKTYPE, linkname="a"))
    assert export(tmp_path, exported, lower, layer(("a", b"new"))) == [("b", b"old"), ("a", b"new")]


def test_export_keeps_modes_owners_times_and_attributes(tmp_path: Path, exported: Path) -> None:
    xattr = {"SCHILY.xattr.user.note": "grün", "comment": "dropped"}
    stated = info("f", mode=0o4711, uid=1000, gid=5_000_000, mtime=1234567890.5, uname="bob", pax_headers=xattr)
    device = info("null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    export(tmp_path, exported, layer(stated, device, info("l", tarfile.SYMTYPE, linkname="/etc/f")))
    with tarfile.open(exported) as archive:
        kept, null, link = archive.getmembers()
    assert (kept.mode, kept.uid, kept.gid, kept.mtime) == (0o4711, 1000, 5_000_000, 1234567890.5)
    assert (kept.uname, kept.pax_headers["SCHILY.xattr.user.note"]) == ("bob", "grün")
    assert "comment" not in kept.pax_headers
    assert (null.type, null.devmajor, null.devminor) == (tarfile.CHRTYPE, 1, 3)
    assert (link.type, link.linkname) == (tarfile.SYMTYPE, "/etc/f")


@pytest.mark.parametrize("name", ["grüße", "x" * 300, "a/" * 60 + "b", "\udcff"], ids=["utf", "long", "deep", "raw"])
def test_export_keeps_any_name(tmp_path: Path, exported: Path, name: str) -> None:
    assert (name, b"x") in export(tmp_path, exported, layer((name, b"x")))


def test_export_never_leads_out_of_the_tree(tmp_path: Path, exported: Path) -> None:
    lower = layer(
        info("l", tarfile.SYMTYPE, linkname="../../../../../../tmp"), info("abs", tarfile.SYMTYPE, linkname="/etc")
    )
    upper = layer(("l/x", b"x"), ("abs/passwd", b"y"), ("/rooted", b"z"))
    names = [name for name, _ in export(tmp_path, exported, lower, upper)]
    assert sorted(names) == ["abs", "etc", "etc/passwd", "l", "rooted", "tmp", "tmp/x"]


def test_export_unpacks_with_tar_to_the_same_files(tmp_path: Path, exported: Path) -> None:
    export(tmp_path, exported, layer(("d/a", b"1"), info("d/l", tarfile.SYMTYPE, linkname="a")), layer(("d/b", b"2")))
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "out", "-xf", exported], check=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out" / "d").iterdir()} == {
        "a": b"1",
        "l": b"1",
        "b": b"2",
    }


def test_export_twice_gives_the_same_bytes(tmp_path: Path, exported: Path) -> None:
    export(tmp_path, exported, layer(("b", b"1"), ("a", b"2")), layer(("c/d", b"3")))
    first = exported.read_bytes()
    command = [sys.executable, "-m", "entrepot", "export", "app:v1"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == first


@pytest.mark.parametrize(("platform", "place"), [("linux/amd64", 0), ("linux/arm64", 1)])
def test_export_of_index_takes_the_platform(tmp_path: Path, exported: Path, platform: str, place: int) -> None:
    index = build_index(["linux/amd64", "linux/arm64"], seed=3)
    load(tmp_path, index)
    assert run(["export", "--platform", platform, "-o", str(exported), "app:v1"]) == 0
    assert f"data/{300 + place}-0.bin" in [name for name, _ in members(exported)]


@pytest.mark.parametrize("kind", ["folder", "oci", "tagged", "archive", "id"])
def test_export_out_of_any_place(tmp_path: Path, exported: Path, kind: str) -> None:
    image = build_image(1, seed=4)
    folder = write_layout(tmp_path / "layout", {"v1": image})
    file = tmp_path / "other.tar"
    file.write_bytes(tar(layout_members({"app:v1": image})))
    load(tmp_path, image)
    text = {
        "folder": str(folder),
        "oci": f"oci:{folder}",
        "tagged": f"oci:{folder}:v1",
        "archive": str(file),
        "id": image.id.encoded[:12],
    }[kind]
    assert run(["export", "-o", str(exported), text]) == 0
    assert [name for name, _ in members(exported)] == ["data", "data/4-0.bin"]


def broken(layers: Sequence[Content]) -> Image:
    """An image whose config agrees with whatever the layers are."""
    [right] = [build_image([Layer(each.media_type, each.data, Digest.of(each.data)) for each in layers])]
    return right


BROKEN = {
    "no-tar": (b"this is no tar at all" * 100, "this is no tar, or a damaged one"),
    "cut": (layer(("a", bytes(5000))).data[:3000], "the end of the archive"),
    "parent": (layer(("../../etc/passwd", b"evil")).data, "a name below the root"),
    "link-outside": (layer(info("l", tarfile.LNKTYPE, linkname="../../etc/passwd")).data, "a name below the root"),
    "link-nowhere": (layer(info("l", tarfile.LNKTYPE, linkname="nothing")).data, "a hard link to a file that is there"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_export_hostile_layer_is_refused_and_leaves_no_file(
    tmp_path: Path, exported: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    content, message = BROKEN[name]
    load(tmp_path, broken([Content(OCI_TAR, content)]))
    assert run(["export", "-o", str(exported), "app:v1"]) == 1
    assert message in capfd.readouterr().err
    assert not [name for name in os.listdir(tmp_path) if "rootfs" in name]


def test_export_layer_that_is_not_the_configs_is_refused(
    tmp_path: Path, exported: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = Layer(OCI_TAR, layer(("a", b"1")).data, Digest.of(b"other"))
    folder = write_layout(tmp_path / "layout", {"v1": build_image([wrong])})
    assert run(["export", "-o", str(exported), str(folder)]) == 1
    assert f"the image's config expects layer {wrong.digest} to unpack to" in capfd.readouterr().err


def test_export_absent_image_is_not_found(exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "-o", str(exported), "absent"]) == 2
    error = capfd.readouterr().err
    assert error.startswith("Error: No such image: absent:latest\nHint: entrepot pull absent")


def test_export_artifact_is_refused(tmp_path: Path, exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    manifest = json.dumps({"schemaVersion": 2, "config": {}, "layers": []}).encode()
    folder = write_layout(tmp_path / "layout", {"v1": build_image(1)})
    (folder / "index.json").write_bytes(manifest)
    assert run(["export", "-o", str(exported), str(folder)]) == 1
    assert "invalid manifest" in capfd.readouterr().err
