from __future__ import annotations

import json
from pathlib import Path

import pytest

from entrepot.cli.admin import as_data, lines
from entrepot.cli.main import run
from entrepot.jobs.check import Finding, Report

DAMAGED = Report(
    missing=[Finding("sha256:aa", "", "its bytes are missing")],
    corrupt=[Finding("sha256:bb", "blobs/sha256/bb/bb", "has 1 bytes instead of 2")],
    incomplete=[Finding("sha256:cc", "team/app", "names sha256:dd")],
    orphaned=[Finding("sha256:ee", "blobs/sha256/ee/ee", "5 bytes that nobody names")],
    blobs=3,
    manifests=2,
    bytes=100,
    repaired=1,
)


def test_lines_name_each_finding_and_end_with_the_sum() -> None:
    assert list(lines(DAMAGED)) == [
        "missing: sha256:aa: its bytes are missing",
        "corrupt: sha256:bb (blobs/sha256/bb/bb): has 1 bytes instead of 2",
        "incomplete: sha256:cc (team/app): names sha256:dd",
        "orphaned: sha256:ee (blobs/sha256/ee/ee): 5 bytes that nobody names",
        "checked 3 blobs (100 bytes) and 2 manifests: 1 missing, 1 corrupt, 1 incomplete, 1 orphaned",
        "took 1 blobs out; push the same content again to heal them",
    ]


def test_lines_of_a_clean_report_are_the_sum() -> None:
    [line] = lines(Report(blobs=1, bytes=5))
    assert line == "checked 1 blobs (5 bytes) and 0 manifests: 0 missing, 0 corrupt, 0 incomplete, 0 orphaned"


def test_data_of_a_report_is_json() -> None:
    data = json.loads(json.dumps(as_data(DAMAGED)))
    assert data["corrupt"] == [
        {"digest": "sha256:bb", "location": "blobs/sha256/bb/bb", "message": "has 1 bytes instead of 2"}
    ]
    assert (data["blobs"], data["manifests"], data["bytes"], data["repaired"]) == (3, 2, 100, 1)
    assert data["clean"] is False


def test_check_of_an_empty_registry_is_clean(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["admin", "check", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("checked 0 blobs (0 bytes) and 0 manifests")


def test_check_prints_json_when_asked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["admin", "check", "--json", "--root", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["clean"] is True


def test_check_with_wrong_settings_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["admin", "check", "--store", "ftp://bucket"]) == 1
    assert capsys.readouterr().err.startswith("Error: store (flag --store): expected file:///FOLDER")
