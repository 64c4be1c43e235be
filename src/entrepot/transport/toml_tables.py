"""TOML files of other programs, read with errors that name the file and the key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from entrepot.errors import ConfigInvalid

_MOST_SHOWN = 80


class TomlTable:
    """A table of a TOML file. Keys that nobody asks for are left alone: the file belongs to another program."""

    def __init__(self, file: Path, content: Mapping[str, Any], name: str = "") -> None:
        self.file = file
        self._content = content
        self._name = name

    @classmethod
    def read(cls, file: Path) -> TomlTable | None:
        """The whole file; None when there is none. Raises ConfigInvalid."""
        try:
            return cls(file, tomllib.loads(file.read_text("utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            reason = f"cannot be read: {(error.strerror or str(error)).lower()}"
        except UnicodeDecodeError:
            reason = "expected TOML in UTF-8"
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            reason = f"expected TOML: {error}"
        raise ConfigInvalid(f"{file}: {reason}", file=str(file))

    def keys(self) -> list[str]:
        """In the order of the file."""
        return list(self._content)

    def text(self, key: str, default: str = "") -> str:
        value = self._content.get(key, default)
        return value if isinstance(value, str) else self.refuse(key, "a string")

    def flag(self, key: str, *, default: bool = False) -> bool:
        value = self._content.get(key, default)
        return value if isinstance(value, bool) else self.refuse(key, "true or false")

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings, or a single one."""
        value = self._content.get(key, [])
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            self.refuse(key, "a list of strings")
        return tuple(items)

    def value(self, key: str) -> Any:
        """As it is, None when it is not there."""
        return self._content.get(key)

    def table(self, key: str) -> TomlTable:
        """A table below this one; empty when it is not there."""
        value = self._content.get(key, {})
        if not isinstance(value, dict):
            self.refuse(key, "a table")
        return TomlTable(self.file, value, self._path(f'"{key}"' if "." in key else key))

    def tables(self, key: str) -> list[TomlTable]:
        """An array of tables."""
        value = self._content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.refuse(key, f"tables, each beginning with [[{self._path(key)}]]")
        return [TomlTable(self.file, item, f"{self._path(key)}[{place}]") for place, item in enumerate(value)]

    def refuse(self, key: str, expected: str) -> NoReturn:
        """Raises ConfigInvalid for the value of ``key``."""
        path = self._path(key)
        found = repr(self._content.get(key))[:_MOST_SHOWN]
        raise ConfigInvalid(f"{self.file}: {path}: expected {expected}, got {found}", file=str(self.file), key=path)

    def _path(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key
