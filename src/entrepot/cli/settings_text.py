"""The settings as text: in force as TOML, and described as a page of Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entrepot.config import FIELDS, SECTIONS, Loaded, Settings, flag_of, without_password

_INTRODUCTION = """# Configuration

This page is printed by `entrepot config reference`; change `src/entrepot/config/model.py` instead.

A setting has its value from the first of these that names it:

1. a flag, e.g. `--listen 127.0.0.1:5001`, where the table below lists one;
2. an environment variable: `ENTREPOT_`, the section, two underscores, the key, e.g.
   `ENTREPOT_SERVER__LISTEN`; in it, lists are written with commas. An empty variable counts as not set;
3. the settings file: the one named by `--config FILE` or else `ENTREPOT_CONFIG`, or else `entrepot.toml` in the
   root folder, if there is one;
4. the default.

`entrepot config check` prints everything that is wrong with the settings, `entrepot config show` prints those in
force and where each comes from, and `entrepot config schema` prints a JSON schema for editors.

Sizes are numbers of bytes or texts such as `"4MiB"` (1024) and `"1GB"` (1000). Relative paths start at the folder
in which the command runs.
"""
_TABLE = "| key | value | default | flag | meaning |\n|---|---|---|---|---|"


def as_toml(loaded: Loaded) -> str:
    """The settings in force, each with its origin as a comment; reads back as the same settings, but for passwords."""
    return "\n".join(_toml_lines(loaded))


def _toml_lines(loaded: Loaded) -> Iterator[str]:
    section = ""
    for key in FIELDS:
        prefix, _, name = key.rpartition(".")
        if prefix != section:
            section = prefix
            yield f"\n[{section}]"
        line = f"{name} = {_format_value(_value_of(loaded.settings, key))}"
        yield f"{line:<40} # {loaded.origin(key)}"


def _value_of(settings: Settings, key: str) -> Any:
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _format_value(value: Any) -> str:
    if isinstance(value, Path) or value is None:
        value = str(value or "")  # TOML has no null; an empty text is read as one
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        value = without_password(value)
    return json.dumps(value, ensure_ascii=False)


def as_markdown() -> str:
    """``docs/configuration.md``: every setting with its bounds, default, flag and meaning."""
    parts = [_INTRODUCTION, "## Top level\n", _table("", Settings.model_json_schema())]
    for section, model in SECTIONS.items():
        parts += [f"\n## [{section}]\n", f"{model.__doc__}\n", _table(section, model.model_json_schema())]
    return "\n".join(parts) + "\n"


def _table(section: str, schema: dict[str, Any]) -> str:
    rows = [_TABLE]
    for name, field in schema["properties"].items():
        key = f"{section}.{name}".removeprefix(".")
        if key in FIELDS:
            cells = [f"`{name}`", _kind(key, field), _default(key), _flag(key), field["description"]]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _flag(key: str) -> str:
    flag = flag_of(key)
    return f"`{flag}`" if flag else ""


def _default(key: str) -> str:
    if key == "root":
        return "`entrepot` in the user's data folder, e.g. `~/.local/share/entrepot`"
    value = FIELDS[key].get_default()
    return f"`{_size(value) if key.endswith('_bytes') else _format_value(value)}`"


_KINDS = {"boolean": "true or false", "integer": "whole number", "number": "number", "array": "list of texts"}


def _kind(key: str, schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f'`"{value}"`' for value in schema["enum"])
    kind = "size" if key.endswith("_bytes") else _KINDS.get(schema.get("type", ""), "text")
    return ", ".join([kind, *_bounds(key)])


def _bounds(key: str) -> Iterator[str]:
    write = _size if key.endswith("_bytes") else str
    for mark in FIELDS[key].metadata:
        for name, words in (("ge", "at least"), ("gt", "more than"), ("le", "at most")):
            if hasattr(mark, name):
                yield f"{words} {write(getattr(mark, name))}"


def _size(count: int) -> str:
    for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count and count % factor == 0:
            return f'"{count // factor}{unit}"'
    return str(count)
