"""podman and buildah: search, and images that they make themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.testing.images import build_image

from .peers import Registry
from .podman import PLAIN_HTTP, Buildah, Podman
from .wire import manifest_answer, manifest_digest

pytestmark = [pytest.mark.interop, pytest.mark.root]


def test_search_finds_repository(podman: Podman, registry: Registry, name: str, path: str, seed: int) -> None:
    podman.load(build_image(1, seed=seed), name)
    podman.push(name).checked()
    found = podman.cli.run("search", PLAIN_HTTP, f"{registry.host}/{path}").splitlines()
    assert [line.split()[0] for line in found[1:]] == [f"{registry.host}/{path}"]


def test_search_lists_tags(podman: Podman, repository: str, seed: int) -> None:
    podman.load(build_image(1, seed=seed), f"{repository}:b")
    podman.tag(f"{repository}:b", f"{repository}:a")
    for tag in ("b", "a"):
        podman.push(f"{repository}:{tag}").checked()
    listed = podman.cli.run("search", PLAIN_HTTP, "--list-tags", repository).splitlines()
    assert sorted(line.split()[1] for line in listed[1:]) == ["a", "b"]


def test_push_says_digest_in_file(podman: Podman, name: str, seed: int, tmp_path: Path) -> None:
    podman.load(build_image(1, seed=seed), name)
    podman.cli.run("push", PLAIN_HTTP, "--digestfile", tmp_path / "digest", name)
    assert (tmp_path / "digest").read_text() == manifest_digest(name)


@pytest.mark.parametrize(
    ("form", "media_type"),
    [
        pytest.param("oci", "application/vnd.oci.image.manifest.v1+json", id="oci"),
        pytest.param("docker", "application/vnd.docker.distribution.manifest.v2+json", id="docker"),
    ],
)
def test_image_built_from_scratch_is_pushed_and_pulled_by_podman(
    buildah: Buildah, podman: Podman, name: str, tmp_path: Path, form: str, media_type: str
) -> None:
    (tmp_path / "hello").write_text("hello\n")
    container = buildah.cli.run("from", "scratch").strip()
    buildah.cli.run("copy", container, tmp_path / "hello", "/hello")
    buildah.cli.run("config", "--cmd", "/hello", "--label", f"form={form}", container)
    buildah.cli.run("commit", "--rm", "--format", form, container, name)
    buildah.push(name).checked()
    assert manifest_answer(name).headers["content-type"] == media_type
    podman.pull(name).checked()
    assert podman.image_id(name) == buildah.image_id(name)
    assert podman.digest(name) == manifest_digest(name)
