"""Diff IDs: of every compression, in any pieces, within a limit."""

from __future__ import annotations

import gzip

import pytest
import zstandard

from entrepot.digest import Digest
from entrepot.errors import LayerInvalid, LayerTooLarge, TooLarge
from entrepot.layers.diff_id import DiffIdHash, Uncompressed, measure
from entrepot.testing.images import build_layers

CONTENT = b"0123456789" * 100
COMPRESSED = {"plain": CONTENT, "gzip": gzip.compress(CONTENT), "zstd": zstandard.compress(CONTENT)}


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("step", [1, 3, 5, 10_000])
def test_measure_layer_gives_digest_and_size_of_what_it_unpacks_to(name: str, step: int) -> None:
    content = COMPRESSED[name]
    pieces = [content[start : start + step] for start in range(0, len(content), step)]
    assert measure(pieces) == Uncompressed(Digest.of(CONTENT), len(CONTENT))


@pytest.mark.parametrize("content", [b"", b"a", b"abc"])
def test_measure_very_short_layer_gives_its_digest(content: bytes) -> None:
    assert measure([content]) == Uncompressed(Digest.of(content), len(content))


def test_measure_layer_agrees_with_config() -> None:
    [layer] = build_layers(1, size=200_000)
    assert measure([layer.data]).diff_id == layer.diff_id


@pytest.mark.parametrize("name", COMPRESSED)
def test_measure_layer_of_just_the_limit_passes(name: str) -> None:
    assert measure([COMPRESSED[name]], len(CONTENT)).size == len(CONTENT)


@pytest.mark.parametrize("name", COMPRESSED)
def test_measure_layer_over_the_limit_is_refused(name: str) -> None:
    with pytest.raises(LayerTooLarge, match="may unpack to 999 bytes") as refusal:
        measure([COMPRESSED[name]], len(CONTENT) - 1)
    assert refusal.value.detail == {"limit": 999}
    assert isinstance(refusal.value, TooLarge)


def test_finish_of_cut_layer_is_refused() -> None:
    running = DiffIdHash()
    running.update(COMPRESSED["gzip"][:-3])
    with pytest.raises(LayerInvalid, match="expected the end of its gzip data"):
        running.finish()
