"""Where the examples are, and what the tests read out of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
SETTINGS_FILES = sorted(DEPLOY.rglob("entrepot.toml"))
MANIFESTS = sorted(set(KUBERNETES.glob("*.yaml")) - {KUBERNETES / "kustomization.yaml"})


def load_yaml(file: Path) -> Any:
    return yaml.safe_load(file.read_text("utf-8"))


def resources_of(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text("utf-8")))


def resources() -> list[dict[str, Any]]:
    """Everything that the manifests for Kubernetes describe."""
    return [found for file in MANIFESTS for found in resources_of(file)]


def resource(kind: str) -> Any:
    """The only resource of its kind, or the first."""
    return next(found for found in resources() if found["kind"] == kind)
