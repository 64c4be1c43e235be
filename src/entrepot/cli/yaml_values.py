"""YAML that people write by hand: values as they stand in the file, each with its line, for errors that say where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from entrepot.errors import ConfigInvalid, RegistryError

T = TypeVar("T")

MOST_BYTES = 4 * 1024 * 1024
_MOST_LEVELS = 16
_MOST_VALUES = 200_000
_NULL = "tag:yaml.org,2002:null"
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Value:
    """A part of a document: a text, a list, a mapping, or None; numbers are texts too.

    What is not of the form that a method asks for is refused with a ConfigInvalid.
    """

    file: str
    line: int
    content: str | list[Value] | dict[str, Value] | None

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"

    def text(self) -> str:
        if not isinstance(self.content, str):
            self.refuse("a text")
        return self.content

    def flag(self) -> bool:
        if not isinstance(self.content, str) or self.content.lower() not in _FLAGS:
            self.refuse("true or false")
        return _FLAGS[self.content.lower()]

    def count(self) -> int:
        """A number from 1."""
        text = self.content
        if not isinstance(text, str) or not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
            self.refuse("a number from 1")
        return int(text)

    def items(self) -> list[Value]:
        """A list, or one text instead of a list of it; nothing is the empty list."""
        if isinstance(self.content, str):
            return [self]
        if self.content is None:
            return []
        if not isinstance(self.content, list):
            self.refuse("a list")
        return self.content

    def mapping(self, *keys: str) -> dict[str, Value]:
        """A mapping with no other keys than these, if any are given; nothing is the empty one."""
        if self.content is None:
            return {}
        if not isinstance(self.content, dict):
            self.refuse("a mapping of keys to values")
        for key, value in self.content.items():
            if keys and key not in keys:
                raise ConfigInvalid(
                    f"{value.where}: unknown key {key[:80]!r}; expected one of {', '.join(keys)}", key=key[:80]
                )
        return self.content

    def read(self, parse: Callable[[str], T]) -> T:
        """What ``parse`` makes of the text; what it raises is raised with the line."""
        text = self.text()
        try:
            return parse(text)
        except RegistryError as error:
            raise ConfigInvalid(f"{self.where}: {error.message}", **error.detail) from error

    def refuse(self, expected: str) -> NoReturn:
        """Raise ConfigInvalid."""
        raise ConfigInvalid(f"{self.where}: expected {expected}, got {self._shown()}", expected=expected)

    def _shown(self) -> str:
        if isinstance(self.content, str):
            return repr(self.content[:80])
        if self.content is None:
            return "nothing"
        return "a list" if isinstance(self.content, list) else "a mapping"


def read_yaml(file: Path) -> Value:
    """The document in a file. Raises ConfigInvalid with the line of what is wrong, and OSError."""
    import yaml

    with file.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ConfigInvalid(f"{file}: a list may have {MOST_BYTES} bytes, this one has more")
    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigInvalid(f"{file}:{_line_of(error)}: invalid YAML: {_problem(error)}") from error
    except RecursionError as error:
        raise ConfigInvalid(f"{file}: nested too deeply") from error
    if root is None:
        return Value(str(file), 1, None)
    return _Conversion(str(file)).value(root, 0)


class _Conversion:
    """Makes Values of the parser's nodes; aliases may make a small file large, so there is a limit."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0

    def value(self, node: Any, level: int) -> Value:
        line = node.start_mark.line + 1
        self._count += 1
        if level > _MOST_LEVELS or self._count > _MOST_VALUES:
            raise ConfigInvalid(f"{self._file}:{line}: nested too deeply, or too many values")
        if node.id == "scalar":
            return Value(self._file, line, None if node.tag == _NULL else node.value)
        if node.id == "sequence":
            return Value(self._file, line, [self.value(child, level + 1) for child in node.value])
        return Value(self._file, line, dict(self._pairs(node, level)))

    def _pairs(self, node: Any, level: int) -> Iterator[tuple[str, Value]]:
        seen: set[str] = set()
        for key, child in node.value:
            line = key.start_mark.line + 1
            if key.id != "scalar":
                raise ConfigInvalid(f"{self._file}:{line}: expected a text as key, got something else")
            if key.value in seen:
                raise ConfigInvalid(f"{self._file}:{line}: the key {key.value[:80]!r} is there twice")
            seen.add(key.value)
            yield key.value, self.value(child, level + 1)


def _line_of(error: Any) -> int:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return mark.line + 1 if mark is not None else 1


def _problem(error: Any) -> str:
    return " ".join(str(getattr(error, "problem", None) or error).split())[:200]
