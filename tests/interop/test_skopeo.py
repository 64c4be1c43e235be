"""skopeo: deletes, lists, inspects, copies between repositories, converts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from entrepot.testing.images import DOCKER_MANIFEST, build_image, build_index

from .peers import Registry
from .proxies import TcpProxy
from .skopeo import FROM_HTTP, PLAIN_HTTP, TO_HTTP, Skopeo
from .wire import manifest_answer, manifest_digest

pytestmark = pytest.mark.interop


def test_delete_image_then_it_is_gone(skopeo: Skopeo, repository: str, name: str, seed: int) -> None:
    """skopeo deletes by digest: every tag of it goes, another image stays."""
    image, other = build_image(seed=seed), build_image(seed=seed + 1)
    for tag, content in {"v1": image, "same": image, "other": other}.items():
        skopeo.load(content, f"{repository}:{tag}")
        skopeo.push(f"{repository}:{tag}").checked()
    skopeo.cli.run("delete", PLAIN_HTTP, f"docker://{name}")
    for reference in (":v1", ":same", f"@{image.digest}"):
        answer = manifest_answer(f"{repository}{reference}")
        assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
    assert manifest_digest(f"{repository}:other") == other.digest


def test_delete_image_twice_says_it_may_not_exist(skopeo: Skopeo, name: str, seed: int) -> None:
    skopeo.load(build_image(seed=seed), name)
    skopeo.push(name).checked()
    skopeo.cli.run("delete", PLAIN_HTTP, f"docker://{name}")
    outcome = skopeo.cli.try_run("delete", PLAIN_HTTP, f"docker://{name}")
    assert outcome.status == 1
    assert "manifest unknown" in outcome.text or "Image may not exist" in outcome.text


def test_push_deleted_image_again_brings_it_back(skopeo: Skopeo, name: str, seed: int) -> None:
    image = build_image(seed=seed)
    skopeo.load(image, name)
    skopeo.push(name).checked()
    skopeo.cli.run("delete", PLAIN_HTTP, f"docker://{name}")
    skopeo.push(name).checked()
    assert manifest_digest(name) == image.digest


def test_list_tags_names_all_tags(skopeo: Skopeo, repository: str, seed: int) -> None:
    for tag in ("b", "a", "10", "9"):
        skopeo.load(build_image(1, seed=seed), f"{repository}:{tag}")
        skopeo.push(f"{repository}:{tag}").checked()
    listed = json.loads(skopeo.cli.run("list-tags", PLAIN_HTTP, f"docker://{repository}"))
    assert sorted(listed["Tags"]) == ["10", "9", "a", "b"]


def test_inspect_tells_digest_and_layers(skopeo: Skopeo, name: str, seed: int) -> None:
    image = build_image(3, seed=seed)
    skopeo.load(image, name)
    skopeo.push(name).checked()
    told = json.loads(skopeo.cli.run("inspect", PLAIN_HTTP, f"docker://{name}"))
    assert told["Digest"] == image.digest
    assert told["Layers"] == [layer.digest for layer in image.layers]
    assert skopeo.cli.run("inspect", "--raw", PLAIN_HTTP, f"docker://{name}") == image.manifest.data.decode()


def test_copy_between_repositories_moves_no_blob(skopeo: Skopeo, registry: Registry, path: str, seed: int) -> None:
    index = build_index(seed=seed, size=200_000)
    with TcpProxy(registry.host) as proxy:
        source, target = f"{proxy.host}/{path}/from:v1", f"{proxy.host}/{path}/to:v1"
        skopeo.load(index, source)
        skopeo.push(source).checked()
        before = proxy.received
        skopeo.cli.run("copy", "--all", FROM_HTTP, TO_HTTP, f"docker://{source}", f"docker://{target}")
        assert manifest_digest(target) == index.digest
        assert proxy.received - before < 100_000


def test_copy_with_conversion_to_docker_types_keeps_layers(
    skopeo: Skopeo, repository: str, name: str, seed: int
) -> None:
    image = build_image(seed=seed)
    skopeo.load(image, name)
    skopeo.cli.run("copy", "--format", "v2s2", TO_HTTP, skopeo.local(name), f"docker://{name}")
    answer = manifest_answer(name)
    assert answer.headers["content-type"] == DOCKER_MANIFEST
    assert [layer["digest"] for layer in answer.json()["layers"]] == [layer.digest for layer in image.layers]


def test_copy_with_zstd_layers_then_pull_gives_same_image(skopeo: Skopeo, name: str, seed: int) -> None:
    skopeo.load(build_image(seed=seed), name)
    zstd = ("--dest-compress-format", "zstd", "--dest-compress")
    skopeo.cli.run("copy", *zstd, TO_HTTP, skopeo.local(name), f"docker://{name}")
    skopeo.remove(name)
    skopeo.pull(name).checked()
    assert skopeo.digest(name) == manifest_digest(name)


def test_copy_to_schema_1_is_refused_with_reason(skopeo: Skopeo, entrepot: Registry, name: str, seed: int) -> None:
    """The format of 2014 is not taken, and the user can read why."""
    skopeo.load(build_image(seed=seed, docker=False), name)
    outcome = skopeo.cli.try_run("copy", "--format", "v2s1", TO_HTTP, skopeo.local(name), f"docker://{name}")
    assert outcome.status == 1
    assert "manifest invalid" in outcome.text
    assert manifest_answer(name).status == 404


def test_sync_repository_to_folder_fetches_every_tag(
    skopeo: Skopeo, repository: str, seed: int, tmp_path: Path
) -> None:
    tags = ["1", "2", "3"]
    for tag in tags:
        skopeo.load(build_image(1, seed=seed + int(tag)), f"{repository}:{tag}")
        skopeo.push(f"{repository}:{tag}").checked()
    skopeo.cli.run("sync", FROM_HTTP, "--src", "docker", "--dest", "dir", repository, tmp_path)
    assert sorted(folder.name.rpartition(":")[2] for folder in tmp_path.iterdir()) == tags
