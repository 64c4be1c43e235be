"""``entrepot history`` prints docker's table."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from entrepot.testing.images import build_image
from tests.cli.conftest import Entrepot
from tests.cli.keeping import keep
from tests.unit.image_store.filling import dated

CREATED = (datetime.now(UTC) - timedelta(days=3)).replace(microsecond=0)
LONG = "/bin/sh -c #(nop) COPY file:cd01822817f6a566a7c5 in /etc/nginx"
IMAGE = dated(
    build_image(2, seed=1),
    CREATED.isoformat(),
    history=[
        {"created": "1980-01-01T00:00:00Z", "created_by": "ADD rootfs.tar /", "comment": "base"},
        {"created": CREATED.isoformat(), "created_by": LONG},
        {"created": CREATED.isoformat(), "created_by": "ENV FOO=bar", "empty_layer": True},
    ],
)
SHORT = IMAGE.id.encoded[:12]


@pytest.fixture(autouse=True)
def _filled(store_root: Path) -> None:
    keep(store_root, IMAGE, "app:1")


def test_history_prints_dockers_table(entrepot: Entrepot) -> None:
    done = entrepot("history", "app:1")
    assert done.lines == [
        "IMAGE          CREATED      CREATED BY                                      SIZE      COMMENT",
        f"{SHORT}   3 days ago   ENV FOO=bar                                     0B        ",
        "<missing>      3 days ago   /bin/sh -c #(nop) COPY file:cd01822817f6a566…   10.2kB    ",
        "<missing>      N/A          ADD rootfs.tar /                                10.2kB    base",
    ]
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("flag", ["--human=false", "-H=false", "--no-human"])
def test_history_not_for_people_prints_times_and_bytes(entrepot: Entrepot, flag: str) -> None:
    header, first, second, _ = entrepot("history", flag, "app:1").lines
    assert header.split("  ")[0] == "IMAGE"
    assert "CREATED AT" in header
    assert CREATED.astimezone().isoformat().replace("+00:00", "Z") in first
    assert second.split()[-1] == "10240"


def test_history_without_truncation_prints_everything(entrepot: Entrepot) -> None:
    lines = entrepot("history", "--no-trunc", "app:1").lines
    assert lines[1].startswith(f"{IMAGE.id}   ")
    assert f" {LONG} " in lines[2]


def test_history_quietly_prints_ids(entrepot: Entrepot) -> None:
    assert entrepot("history", "-q", "app:1").lines == [SHORT, "<missing>", "<missing>"]


def test_history_as_json_prints_an_object_a_line(entrepot: Entrepot) -> None:
    last = json.loads(entrepot("history", "--format", "json", "app:1").lines[-1])
    assert last == {
        "Comment": "base",
        "CreatedAt": datetime(1980, 1, 1, tzinfo=UTC).astimezone().isoformat().replace("+00:00", "Z"),
        "CreatedBy": "ADD rootfs.tar /",
        "CreatedSince": "N/A",
        "ID": "<missing>",
        "Size": "10.2kB",
    }


def test_history_of_absent_image_fails(entrepot: Entrepot) -> None:
    done = entrepot("history", "nosuch")
    assert (done.code, done.out, done.err) == (2, "", "Error: No such image: nosuch:latest\n")
