"""umoci works on layouts only; skopeo carries them to the registry and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from .skopeo import FROM_HTTP, TO_HTTP, Skopeo
from .umoci import Umoci
from .wire import manifest_digest

pytestmark = pytest.mark.interop


def test_layout_comes_back_from_registry_unchanged(umoci: Umoci, skopeo: Skopeo, name: str, tmp_path: Path) -> None:
    files = {"hello": b"hello\n", "empty": b""}
    made, back = tmp_path / "made", tmp_path / "back"
    umoci.create(made, "v1", files)
    skopeo.cli.run("copy", TO_HTTP, f"oci:{made}:v1", f"docker://{name}")
    skopeo.cli.run("copy", FROM_HTTP, f"docker://{name}", f"oci:{back}:v1")
    assert umoci.stat(back, "v1") == umoci.stat(made, "v1")
    assert umoci.digest(back) == umoci.digest(made) == manifest_digest(name)
    unpacked = umoci.unpack(back, "v1", tmp_path / "bundle")
    assert {file.name: file.read_bytes() for file in unpacked.iterdir()} == files


def test_layout_changed_by_umoci_pushes_only_its_new_layer(
    umoci: Umoci, skopeo: Skopeo, name: str, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    umoci.create(made, "v1", {"hello": b"hello\n"})
    skopeo.cli.run("copy", TO_HTTP, f"oci:{made}:v1", f"docker://{name}")
    umoci.add(made, "v1", {"more": b"more\n"})
    skopeo.cli.run("copy", TO_HTTP, f"oci:{made}:v1", f"docker://{name}")
    assert umoci.digest(made) == manifest_digest(name)
    layers = [entry["layer"] for entry in umoci.stat(made, "v1")["history"] if entry["layer"]]
    assert len(layers) == 2
