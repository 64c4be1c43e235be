"""Operations on what is known of layers and configs beyond their bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from entrepot.metadata.base import Steps, operation

PUT_LAYER = """
    INSERT INTO layers (digest, diff_id, size) VALUES (:digest, :diff_id, :size)
    ON CONFLICT (digest) DO UPDATE SET diff_id = excluded.diff_id, size = excluded.size
"""
SELECT_LAYER = "SELECT diff_id, size FROM layers WHERE digest = :digest"
SELECT_LAYER_SIZES = "SELECT digest, size FROM layers"
SELECT_DIFF_IDS = "SELECT digest, diff_id FROM layers"
PUT_CONFIG = """
    INSERT INTO configs (digest, created, labels) VALUES (:digest, :created, :labels)
    ON CONFLICT (digest) DO UPDATE SET created = excluded.created, labels = excluded.labels
"""
SELECT_CONFIGS = "SELECT digest, created, labels FROM configs"


class LayerFacts(NamedTuple):
    """A layer when it is not compressed: its digest, and its size in bytes."""

    diff_id: str
    size: int


class ConfigFacts(NamedTuple):
    """What a config says that a list of images shows; ``created`` as it is written there, ``labels`` JSON."""

    digest: str
    created: str | None
    labels: str

    @classmethod
    def of(cls, digest: str, created: str | None, labels: Mapping[str, str]) -> ConfigFacts:
        return cls(digest, created, json.dumps(labels))


@operation
def record_layer(digest: str, diff_id: str, size: int) -> Steps[None]:
    """Remember what was found out while the layer was read."""
    yield PUT_LAYER, {"digest": digest, "diff_id": diff_id, "size": size}


@operation
def find_layer(digest: str) -> Steps[LayerFacts | None]:
    """What is known of a layer, if anything."""
    rows = yield SELECT_LAYER, {"digest": digest}
    return LayerFacts(*rows[0]) if rows else None


@operation
def layer_sizes() -> Steps[dict[str, int]]:
    """The uncompressed size of every layer of which it is known, by the layer's digest."""
    rows = yield SELECT_LAYER_SIZES, {}
    return {row[0]: row[1] for row in rows}


@operation
def diff_ids() -> Steps[dict[str, str]]:
    """The diff ID of every layer of which it is known, by the layer's digest."""
    rows = yield SELECT_DIFF_IDS, {}
    return {row[0]: row[1] for row in rows}


@operation
def record_configs(configs: Sequence[ConfigFacts]) -> Steps[None]:
    """Remember what configs say."""
    yield PUT_CONFIG, [facts._asdict() for facts in configs]


@operation
def config_facts() -> Steps[dict[str, ConfigFacts]]:
    """What every config says that was read before, by its digest."""
    rows = yield SELECT_CONFIGS, {}
    return {row[0]: ConfigFacts(*row) for row in rows}
