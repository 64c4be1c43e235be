from __future__ import annotations

from typing import Any

import click
import pytest

from entrepot.cli.main import run
from entrepot.cli.serve import overrides, serve
from entrepot.config import FIELDS, flag_of, load


@pytest.mark.parametrize(
    ("access_log", "expected"),
    [
        (None, {"log.access": None, "log.format": None}),
        ("off", {"log.access": False, "log.format": None}),
        ("text", {"log.access": True, "log.format": "text"}),
        ("json", {"log.access": True, "log.format": "json"}),
    ],
)
def test_overrides_of_access_log_set_access_and_format(access_log: str | None, expected: dict[str, Any]) -> None:
    flags = overrides(access_log=access_log)
    assert {key: flags[key] for key in expected} == expected


def test_overrides_put_each_flag_under_its_key() -> None:
    flags = overrides(access_log=None, root="/srv", listen="127.0.0.1:1", read_only=True, log_level="error")
    settings = load(overrides=flags)
    assert settings.server.read_only
    assert (str(settings.root), settings.server.listen, settings.log.level) == ("/srv", "127.0.0.1:1", "error")


def test_flags_of_serve_are_those_that_the_settings_name() -> None:
    options = {name for option in serve.params if isinstance(option, click.Option) for name in option.opts}
    assert options - {"--config"} == {flag_of(key) for key in FIELDS} - {None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "0.0.0.0:5000"], "Error: refusing to listen on 0.0.0.0:5000"),
        (["--listen", "nowhere"], "Error: server.listen (flag --listen): expected HOST:PORT"),
        (["--store", "ftp://bucket"], "Error: store (flag --store): expected file:///FOLDER"),
        (["--config", "/nonexistent.toml"], "Error: /nonexistent.toml: expected a configuration file"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_serve_with_wrong_settings_does_not_start(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["serve", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(message)


def test_serve_that_is_refused_hints_at_what_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    run(["serve", "--listen", "0.0.0.0:5000"])
    assert "\nHint: write one of these:\n" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--workers", "many"], ["--access-log", "xml"], ["--log-level", "loud"]])
def test_serve_with_a_flag_outside_its_choices_is_wrong_usage(arguments: list[str]) -> None:
    assert run(["serve", *arguments]) == 125
