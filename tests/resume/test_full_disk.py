"""A disk that fills in the middle of a pull: a clear error, and what came is of use when there is space again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from entrepot.testing.images import build_image, walk_blobs
from tests.cli.conftest import Entrepot
from tests.faults.test_full_disk import fill
from tests.faults.test_full_disk import small_disk as small_disk
from tests.resume.conftest import Host, Publish, require_sound
from tests.resume.cuts import CuttingProxy

MIB = 1024 * 1024
IMAGE = build_image(2, seed=95, size=4 * MIB)
TOTAL = sum(len(blob.data) for blob in walk_blobs(IMAGE))
FULL = re.compile("Error: no space left to (store|record) this; free some space and try again\n")
LOST = 2 * 2 * MIB  # of two layers: the piece that found no space, and what was in memory behind it


@pytest.mark.root
@pytest.mark.parametrize("leave", [1 * MIB, 5 * MIB, 7 * MIB])
@pytest.mark.parametrize("flags", [[], ["--split-above", "1MiB"]], ids=["one", "parts"])
def test_pull_onto_a_disk_that_fills_goes_on_when_there_is_space(
    entrepot: Entrepot,
    publish: Publish,
    peer: Host,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    leave: int,
    flags: list[str],
) -> None:
    monkeypatch.setenv("ENTREPOT_ROOT", str(small_disk / "images"))
    path = publish(IMAGE)
    assert entrepot("images").code == 0  # the database is there
    with CuttingProxy(peer.host) as proxy:
        name = f"{proxy.host}/{path}"
        ballast = fill(small_disk, leave=leave)
        failed = entrepot("pull", *flags, name)
        assert failed.code == 1
        assert FULL.fullmatch(failed.err), failed.err
        assert entrepot("images", "-q").out == ""
        came = proxy.passed["down"]
        ballast.unlink()
        require_sound(entrepot)
        done = entrepot("pull", *flags, name)
        assert done.code == 0, done.err
        assert proxy.passed["down"] - came < TOTAL - leave + LOST
        assert name in entrepot("images", "--format", "{{.Repository}}:{{.Tag}}").lines
        require_sound(entrepot)
        assert [path for path in (small_disk / "images" / "partials").rglob("*") if path.is_file()] == []


@pytest.mark.root
def test_pull_onto_a_disk_that_is_full_already_fails_and_leaves_it_sound(
    entrepot: Entrepot, publish: Publish, peer: Host, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTREPOT_ROOT", str(small_disk / "images"))
    path = publish(IMAGE)
    assert entrepot("pull", f"{peer.host}/{path}").code == 0
    other = publish(build_image(1, seed=96, size=MIB))
    ballast = fill(small_disk)
    failed = entrepot("pull", f"{peer.host}/{other}")
    assert failed.code == 1
    assert FULL.fullmatch(failed.err), failed.err
    ballast.unlink()
    require_sound(entrepot)
    assert f"{peer.host}/{path}" in entrepot("images", "--format", "{{.Repository}}:{{.Tag}}").lines
    assert entrepot("pull", f"{peer.host}/{other}").code == 0
    require_sound(entrepot)
