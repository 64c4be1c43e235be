"""What each client prints when a name leads nowhere: the essential words reach the user, and quickly."""

from __future__ import annotations

import re

import pytest

from entrepot.testing.images import build_image

from .clients import ImageClient
from .commands import Outcome
from .peers import Registry

pytestmark = pytest.mark.interop

NOBODY_LISTENS = "127.0.0.1:1"


def assert_refused(outcome: Outcome, *patterns: str) -> None:
    """The command failed and printed one of the patterns."""
    assert outcome.status != 0, outcome.text
    assert any(re.search(pattern, outcome.text) for pattern in patterns), outcome.text


def test_pull_unknown_tag_says_not_found(client: ImageClient, name: str, seed: int) -> None:
    client.load(build_image(1, seed=seed), name)
    client.push(name).checked()
    outcome = client.pull(f"{name}-nope")
    assert_refused(
        outcome,
        f"manifest for {name}-nope not found: manifest unknown",  # docker
        r"reading manifest v1-nope in \S+: manifest unknown",  # podman, buildah, skopeo
        f"{name}-nope: not found",  # containerd
    )
    assert "etrying" not in outcome.text


def test_pull_unknown_repository_says_not_found(client: ImageClient, name: str) -> None:
    outcome = client.pull(name)
    assert_refused(
        outcome,
        r"(manifest|repository) .* not found: (manifest|name) unknown",  # docker
        r"reading manifest v1 in \S+: (manifest|name) unknown",  # podman, buildah, skopeo
        f"{name}: not found",  # containerd
    )
    assert "etrying" not in outcome.text


def test_pull_unknown_digest_says_not_found(client: ImageClient, repository: str, name: str, seed: int) -> None:
    client.load(build_image(1, seed=seed), name)
    client.push(name).checked()
    unknown = f"{repository}@sha256:{'0' * 64}"
    assert_refused(
        client.pull(unknown),
        f"manifest for {unknown} not found: manifest unknown",  # docker
        r"reading manifest sha256:0+ in \S+: manifest unknown",  # podman, buildah, skopeo
        f"{unknown}: not found",  # containerd
    )


def test_pull_from_host_without_registry_says_connection_refused(client: ImageClient) -> None:
    assert_refused(client.pull(f"{NOBODY_LISTENS}/team/app:v1"), "connection refused")


def test_pull_upper_case_repository_says_so(client: ImageClient, registry: Registry) -> None:
    assert_refused(
        client.pull(f"{registry.host}/Team/App:v1"),
        r"repository name (\(Team/App\) )?must be lowercase",
        "400 Bad Request",  # containerd leaves the check to the registry,
        "Team/App:v1: not found",  # and distribution answers 404
    )


def test_pull_with_scheme_in_name_says_invalid_reference(client: ImageClient, registry: Registry) -> None:
    assert_refused(client.pull(f"http://{registry.host}/team/app:v1"), "invalid reference")


def test_push_tag_that_is_not_local_says_so(client: ImageClient, name: str) -> None:
    assert_refused(
        client.push(name),
        f"An image does not exist locally with the tag: {name.rpartition(':')[0]}",  # docker
        f"{name}: image not known",  # podman, buildah
        "no such file or directory",  # skopeo: no such layout
        f'image "{name}": not found',  # containerd
    )
