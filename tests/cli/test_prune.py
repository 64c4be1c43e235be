"""``entrepot prune`` asks, and tells what went."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from entrepot.cli.human import human_size
from entrepot.testing.images import build_image, build_layers
from tests.cli.conftest import Entrepot
from tests.cli.keeping import keep
from tests.unit.image_store.filling import dated

LAYERS = build_layers(2, seed=7)
KEPT = build_image([LAYERS[0]], seed=1)
DANGLING = build_image([LAYERS[0], LAYERS[1]], seed=2)
LABELLED = dated(build_image(1, seed=3), "2020-01-01T00:00:00Z", Labels={"keep": "yes"})


@pytest.fixture(autouse=True)
def _filled(store_root: Path) -> None:
    keep(store_root, DANGLING, "app:1", pulled=True)
    keep(store_root, KEPT, "app:1")
    keep(store_root, LABELLED)


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_prune_by_force_tells_what_went(entrepot: Entrepot) -> None:
    done = entrepot("prune", "-f")
    assert done.lines[0] == "Deleted Images:"
    assert f"untagged: app@{DANGLING.digest}" in done.lines
    assert f"deleted: {DANGLING.id}" in done.lines
    freed = LAYERS[1].size + DANGLING.config.size + sum(part.size for part in (*LABELLED.layers, LABELLED.config))
    assert done.lines[-2:] == ["", f"Total reclaimed space: {human_size(freed)}"]
    assert (done.code, done.err) == (0, "")
    assert [line.split()[2] for line in entrepot("images").lines[1:]] == [KEPT.id.encoded[:12]]


def test_prune_of_nothing_reclaims_nothing(entrepot: Entrepot) -> None:
    entrepot("prune", "-f")
    assert entrepot("prune", "-f").out == "Total reclaimed space: 0B\n"


@pytest.mark.parametrize(
    ("flags", "question"),
    [
        pytest.param([], "all dangling images and unfinished downloads", id="dangling"),
        pytest.param(["-a"], "all images and unfinished downloads", id="all"),
        pytest.param(["-a", "--filter", "until=24h"], "all images", id="filter"),
    ],
)
def test_prune_asks_first(entrepot: Entrepot, monkeypatch: pytest.MonkeyPatch, flags: list[str], question: str) -> None:
    answer(monkeypatch, "n\n")
    done = entrepot("prune", *flags)
    expected = f"WARNING! This will remove {question}.\nAre you sure you want to continue? [y/N] "
    assert (done.code, done.out) == (0, expected)
    assert len(entrepot("images").lines) == 4


def test_prune_goes_on_when_told_so(entrepot: Entrepot, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "y\n")
    assert "Total reclaimed space:" in entrepot("prune").out
    assert len(entrepot("images").lines) == 2


def test_prune_all_takes_everything(entrepot: Entrepot) -> None:
    entrepot("prune", "-a", "-f")
    assert len(entrepot("images").lines) == 1


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        pytest.param(["label!=keep"], [LABELLED.id], id="label that protects"),
        pytest.param(["label=keep=yes"], [KEPT.id, DANGLING.id], id="label"),
        pytest.param(["until=2021-01-01"], [KEPT.id, DANGLING.id], id="age"),
    ],
)
def test_prune_all_with_filter_takes_what_meets_it(entrepot: Entrepot, conditions: list[str], left: list[str]) -> None:
    entrepot("prune", "-a", "-f", *[part for condition in conditions for part in ("--filter", condition)])
    assert set(entrepot("images", "-q", "--no-trunc").lines) == set(left)


def test_prune_with_wrong_filter_fails(entrepot: Entrepot) -> None:
    done = entrepot("prune", "-f", "--filter", "before=app:1")
    assert (done.code, done.out) == (1, "")
    assert "invalid filter 'before'" in done.err
