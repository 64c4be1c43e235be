"""What is not an image: charts, signatures, bills of materials, as Helm and ORAS make them."""

from __future__ import annotations

import pytest

from entrepot.testing.images import Content, Image, build_artifact, build_image

from .clients import ImageClient
from .containerd import Containerd
from .peers import Registry
from .skopeo import Skopeo
from .wire import ask, manifest_answer

pytestmark = pytest.mark.interop

HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
SBOM = "application/vnd.example.sbom.v1"


def chart(seed: int) -> Image:
    """What ``helm push`` sends: a config of Helm's own type, the chart's archive as the one layer."""
    archive = build_image(1, seed=seed).layers[0].data
    config = Content(HELM_CONFIG, f'{{"name":"chart-{seed}","version":"1.0.0","apiVersion":"v2"}}'.encode())
    return build_artifact(archive, payload_type=HELM_CHART, config=config)


def test_push_chart_then_pull_gives_same_chart(skopeo: Skopeo, name: str, seed: int) -> None:
    image = chart(seed)
    skopeo.load(image, name)
    skopeo.push(name).checked()
    skopeo.remove(name)
    skopeo.pull(name).checked()
    assert skopeo.digest(name) == image.digest
    assert manifest_answer(name).body == image.manifest.data


def test_docker_pull_of_chart_says_unsupported(
    request: pytest.FixtureRequest, skopeo: Skopeo, name: str, seed: int
) -> None:
    skopeo.load(chart(seed), name)
    skopeo.push(name).checked()
    outcome = request.getfixturevalue("docker").pull(name)
    assert outcome.status == 1
    assert f"unsupported media type {HELM_CONFIG}" in outcome.text


@pytest.fixture(params=["skopeo", pytest.param("containerd", marks=pytest.mark.root)])
def carrier(request: pytest.FixtureRequest) -> ImageClient:
    """The clients that carry any content type."""
    found: ImageClient = request.getfixturevalue(request.param)
    return found


def test_push_referrer_then_registry_lists_it(
    carrier: Skopeo | Containerd, entrepot: Registry, path: str, repository: str, seed: int
) -> None:
    image = build_image(seed=seed)
    notes = {"org.example.kind": "test"}
    sbom = build_artifact(b"{}", artifact_type=SBOM, subject=image, annotations=notes)
    for tag, content in {"v1": image, "sbom": sbom}.items():
        carrier.load(content, f"{repository}:{tag}")
        carrier.push(f"{repository}:{tag}").checked()
    answer = ask("GET", entrepot.host, f"/v2/{path}/referrers/{image.digest}?artifactType={SBOM}")
    assert (answer.status, answer.headers["oci-filters-applied"]) == (200, "artifactType")
    assert answer.json()["manifests"] == [
        sbom.manifest.descriptor(artifactType=SBOM, annotations=notes),
    ]


def test_push_referrer_before_its_subject_is_kept(skopeo: Skopeo, repository: str, seed: int) -> None:
    image = build_image(seed=seed)
    sbom = build_artifact(b"{}", artifact_type=SBOM, subject=image)
    skopeo.load(sbom, f"{repository}:sbom")
    skopeo.push(f"{repository}:sbom").checked()
    assert manifest_answer(f"{repository}:sbom").body == sbom.manifest.data
