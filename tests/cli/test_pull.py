"""``entrepot pull``: what is printed where, what is kept, and what is refused."""

from __future__ import annotations

import json
import uuid

import pytest

from entrepot.testing.images import Image, build_image, build_index, build_layer
from entrepot.testing.server import RegistryProcess
from tests.cli.conftest import Entrepot, Publish

IMAGE = build_image(3, seed=31)
OTHER = build_image(2, seed=32)


@pytest.fixture
def name() -> str:
    return f"team/app-{uuid.uuid4().hex[:8]}"


def short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def layers(image: Image) -> list[str]:
    return [layer["digest"] for layer in json.loads(image.manifest.data)["layers"]]


def test_pull_image_prints_what_docker_prints(entrepot: Entrepot, publish: Publish, name: str) -> None:
    reference = publish(IMAGE, name, "1.23.3")
    done = entrepot("pull", str(reference))
    assert done.code == 0
    assert done.err == ""
    assert done.lines[0] == f"1.23.3: Pulling from {name}"
    for layer in layers(IMAGE):
        states = [line.partition(": ")[2] for line in done.lines if line.startswith(short(layer))]
        assert states[0] == "Pulling fs layer"
        assert states[-3:] == ["Verifying Checksum", "Download complete", "Pull complete"]
    assert done.lines[-3:] == [
        f"Digest: {IMAGE.manifest.digest}",
        f"Status: Downloaded newer image for {reference}",
        str(reference),
    ]


def test_pull_again_prints_no_layers_and_that_the_image_is_up_to_date(
    entrepot: Entrepot, publish: Publish, name: str
) -> None:
    reference = publish(IMAGE, name, "v1")
    entrepot("pull", str(reference))
    assert entrepot("pull", str(reference)).lines == [
        f"v1: Pulling from {name}",
        f"Digest: {IMAGE.manifest.digest}",
        f"Status: Image is up to date for {reference}",
        str(reference),
    ]


def test_pull_layers_that_are_there_says_so(entrepot: Entrepot, publish: Publish, name: str) -> None:
    entrepot("pull", str(publish(IMAGE, name, "v1")))
    again = publish(IMAGE, f"{name}-copy", "v1")
    done = entrepot("pull", str(again))
    assert [line for line in done.lines if "exists" in line] == [
        f"{short(layer)}: Already exists" for layer in layers(IMAGE)
    ]
    assert f"Status: Downloaded newer image for {again}" in done.lines


def test_pull_without_tag_means_latest_and_says_so(entrepot: Entrepot, publish: Publish, name: str) -> None:
    reference = publish(IMAGE, name, "latest")
    done = entrepot("pull", reference.name)
    assert done.lines[:2] == ["Using default tag: latest", f"latest: Pulling from {name}"]
    assert done.lines[-1] == str(reference)


def test_pull_by_digest_begins_with_the_whole_reference(entrepot: Entrepot, publish: Publish, name: str) -> None:
    full = f"{publish(IMAGE, name, 'v1').name}@{IMAGE.manifest.digest}"
    done = entrepot("pull", full)
    assert done.code == 0
    assert done.lines[0] == f"{full}: Pulling from {name}"
    assert done.lines[-1] == full
    assert entrepot("images", "--digests").lines[1].split()[1:3] == ["<none>", IMAGE.manifest.digest]


def test_pull_quietly_prints_the_name_alone(entrepot: Entrepot, publish: Publish, name: str) -> None:
    reference = publish(IMAGE, name)
    done = entrepot("pull", "-q", reference.name)
    assert (done.code, done.out, done.err) == (0, f"{reference}\n", "")


def test_pull_all_tags_pulls_each(entrepot: Entrepot, publish: Publish, name: str) -> None:
    publish(IMAGE, name, "v1", "v2")
    reference = publish(OTHER, name, "v3")
    done = entrepot("pull", "-a", reference.name)
    assert [line for line in done.lines if "Pulling from" in line] == [
        f"{tag}: Pulling from {name}" for tag in ("v1", "v2", "v3")
    ]
    assert done.lines[-2:] == [f"Status: Downloaded newer image for {reference.name}", reference.name]
    assert sorted(line.split()[1] for line in entrepot("images").lines[1:]) == ["v1", "v2", "v3"]


