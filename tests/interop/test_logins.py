"""Logins between entrepot, skopeo and podman: what one keeps the others find; and registries that check passwords."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from entrepot.testing.images import Image, build_image, write_layout

from .clients import CommandLine
from .programs import require_program

pytestmark = pytest.mark.interop


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "run").mkdir(mode=0o700, parents=True)
    return home


@pytest.fixture
def ours(tmp_path: Path, home: Path) -> CommandLine:
    environment = {"ENTREPOT_ROOT": str(tmp_path / "images"), "HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")}
    return CommandLine([sys.executable, "-m", "entrepot"], environment=environment)


@pytest.fixture
def skopeo(home: Path) -> CommandLine:
    environment = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")}
    return CommandLine([require_program("skopeo")], environment=environment)


@pytest.fixture
def image(seed: int) -> Image:
    return build_image(3, seed=seed, size=20_000)


def put_by_skopeo(skopeo: CommandLine, image: Image, folder: Path, name: str) -> None:
    layout = write_layout(folder / "layout", {"v1": image})
    skopeo.run("copy", "--dest-tls-verify=false", f"oci:{layout}:v1", f"docker://{name}")


def test_log_in_then_skopeo_copies_and_we_pull_and_push(
    ours: CommandLine, skopeo: CommandLine, guarded: str, path: str, image: Image, tmp_path: Path
) -> None:
    ours.run("login", "-u", "bob", "-p", "hunter2", guarded)
    put_by_skopeo(skopeo, image, tmp_path, f"{guarded}/{path}:v1")
    ours.run("pull", f"{guarded}/{path}:v1")
    ours.run("tag", f"{guarded}/{path}:v1", f"{guarded}/{path}:v2")
    pushed = ours.run("push", f"{guarded}/{path}:v2")
    assert f"v2: digest: {image.digest}" in pushed


def test_skopeo_logs_in_then_we_pull_and_log_out(
    ours: CommandLine, skopeo: CommandLine, guarded: str, path: str, image: Image, tmp_path: Path
) -> None:
    skopeo.run("login", "--tls-verify=false", "-u", "bob", "-p", "hunter2", guarded)
    put_by_skopeo(skopeo, image, tmp_path, f"{guarded}/{path}:v1")
    assert ours.run("login", "--get-login", guarded) == "bob\n"
    assert f"Digest: {image.digest}" in ours.run("pull", f"{guarded}/{path}:v1")
    left = ours.try_run("logout", guarded)
    assert left.stdout == f"Not logged in to {guarded}\n"
    assert "auth.json" in left.stderr


def test_log_in_with_a_wrong_password_is_refused(ours: CommandLine, guarded: str) -> None:
    refused = ours.try_run("login", "-u", "bob", "-p", "wrong", guarded)
    assert refused.status == 1
    assert "401 Unauthorized" in refused.stderr or "incorrect username or password" in refused.stderr
