"""Reading what hangs together, from sources that may be hostile."""

from __future__ import annotations

import json
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.errors import ManifestInvalid, ManifestUnknown, PlatformUnknown
from entrepot.image import ATTESTATION
from entrepot.manifest import OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST
from entrepot.platforms import Platform
from entrepot.testing.images import Content, Image, build_artifact, build_image, build_index
from entrepot.transfer import graph
from entrepot.transfer.graph import MAX_DEPTH, Node, OnlyPlatforms, Reader
from tests.unit.transfer.places import Shelf

AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
IMAGE = build_image(2, seed=1)


def index_of(*entries: dict[str, Any]) -> Content:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
    return Content(OCI_INDEX, json.dumps(document).encode())


def entry(digest: str, *, size: int = 5, media_type: str = OCI_INDEX) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def fake(number: int) -> Digest:
    return Digest(f"sha256:{number:064x}")


LONE_INDEX_SIZE = len(index_of(entry(fake(1), size=100)).data)  # of any index with one entry of such a size


async def read(shelf: Shelf, reference: Digest, **more: Any) -> Node:
    return await Reader(shelf, **more).read(reference)  # type: ignore[arg-type]  # a Shelf is all it needs


async def test_read_image_gives_layers_from_the_lowest_and_then_the_config() -> None:
    node = await read(Shelf(IMAGE.manifest), IMAGE.digest)
    assert [blob.digest for blob in node.blobs()] == [*(layer.digest for layer in IMAGE.layers), IMAGE.config.digest]
    assert node.configs() == {IMAGE.config.digest}


async def test_read_index_gives_children_before_it() -> None:
    index = build_index()
    node = await read(Shelf(index.manifest, *(child.manifest for child in index.children)), index.digest)
    assert [each.digest for each in node.walk()] == [*(child.digest for child in index.children), index.digest]
    assert node.left_out == ()


async def test_read_index_of_ten_thousand_children_is_possible() -> None:
    child = IMAGE.manifest
    shelf = Shelf()
    for number in range(1, 10_001):
        shelf.put(fake(number), child)
    root = index_of(*(entry(fake(n), size=child.size, media_type=OCI_MANIFEST) for n in range(1, 10_001)))
    shelf.put(fake(0), root)
    node = await read(shelf, fake(0))
    assert len(node.walk()) == 10_001


@pytest.mark.parametrize(
    ("bound", "value"),
    [("MAX_MANIFESTS", 10), ("MAX_CONTENT", 10 * IMAGE.manifest.size)],
    ids=["manifests", "bytes"],
)
async def test_read_of_more_than_allowed_ends(monkeypatch: pytest.MonkeyPatch, bound: str, value: int) -> None:
    monkeypatch.setattr(graph, bound, value)
    shelf, child = Shelf(), IMAGE.manifest
    for number in range(1, 100):
        shelf.put(fake(number), child)
    root = index_of(*(entry(fake(n), size=child.size, media_type=OCI_MANIFEST) for n in range(1, 100)))
    shelf.put(fake(0), root)
    with pytest.raises(ManifestInvalid, match="too much below it"):
        await read(shelf, fake(0))
    assert len(shelf.asked) <= 10 + 2 * graph.PARALLEL


@pytest.mark.parametrize("length", [1, 2, 5])
async def test_read_index_that_goes_in_a_circle_ends(length: int) -> None:
    shelf = Shelf()
    for number in range(length):
        following = (number + 1) % length
        shelf.put(fake(number), index_of(entry(fake(following), size=LONE_INDEX_SIZE)))
    with pytest.raises(ManifestInvalid, match="circles"):
        await read(shelf, fake(0))
    assert len(shelf.asked) <= length + 1


async def test_read_indexes_deeper_than_allowed_ends() -> None:
    shelf = Shelf()
    for number in range(50):
        shelf.put(fake(number), index_of(entry(fake(number + 1), size=LONE_INDEX_SIZE)))
    with pytest.raises(ManifestInvalid, match=f"at most {MAX_DEPTH} levels"):
        await read(shelf, fake(0))
    assert len(shelf.asked) <= MAX_DEPTH + 2


async def test_read_indexes_that_share_their_children_reads_each_once() -> None:
    """Thirty entries on each of seven levels would be 30**7 ways."""
    leaf = IMAGE.manifest
    shelf = Shelf(leaf)
    below = leaf
    for _ in range(7):
        below = index_of(*[entry(below.digest, size=below.size, media_type=below.media_type)] * 30)
        shelf.put(below.digest, below)
    node = await read(shelf, below.digest)
    assert len(node.walk()) == 8
    assert len(shelf.asked) == 8
    assert {blob.digest for blob in node.blobs()} == {IMAGE.config.digest, *(layer.digest for layer in IMAGE.layers)}


async def test_walk_of_indexes_that_name_all_of_the_next_level_passes_each_once() -> None:
    """Thirty on each of seven levels would be 30**6 ways."""
    shelf, level = Shelf(IMAGE.manifest), [IMAGE.manifest]
    for depth in range(7):
        entries = [entry(each.digest, size=each.size, media_type=each.media_type) for each in level]
        level = [index_of(*entries, {**entries[0], "annotations": {"place": f"{depth}/{n}"}}) for n in range(30)]
        for each in level:
            shelf.put(each.digest, each)
    node = await read(shelf, level[0].digest)
    assert len(node.walk()) == 1 + 6 * 30 + 1