def test_pull_all_tags_with_a_tag_is_refused(entrepot: Entrepot) -> None:
    done = entrepot("pull", "-a", "nginx:1.23.3")
    assert (done.code, done.err) == (1, "Error: tag can't be used with --all-tags/-a\n")


def test_pull_platform_takes_that_one_and_names_the_whole_index(
    entrepot: Entrepot, publish: Publish, name: str
) -> None:
    index = build_index(("linux/amd64", "linux/s390x"))
    reference = publish(index, name, "v1")
    done = entrepot("pull", "--platform", "linux/s390x", str(reference))
    assert f"Digest: {index.manifest.digest}" in done.lines
    inspected = json.loads(entrepot("inspect", str(reference)).out)
    assert [image["Architecture"] for image in inspected] == ["s390x"]


def test_pull_platform_that_is_not_there_names_those_that_are(entrepot: Entrepot, publish: Publish, name: str) -> None:
    index = build_index(("linux/amd64", "linux/arm64"))
    done = entrepot("pull", "--platform", "linux/riscv64", str(publish(index, name, "v1")))
    assert done.code == 2
    assert "no matching manifest for linux/riscv64 in the manifest list entries" in done.err
    assert "linux/amd64, linux/arm64" in done.err


def test_pull_tag_that_is_absent_names_close_ones(entrepot: Entrepot, publish: Publish, name: str) -> None:
    publish(IMAGE, name, "1.23.3", "1.23.4")
    reference = publish(OTHER, name, "alpine")
    done = entrepot("pull", f"{reference.name}:1.23")
    assert (done.code, done.out) == (2, "")
    first, hint = done.err.splitlines()
    assert first.startswith(f"Error: manifest for {reference.name}:1.23 not found: manifest unknown: ")
    assert hint.startswith("Hint: tags that come close: 1.23.4, 1.23.3;")


def test_pull_repository_that_is_absent_says_so_as_docker_does(entrepot: Entrepot, registry: RegistryProcess) -> None:
    done = entrepot("pull", f"{registry.host}/no/such:v1")
    assert done.code == 2
    assert f"Error: repository {registry.host}/no/such not found: name unknown: " in done.err
    assert f"Hint: entrepot catalog {registry.host} lists the repositories there\n" in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Bad/Name/Upper", "invalid reference format: repository name (Name/Upper) must be lowercase"),
        ("nginx:", "invalid reference format"),
        ("a" * 64, f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
        ("scratch", "'scratch' is a reserved name"),
        ("nginx@sha256:abc", "invalid digest"),
    ],
)
def test_pull_name_that_is_none_is_refused(entrepot: Entrepot, text: str, message: str) -> None:
    done = entrepot("pull", text)
    assert (done.code, done.out) == (1, "")
    assert message in done.err


def test_pull_from_nowhere_says_that_nobody_answers(entrepot: Entrepot) -> None:
    done = entrepot("pull", "--retries", "0", "127.0.0.1:1/app:v1")
    assert (done.code, done.out) == (1, "")
    assert "127.0.0.1:1" in done.err
    assert "refused" in done.err


def test_pull_into_a_served_root_is_served_under_the_stored_name(
    entrepot: Entrepot, publish: Publish, name: str, store_root: object
) -> None:
    reference = publish(IMAGE, name, "v1")
    entrepot("pull", str(reference))
    with RegistryProcess(store_root) as served:  # type: ignore[arg-type]
        again = f"{served.host}/{reference.stored_name}:v1"
        assert f"Digest: {IMAGE.manifest.digest}" in entrepot("pull", again).lines


def test_pull_layer_that_unpacks_to_too_much_is_refused_and_no_image_is_kept(
    entrepot: Entrepot, publish: Publish, name: str
) -> None:
    bomb = build_image([build_layer({"zeros": bytes(3_000_000)})])
    done = entrepot("pull", "--max-unpacked", "1MiB", str(publish(bomb, name, "v1")))
    assert done.code == 1
    assert "a layer may unpack to 1048576 bytes, this one has more" in done.err
    assert len(entrepot("images").lines) == 1
