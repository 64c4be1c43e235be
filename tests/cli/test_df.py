"""``entrepot df`` tells what is where."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from entrepot.cli.human import human_size
from entrepot.digest import Digest
from entrepot.testing.images import build_image, build_layers
from entrepot.testing.repository_upload_suite import chunk
from tests.cli.conftest import Entrepot
from tests.cli.keeping import keep, with_shop
from tests.unit.image_store.filling import Shop

LAYERS = build_layers(3, seed=7)
ONE = build_image(LAYERS[:2], seed=1)
TWO = build_image([LAYERS[0], LAYERS[2]], seed=2)
CONTENT = os.urandom(64 * 1024)


async def begin_download(shop: Shop) -> None:
    store = shop.images._store
    async with store.open_partial(Digest.of(CONTENT), len(CONTENT)) as partial:
        await partial.write(0, chunk(CONTENT[: 32 * 1024]).pieces)


@pytest.fixture(autouse=True)
def _filled(store_root: Path) -> None:
    keep(store_root, ONE, "app:1")
    keep(store_root, TWO)
    with_shop(store_root, begin_download)


def test_df_prints_a_line_for_each_kind(entrepot: Entrepot) -> None:
    done = entrepot("df")
    size = sum(layer.size for layer in LAYERS) + ONE.config.size + TWO.config.size
    free = LAYERS[2].size + TWO.config.size
    rows = [line.split("  ") for line in done.lines]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[0] == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert cells[1] == ["Images", "2", "1", human_size(size), f"{human_size(free)} ({100 * free // size}%)"]
    assert cells[2][:3] == ["Unfinished downloads", "1", "0"]
    assert cells[3] == ["Leftovers", "0", "0", "0B", "0B"]
    assert (done.code, done.err) == (0, "")


def test_df_verbose_tells_what_images_share(entrepot: Entrepot) -> None:
    out = entrepot("df", "-v").out
    assert out.startswith("Images space usage:\n\nREPOSITORY   TAG       IMAGE ID       CREATED       SIZE")
    line = next(line for line in out.splitlines() if line.startswith("app "))
    assert line.split()[-2:] == [human_size(LAYERS[0].size), human_size(LAYERS[1].size + ONE.config.size)]
    assert f"{Digest.of(CONTENT)}" in out


def test_df_as_json_prints_an_object_a_line(entrepot: Entrepot) -> None:
    names = [json.loads(line)["Type"] for line in entrepot("df", "--format", "json").lines]
    assert names == ["Images", "Unfinished downloads", "Leftovers"]


def test_df_with_format_prints_that(entrepot: Entrepot) -> None:
    assert entrepot("df", "--format", "{{.Type}} {{.TotalCount}}").lines[0] == "Images 2"


def test_prune_frees_what_df_calls_reclaimable(entrepot: Entrepot) -> None:
    assert entrepot("prune", "-f").code == 0
    lines = [line.split("  ") for line in entrepot("df").lines[1:]]
    assert [line[-1].strip().split()[0] for line in lines] == ["0B", "0B", "0B"]