@pytest.mark.parametrize("size", [IMAGE.manifest.size - 1, IMAGE.manifest.size + 1, 0, 2**62])
async def test_read_index_with_wrong_size_of_child_is_refused(size: int) -> None:
    root = index_of(entry(IMAGE.digest, size=size, media_type=OCI_MANIFEST))
    with pytest.raises(ManifestInvalid) as caught:
        await read(Shelf(IMAGE.manifest, root), root.digest)
    assert caught.value.detail["actual"] == IMAGE.manifest.size


async def test_read_index_with_two_sizes_of_one_child_is_refused() -> None:
    entries = [entry(IMAGE.digest, size=size, media_type=OCI_MANIFEST) for size in (IMAGE.manifest.size, 7)]
    root = index_of(*entries)
    with pytest.raises(ManifestInvalid):
        await read(Shelf(IMAGE.manifest, root), root.digest)


async def test_read_index_with_absent_child_is_unknown() -> None:
    index = build_index()
    with pytest.raises(ManifestUnknown):
        await read(Shelf(index.manifest, index.children[0].manifest), index.digest)


async def test_read_index_with_absent_child_leaves_it_out_if_allowed() -> None:
    index = build_index()
    node = await read(Shelf(index.manifest, index.children[1].manifest), index.digest, skip_absent=True)
    assert [child.digest for child in node.children] == [index.children[1].digest]
    assert [left.descriptor.digest for left in node.left_out] == [index.children[0].digest]


async def test_read_index_with_entries_that_are_blobs_keeps_them_as_blobs() -> None:
    """As build caches have them."""
    layer = entry(fake(9), size=77, media_type=OCI_LAYER_GZIP)
    root = index_of(layer, entry(IMAGE.digest, size=IMAGE.manifest.size, media_type=OCI_MANIFEST))
    node = await read(Shelf(IMAGE.manifest, root), root.digest)
    assert [blob.digest for blob in node.loose] == [fake(9)]
    assert fake(9) in {blob.digest for blob in node.blobs()}


async def test_read_schema_1_says_what_to_do() -> None:
    old = Content("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}")
    with pytest.raises(ManifestInvalid, match="push it anew"):
        await read(Shelf(old), old.digest)


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b"{}", b'{"schemaVersion": 2}', b"\xff\xfe"])
async def test_read_of_no_manifest_is_refused(content: bytes) -> None:
    manifest = Content(OCI_MANIFEST, content)
    with pytest.raises(ManifestInvalid):
        await read(Shelf(manifest), manifest.digest)


# choices


def attested() -> tuple[Content, list[Image]]:
    """An index as buildx makes it: two images, and an attestation of each."""
    images = [build_image(1, seed=1), build_image(1, seed=2, platform="linux/arm64")]
    notes = [build_artifact(b"note %d" % number) for number in range(2)]
    entries = [
        image.manifest.descriptor(platform=dict(zip(("os", "architecture"), image.platform.split("/"), strict=False)))
        for image in images
    ]
    entries += [
        note.manifest.descriptor(
            platform={"os": "unknown", "architecture": "unknown"},
            annotations={ATTESTATION: "attestation-manifest", "vnd.docker.reference.digest": image.digest},
        )
        for note, image in zip(notes, images, strict=True)
    ]
    return index_of(*entries), [*images, *notes]


async def test_read_all_takes_attestations_along() -> None:
    root, images = attested()
    node = await read(Shelf(root, *(image.manifest for image in images)), root.digest)
    assert {child.digest for child in node.children} == {image.digest for image in images}


async def test_read_one_platform_reads_no_other() -> None:
    root, images = attested()
    shelf = Shelf(root, *(image.manifest for image in images))
    node = await read(shelf, root.digest, choice=OnlyPlatforms((ARM64,)))
    assert [child.digest for child in node.children] == [images[1].digest]
    assert shelf.asked == [root.digest, images[1].digest]
    assert [left.is_attestation for left in node.left_out] == [False, True, True]


async def test_read_several_platforms_takes_each_once() -> None:
    root, images = attested()
    shelf = Shelf(root, *(image.manifest for image in images))
    node = await read(shelf, root.digest, choice=OnlyPlatforms((ARM64, AMD64, ARM64)))
    assert [child.digest for child in node.children] == [images[1].digest, images[0].digest]


async def test_read_platform_that_is_not_there_names_those_that_are() -> None:
    root, images = attested()
    shelf = Shelf(root, *(image.manifest for image in images))
    with pytest.raises(PlatformUnknown, match="no matching manifest for linux/s390x") as caught:
        await read(shelf, root.digest, choice=OnlyPlatforms((Platform.parse("linux/s390x"),)))
    assert caught.value.detail["platforms"] == ["linux/amd64", "linux/arm64"]


async def test_read_platform_of_index_without_platforms_takes_all() -> None:
    root = index_of(entry(IMAGE.digest, size=IMAGE.manifest.size, media_type=OCI_MANIFEST))
    node = await read(Shelf(IMAGE.manifest, root), root.digest, choice=OnlyPlatforms((ARM64,)))
    assert len(node.children) == 1
