"""``entrepot diff``: config, layers and files of two images, wherever they are."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from entrepot.cli.main import run
from entrepot.digest import Digest
from entrepot.testing.images import Content, Image, Layer, build_image, write_layout

OCI_TAR = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTREPOT_ROOT", str(tmp_path / "root"))


def layer(*members: tuple[str, bytes] | tuple[str, bytes, dict[str, Any]]) -> Layer:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content, *more in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in (more[0] if more else {}).items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(content))
    return Layer(OCI_TAR, file.getvalue(), Digest.of(file.getvalue()))


def image(*layers: Layer, **config: Any) -> Image:
    built = build_image(layers)
    document = json.loads(built.config.data)
    document["config"] |= config
    content = Content(built.config.media_type, json.dumps(document).encode())
    manifest = json.loads(built.manifest.data) | {"config": content.descriptor()}
    return Image(Content(built.manifest.media_type, json.dumps(manifest).encode()), content, built.layers)


def places(tmp_path: Path, one: Image, other: Image) -> list[str]:
    return [str(write_layout(tmp_path / name, {"v1": each})) for name, each in (("one", one), ("two", other))]


BASE = layer(("bin/sh", b"#!"), ("etc/a", b"aaa"), ("etc/b", b"b"))


def test_diff_of_the_same_image_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["diff", *places(tmp_path, image(BASE), image(BASE))]) == 0
    assert capfd.readouterr() == ("Config: the same\nLayers: the same\nFiles: the same\n", "")


def test_diff_shows_config_layers_and_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    upper = layer(("etc/a", b"longer"), ("etc/.wh.b", b""), ("new/file", b"12345"), ("bin/sh", b"#!", {"mode": 0o755}))
    one = image(BASE, Env=["PATH=/bin", "OLD=1"], Cmd=["/bin/sh"])
    other = image(BASE, upper, Env=["PATH=/usr/bin", "NEW=2"], Cmd=["/bin/sh", "-l"])
    assert run(["diff", *places(tmp_path, one, other)]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "Config:",
        '  ~ config.Cmd: ["/bin/sh"] -> ["/bin/sh", "-l"]',
        '  + config.Env.NEW: "2"',
        '  - config.Env.OLD: "1"',
        '  ~ config.Env.PATH: "/bin" -> "/usr/bin"',
        "Layers:",
        f"  = {BASE.digest} 10.2kB",
        f"  + {upper.digest} 10.2kB",
        "Files:",
        "  C /bin/sh 2B -> 2B (mode)",
        "  C /etc/a 3B -> 6B (content)",
        "  D /etc/b 1B",
        "  A /new/",
        "  A /new/file 5B",
    ]


CASES: dict[str, tuple[Layer, Layer, list[str]]] = {
    "time-does-not-count": (layer(("a", b"1", {"mtime": 1})), layer(("a", b"1", {"mtime": 2})), []),
    "content-of-same-size": (layer(("a", b"1")), layer(("a", b"2")), ["C /a content"]),
    "owner": (layer(("a", b"1", {"uid": 1})), layer(("a", b"1", {"uid": 2, "gid": 3})), ["C /a uid, gid"]),
    "kind": (
        layer(("a", b"")),
        layer(("a", b"", {"type": tarfile.SYMTYPE, "linkname": "b"})),
        ["C /a kind"],
    ),
    "link-target": (
        layer(("a", b"", {"type": tarfile.SYMTYPE, "linkname": "b"})),
        layer(("a", b"", {"type": tarfile.SYMTYPE, "linkname": "c"})),
        ["C /a target"],
    ),
    "folder-mode": (
        layer(("d", b"", {"type": tarfile.DIRTYPE, "mode": 0o755})),
        layer(("d", b"", {"type": tarfile.DIRTYPE, "mode": 0o700})),
        ["C /d mode"],
    ),
    "folder-nobody-describes": (layer(("d/a", b"")), layer(("d", b"", {"type": tarfile.DIRTYPE}), ("d/a", b"")), []),
    "hard-link-is-a-file": (
        layer(("a", b"1"), ("b", b"1")),
        layer(("a", b"1"), ("b", b"", {"type": tarfile.LNKTYPE, "linkname": "a"})),
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_diff_of_files_counts_what_matters(tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    one, other, expected = CASES[name]
    form = "{{.Change}} {{.Path}} {{.What}}"
    assert run(["diff", "--format", form, *places(tmp_path, image(one), image(other))]) == 0
    assert capfd.readouterr().out.splitlines() == expected


def test_diff_prints_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    upper = layer(("etc/c", b"c"))
    assert run(["diff", "--json", *places(tmp_path, image(BASE), image(BASE, upper, User="bob"))]) == 0
    assert json.loads(capfd.readouterr().out) == {
        "config": [{"key": "config.User", "after": "bob"}],
        "layers": [
            {"sign": "=", "digest": BASE.digest, "size": BASE.size},
            {"sign": "+", "digest": upper.digest, "size": upper.size},
        ],
        "files": [{"sign": "A", "path": "/etc/c", "kind": "file", "before": 0, "after": 1, "what": []}],
    }


def test_diff_keeps_control_characters_off_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["diff", *places(tmp_path, image(BASE), image(BASE, layer(("\x1b[31mred\x1b", b""))))]) == 0
    assert "\x1b" not in capfd.readouterr().out


def test_diff_with_absent_image_is_not_found(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, _ = places(tmp_path, image(BASE), image(BASE))
    assert run(["diff", one, "absent:v9"]) == 2
    assert capfd.readouterr().err.startswith("Error: No such image: absent:v9\n")


def test_diff_of_damaged_layer_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, two = places(tmp_path, image(BASE), image(BASE, layer(("x", b"1"))))
    path = Path(one) / "blobs" / "sha256" / BASE.digest.encoded
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert run(["diff", one, two]) == 1
    assert f"{BASE.digest} is damaged" in capfd.readouterr().err
