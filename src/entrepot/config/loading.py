"""Finds the value of every setting: flags, then environment, then file, then default.

A wrong key or value is reported with its name, where it came from, what was expected and what came, all
of them at once.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

from entrepot.config.keys import FIELDS, SECTIONS, flag_of, nearest, variable_of
from entrepot.config.model import Settings, default_root
from entrepot.config.values import without_password
from entrepot.errors import ConfigInvalid

FILE_NAME = "entrepot.toml"
DEFAULT = "default"  # the origin of what nobody set


@dataclass(frozen=True)
class Loaded:
    """Settings, and by dotted key the origins of those that somebody set."""

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None

    def origin(self, key: str) -> str:
        return self.origins.get(key, DEFAULT)


@dataclass(frozen=True)
class _Source:
    values: dict[str, Any]  # by dotted key
    name: str

    def origin(self, key: str) -> str:
        if self.name == "flag":
            return f"flag {flag_of(key)}"
        return f"environment variable {variable_of(key)}" if self.name == "environment" else self.name


@dataclass(frozen=True)
class _Problem:
    key: str
    origin: str
    text: str

    def __str__(self) -> str:
        return f"{self.key} ({self.origin}): {self.text}"


def load(config_file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings in force. ``overrides`` are flags by dotted key, e.g. ``{"server.workers": 2}``; a flag
    that is None was not given. Raises ConfigInvalid with everything that is wrong."""
    return read(config_file, overrides).settings


def read(config_file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Loaded:
    """Like ``load()``, with the origins."""
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    sources = [_Source(given, "flag"), _Source(_read_environment(), "environment")]
    named = config_file or _named_in_environment()
    file = named or _file_in_root(sources)
    problems: list[_Problem] = []
    if file:
        sources.append(_Source(_read_file(file), str(file)))
        if not named and "root" in sources[-1].values:
            problems.append(_Problem("root", str(file), "expected no root in a file that lies in the root folder"))
    return _merge(sources, problems, file)


def _read_environment() -> dict[str, Any]:
    values = _flatten(EnvSettingsSource(Settings)())
    for variable, value in os.environ.items():  # the library passes over sections that do not exist
        key = variable.removeprefix("ENTREPOT_").lower().replace("__", ".")
        if variable.startswith("ENTREPOT_") and "." in key and key.partition(".")[0] not in SECTIONS:
            values[key] = value
    return values


def _named_in_environment() -> Path | None:
    name = os.environ.get("ENTREPOT_CONFIG")
    return Path(name) if name else None


def _file_in_root(sources: list[_Source]) -> Path | None:
    root = next((source.values["root"] for source in sources if "root" in source.values), None)
    folder = Path(root).expanduser() if isinstance(root, str | Path) else default_root()
    file = folder / FILE_NAME
    return file if file.is_file() else None


def _read_file(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ConfigInvalid(f"{file}: expected a configuration file, found no such file", file=str(file))
    try:
        return _flatten(TomlConfigSettingsSource(Settings, toml_file=file)())
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(f"{file}: expected TOML: {_uncapitalised(str(error))}", file=str(file)) from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{file}: expected TOML in UTF-8: {error}", file=str(file)) from error
    except OSError as error:
        raise ConfigInvalid(f"{file}: cannot be read: {error.strerror}", file=str(file)) from error


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _merge(sources: list[_Source], problems: list[_Problem], file: Path | None) -> Loaded:
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source in reversed(sources):
        for key in source.values.keys() & FIELDS.keys():
            values[key], origins[key] = source.values[key], source.origin(key)
    problems = [problem for source in sources for problem in _wrong_keys(source)] + problems
    try:
        settings = Settings(**_nest(values))
    except ValidationError as error:
        problems += [_wrong_value(detail, origins) for detail in error.errors()]
    if problems:
        raise _invalid(problems)
    return Loaded(settings, origins, file)


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[name] = value
    return nested


def _wrong_keys(source: _Source) -> Iterator[_Problem]:
    for key, value in source.values.items():
        if key in SECTIONS:
            yield _Problem(key, source.origin(key), f"expected a section with keys in it, got {_shown(value)}")
        elif key not in FIELDS:
            yield _Problem(key, source.origin(key), f"unknown key{_suggestion(key, source)}")


def _suggestion(key: str, source: _Source) -> str:
    meant = nearest(key)
    if meant is None:
        return "; entrepot config show lists those that exist"
    return f"; did you mean {variable_of(meant) if source.name == 'environment' else meant}?"


def _wrong_value(error: ErrorDetails, origins: Mapping[str, str]) -> _Problem:
    key = ".".join(str(part) for part in error["loc"][:2])
    return _Problem(key, origins.get(key, DEFAULT), f"{_expected(error)}, got {_shown(error['input'])}")


_EXPECTED = {
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "literal_error": "{expected}",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "path": "a path",
    "string": "text in quotes",
    "tuple": "a list of texts",
}


def _expected(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    words = _EXPECTED.get(kind) or _EXPECTED.get(kind.partition("_")[0]) or _uncapitalised(error["msg"])
    return "expected " + words.format(**{name: _whole(value) for name, value in context.items()})


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(str(value) if isinstance(value, Path) else value)
    return without_password(text)[:80]


def _invalid(problems: list[_Problem]) -> ConfigInvalid:
    lines = [str(problem) for problem in problems]
    message = lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} problems in the configuration:", *lines])
    return ConfigInvalid(message, problems=[asdict(problem) for problem in problems])
