"""``--format`` for commands that are mostly run without: the template language is loaded when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_TEMPLATES = "entrepot.cli.templates"  # 20 ms, a good part of what listing the images takes


def format_rows(form: str, rows: Iterable[Mapping[str, Any]], headers: Mapping[str, str]) -> Iterator[str]:
    """See ``templates.format_rows``."""
    lines: Iterator[str] = importlib.import_module(_TEMPLATES).format_rows(form, rows, headers)
    return lines


def render(form: str, value: Any) -> str:
    """What a template prints for one document. See ``templates.format_document``."""
    text: str = importlib.import_module(_TEMPLATES).format_document(form, value)
    return text
