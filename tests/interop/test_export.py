"""The files of an image as umoci and docker unpack them, against what we export."""

from __future__ import annotations

import io
import os
import random
import stat
import sys
import tarfile
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.testing.images import Layer, build_image, write_layout

from .clients import CommandLine
from .docker import Docker
from .umoci import Umoci

pytestmark = pytest.mark.interop

NAMES = ["a", "b", "c", "d"]


def random_layers(seed: int) -> list[Layer]:
    """Layers with files, folders, links and whiteouts at random, each right on top of those before it."""
    numbers = random.Random(seed)
    there: dict[str, str] = {}  # path to kind
    return [_layer(numbers, there) for _ in range(4)]


def _layer(numbers: random.Random, there: dict[str, str]) -> Layer:
    file = io.BytesIO()
    own: set[str] = set()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for _ in range(12):
            parent = numbers.choice(["", *(path for path, kind in there.items() if kind == "folder")])
            if parent.count("/") > 2 or (parent and parent not in own and not _add_folder(archive, parent, own)):
                continue
            _member(numbers, archive, f"{parent}/" if parent else "", there, own)
    return Layer("application/vnd.oci.image.layer.v1.tar", file.getvalue(), Digest.of(file.getvalue()))


def _add_folder(archive: tarfile.TarFile, path: str, own: set[str]) -> bool:
    """A folder of lower layers is written with its parents, as engines do."""
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        part = "/".join(parts[:end])
        if part not in own:
            own.add(part)
            _write(archive, part, tarfile.DIRTYPE, mode=0o755)
    return True


def _member(
    numbers: random.Random, archive: tarfile.TarFile, prefix: str, there: dict[str, str], own: set[str]
) -> None:
    path = prefix + numbers.choice(NAMES)
    kind = numbers.choice(["file", "file", "folder", "symlink", "link", "whiteout", "whiteout", "opaque"])
    if path in own or any(other.startswith(f"{path}/") for other in own):
        return
    if kind == "whiteout":
        if path in there:
            own.add(path)
            _write(archive, f"{prefix}.wh.{path.removeprefix(prefix)}", tarfile.REGTYPE)
            _forget(there, path)
        return
    if kind == "opaque":
        if prefix and not any(other.startswith(prefix) for other in own):
            own.update(prefix + name for name in NAMES)
            _write(archive, f"{prefix}.wh..wh..opq", tarfile.REGTYPE)
            _forget(there, prefix.rstrip("/"), keep_itself=True)
        return
    files = [other for other in own if there.get(other) == "file"]
    if kind == "link" and not files:
        return
    if kind != "folder" or there.get(path) != "folder":
        _forget(there, path)
    there[path] = "file" if kind == "link" else kind
    own.add(path)
    if kind == "file":
        _write(archive, path, tarfile.REGTYPE, content=numbers.randbytes(numbers.randrange(2000)), mode=0o640)
    elif kind == "folder":
        _write(archive, path, tarfile.DIRTYPE, mode=numbers.choice([0o755, 0o711]))
    elif kind == "symlink":
        _write(archive, path, tarfile.SYMTYPE, target="nowhere")
    else:
        _write(archive, path, tarfile.LNKTYPE, mode=0o640, target=numbers.choice(sorted(files)))


def _forget(there: dict[str, str], path: str, *, keep_itself: bool = False) -> None:
    for other in [other for other in there if other.startswith(f"{path}/") or (other == path and not keep_itself)]:
        del there[other]


def _write(
    archive: tarfile.TarFile, name: str, kind: bytes, *, content: bytes = b"", mode: int = 0o644, target: str = ""
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.mode, entry.linkname = kind, len(content), mode, target
    archive.addfile(entry, io.BytesIO(content))


def unpacked(root: Path) -> dict[str, tuple[object, ...]]:
    """Every file below a folder: kind, mode, content or target, and how many names it has."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        links = status.st_nlink if stat.S_ISREG(status.st_mode) else 0
        found[path.relative_to(root).as_posix()] = (stat.filemode(status.st_mode), content, links)
    return found


def export(tmp_path: Path, name: str) -> dict[str, tuple[object, ...]]:
    tar, root = tmp_path / "export.tar", tmp_path / "export"
    root.mkdir()
    ours = CommandLine([sys.executable, "-m", "entrepot"], environment={"ENTREPOT_ROOT": str(tmp_path / "store")})
    ours.run("export", "-o", tar, name)
    CommandLine(["tar"], environment={}).run("--numeric-owner", "-C", root, "-xpf", tar)
    return unpacked(root)


@pytest.mark.parametrize("number", range(10))
def test_export_is_what_umoci_unpacks(umoci: Umoci, tmp_path: Path, number: int) -> None:
    layout = write_layout(tmp_path / "layout", {"v1": build_image(random_layers(number))})
    expected = unpacked(umoci.unpack(layout, "v1", tmp_path / "bundle"))
    assert export(tmp_path, str(layout)) == expected
    assert expected


@pytest.mark.root
def test_export_is_what_docker_exports(docker: Docker, tmp_path: Path) -> None:
    image = build_image(random_layers(99))
    layout = write_layout(tmp_path / "layout", {"v1": image})
    docker.load(image, "exported:v1")
    container = docker.cli.run("create", "exported:v1", "/bin/true").strip()
    docker.cli.run("export", "-o", tmp_path / "docker.tar", container)
    docker.cli.run("rm", container)
    docker.remove("exported:v1")
    (tmp_path / "docker").mkdir()
    CommandLine(["tar"], environment={}).run(
        "--numeric-owner", "-C", tmp_path / "docker", "-xpf", tmp_path / "docker.tar"
    )
    theirs, ours = unpacked(tmp_path / "docker"), export(tmp_path, str(layout))
    added = {".dockerenv", "dev", "etc", "proc", "sys"}  # for the container
    assert {path: facts for path, facts in theirs.items() if path.split("/")[0] not in added} == ours
