"""What may stand in manifests of Docker's own types (Docker image manifest, version 2, schema 2)."""

from __future__ import annotations

import json

import pytest

from entrepot.testing.images import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    EMPTY_CONFIG,
    build_image,
    build_index,
)

from .api import ABSENT, Api, document, refused

descriptor = EMPTY_CONFIG.descriptor


@pytest.mark.parametrize("build", [build_image, build_index], ids=["manifest", "list"])
async def test_push_docker_image_is_served_under_its_own_type(repo: Api, build: type) -> None:
    image = build(docker=True)
    await repo.push(image, "v1")
    answer = await repo.get("manifests/v1")
    assert answer.headers["content-type"] == (DOCKER_MANIFEST if build is build_image else DOCKER_LIST)
    assert answer.content == image.manifest.data


async def test_push_docker_plugin_is_taken(repo: Api) -> None:
    await repo.push_blob(EMPTY_CONFIG.data)
    config = descriptor(mediaType="application/vnd.docker.plugin.v1+json")
    await repo.push_document(media_type=DOCKER_MANIFEST, config=config, layers=[descriptor(mediaType=DOCKER_LAYER)])


async def test_push_docker_list_with_all_platform_fields_is_taken(repo: Api) -> None:
    image = build_image(docker=True)
    await repo.push(image)
    platform = {
        "architecture": "arm64",
        "os": "windows",
        "os.version": "10.0.1",
        "os.features": ["win32k"],
        "variant": "v8",
        "features": ["sse4"],
    }
    await repo.push_document(media_type=DOCKER_LIST, manifests=[image.manifest.descriptor(platform=platform)])


async def test_push_docker_manifest_with_subject_has_no_referrers(repo: Api) -> None:
    await repo.push_blob(EMPTY_CONFIG.data)
    subject = {"mediaType": DOCKER_MANIFEST, "digest": ABSENT, "size": 7}
    content = document(
        media_type=DOCKER_MANIFEST, config=descriptor(mediaType=DOCKER_CONFIG), layers=[], subject=subject
    )
    answer = await repo.put_manifest("v1", content)
    assert (answer.status_code, "oci-subject" in answer.headers) == (201, False)
    assert (await repo.get(f"referrers/{ABSENT}")).json()["manifests"] == []


@pytest.mark.parametrize("suffix", ["v1+json", "v1+prettyjws"])
@pytest.mark.parametrize("header", [True, False], ids=["in header", "in document"])
async def test_push_schema_1_is_refused(repo: Api, suffix: str, header: bool) -> None:
    kind = f"application/vnd.docker.distribution.manifest.{suffix}"
    content = json.dumps({"schemaVersion": 1, "name": "x", "fsLayers": [], **({} if header else {"mediaType": kind})})
    refused(
        await repo.put("manifests/v1", content.encode(), **({"content_type": kind} if header else {})),
        400,
        "MANIFEST_INVALID",
    )
