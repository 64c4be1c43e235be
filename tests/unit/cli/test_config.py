from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from entrepot.cli.main import run
from entrepot.cli.settings_text import as_markdown
from entrepot.config import FIELDS, load

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_check_of_good_settings_prints_ok(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "check"]) == 0
    assert capsys.readouterr().out == "ok\n"


def test_check_of_wrong_settings_prints_every_problem(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("[server]\nlisen = 1\nworkers = -1\n")
    assert run(["config", "check", "--config", str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "Error: 2 problems in the configuration:\n"
        f"  server.lisen ({file}): unknown key; did you mean server.listen?\n"
        f"  server.workers ({file}): expected at least 0, got -1\n"
    )


def test_check_finds_what_serve_would_refuse(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "open.toml"
    file.write_text('[server]\nlisten = "0.0.0.0:5000"\n')
    assert run(["config", "check", "--config", str(file)]) == 1
    assert "refusing to listen on 0.0.0.0:5000" in capsys.readouterr().err


def test_show_names_the_origin_of_each_value(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[limits]\npage_size = 50\n")
    monkeypatch.setenv("ENTREPOT_LOG__LEVEL", "debug")
    assert run(["config", "show", "--config", str(file), "--root", "/srv"]) == 0
    lines = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert lines >= {
        'root = "/srv" # flag --root',
        f"page_size = 50 # {file}",
        'level = "debug" # environment variable ENTREPOT_LOG__LEVEL',
        "workers = 0 # default",
    }


def test_show_prints_a_file_that_gives_the_same_settings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTREPOT_MANIFESTS__ALLOW_MISSING_CHILDREN", "mirror/*,cache/*")
    monkeypatch.setenv("ENTREPOT_SERVER__IDLE_TIMEOUT_SECONDS", "0.5")
    settings = load()
    assert run(["config", "show"]) == 0
    file = tmp_path / "shown.toml"
    file.write_text(capsys.readouterr().out, "utf-8")
    monkeypatch.delenv("ENTREPOT_MANIFESTS__ALLOW_MISSING_CHILDREN")
    monkeypatch.delenv("ENTREPOT_SERVER__IDLE_TIMEOUT_SECONDS")
    assert load(file) == settings


def test_show_prints_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    run(["config", "show"])
    shown = tomllib.loads(capsys.readouterr().out)
    keys = {
        f"{name}.{key}" if isinstance(value, dict) else name
        for name, value in shown.items()
        for key in (value if isinstance(value, dict) else [""])
    }
    assert keys == set(FIELDS)


def test_schema_describes_every_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) == {key.partition(".")[0] for key in FIELDS}
    assert schema["additionalProperties"] is False


def test_reference_prints_the_page_in_docs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "reference"]) == 0
    assert capsys.readouterr().out == PAGE.read_text("utf-8"), "run make docs"


@pytest.mark.parametrize("key", FIELDS)
def test_page_describes_every_setting(key: str) -> None:
    assert f"| `{key.rpartition('.')[2]}` |" in as_markdown()
