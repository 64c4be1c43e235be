"""The dotted keys of the settings, and their other names: flag and environment variable."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from entrepot.config.model import Settings
from entrepot.config.values import Flag


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield name, field.annotation


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    for name, field in Settings.model_fields.items():
        if name not in SECTIONS:
            yield name, field
    for section, model in SECTIONS.items():
        for name, field in model.model_fields.items():
            yield f"{section}.{name}", field


SECTIONS = dict(_sections())
FIELDS = dict(_fields())


def flag_of(key: str) -> str | None:
    """The flag of ``entrepot serve`` that sets ``key``."""
    return next((mark.name for mark in FIELDS[key].metadata if isinstance(mark, Flag)), None)


def variable_of(key: str) -> str:
    """The environment variable that sets ``key``."""
    return "ENTREPOT_" + key.upper().replace(".", "__")


def nearest(key: str) -> str | None:
    """The key, or at least the section, that somebody who wrote ``key`` probably meant."""
    whole = difflib.get_close_matches(key, FIELDS, n=1, cutoff=0.75)
    if whole:
        return whole[0]
    by_name = {known.rpartition(".")[2]: known for known in reversed(FIELDS)}
    name = difflib.get_close_matches(key.rpartition(".")[2], by_name, n=1, cutoff=0.75)
    if name:
        return by_name[name[0]]
    return next(iter(difflib.get_close_matches(key.partition(".")[0], SECTIONS, n=1, cutoff=0.75)), None)
