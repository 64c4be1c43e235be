"""Images that are not what they say: each ends in an error, soon, and leaves no image in the store."""

from __future__ import annotations

import asyncio
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.errors import (
    BlobUnknown,
    DigestInvalid,
    LayerInvalid,
    ManifestInvalid,
    ManifestUnknown,
    RegistryError,
    SizeInvalid,
)
from entrepot.testing.images import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Content,
    Image,
    Layer,
    build_image,
)
from entrepot.transport.base import ConnectionFailed
from tests.hostile.stored import look
from tests.hostile_client.server import (
    Answer,
    HostileRegistry,
    blob_line,
    chunk,
    endless,
    manifest_line,
    ok,
    pull,
    stalling,
)

MOST_SECONDS = 100
IMAGE = build_image(2, seed=1, size=100_000)
LAYER = IMAGE.layers[0]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def refused(root: Path, registry: HostileRegistry, *, idle_seconds: float = 2 * MOST_SECONDS) -> RegistryError:
    """The error that a pull ends with; what there is of images, tags and uploads is as before."""
    before = look(root)
    with pytest.raises(RegistryError) as caught:
        async with asyncio.timeout(MOST_SECONDS):
            await pull(root, registry, idle_seconds=idle_seconds)
    after = look(root)
    for table in ("manifests", "edges", "tags", "uploads"):
        assert after.count(table) == before.count(table)
    assert before.files <= after.files
    assert not [file for file in after.files if not file.startswith("blobs/")]
    assert len(str(caught.value)) < 1000
    return caught.value


def manifest_of(config: Content, *layers: Content, **more: Any) -> Content:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
        **more,
    }
    return Content(OCI_MANIFEST, json.dumps(document).encode())


def image_of(layer: Content, *diff_ids: str) -> Image:
    """An image of one layer, whose config says what the test says."""
    document = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    config = Content(OCI_CONFIG, json.dumps(document).encode())
    return Image(manifest_of(config, layer), config, (layer,))


# bodies of layers

BAD_BODIES: dict[str, tuple[Answer, type[RegistryError]]] = {
    "wrong": (ok(bytes(LAYER.size)), DigestInvalid),
    "wrong_at_the_end": (ok(LAYER.data[:-1] + b"x"), DigestInvalid),
    "shorter": (ok(LAYER.data[:-1]), SizeInvalid),
    "longer": (ok(LAYER.data + b"x"), SizeInvalid),
    "nothing": (ok(b""), SizeInvalid),
    "longer_in_chunks": (CHUNKED + chunk(LAYER.data + b"x") + b"0\r\n\r\n", SizeInvalid),
    "shorter_in_chunks": (CHUNKED + chunk(LAYER.data[:-1]) + b"0\r\n\r\n", ConnectionFailed),
    "broken_off": (ok(LAYER.data[:1000], length=str(LAYER.size)), ConnectionFailed),
    "endless": (endless(CHUNKED, chunk(bytes(65536))), SizeInvalid),
    "endless_until_closed": (endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", bytes(65536)), SizeInvalid),
    "absent": (ok(b"", status="404 Not Found"), BlobUnknown),
    "another_part": (ok(LAYER.data[5:], "Content-Range: bytes 5-9/10", status="206 Partial Content"), RegistryError),
    "compressed": (ok(zlib.compress(LAYER.data), "Content-Encoding: deflate"), SizeInvalid),
}


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(("answer", "error"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_layer_whose_bytes_are_wrong_is_refused(
    root: Path, registry: HostileRegistry, answer: Answer, error: type[RegistryError]
) -> None:
    registry.offer(IMAGE)
    registry.answers[blob_line(LAYER.digest)] = answer
    assert isinstance(await refused(root, registry), error)
    assert not any(LAYER.digest.encoded in file for file in look(root).files)


async def test_layer_whose_bytes_stop_coming_is_refused(root: Path, registry: HostileRegistry) -> None:
    registry.offer(IMAGE)
    registry.answers[blob_line(LAYER.digest)] = stalling(ok(LAYER.data[:1000], length=str(LAYER.size)))
    assert isinstance(await refused(root, registry, idle_seconds=0.4), ConnectionFailed)
    assert not any(LAYER.digest.encoded in file for file in look(root).files)


async def test_layer_that_was_wrong_is_right_the_next_time(root: Path, registry: HostileRegistry) -> None:
    registry.offer(IMAGE)
    registry.answers[blob_line(LAYER.digest)] = ok(bytes(LAYER.size))
    await refused(root, registry)
    registry.offer(IMAGE)
    await pull(root, registry)
    assert any(LAYER.digest.encoded in file for file in look(root).files)


async def test_layer_that_breaks_off_with_other_bytes_each_time_is_right_in_the_end(
    root: Path, registry: HostileRegistry
) -> None:
    """The beginning that an earlier run has kept is wrong; all of it is fetched once more then."""
    registry.offer(IMAGE)
    registry.answers[blob_line(LAYER.digest)] = ok(bytes(1000), length=str(LAYER.size))
    await refused(root, registry)
    registry.offer(IMAGE)
    await pull(root, registry)
    assert any(LAYER.digest.encoded in file for file in look(root).files)


# what layers unpack to


def gzipped(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush()


BOMB = gzipped(bytes(200_000_000))
WRONG_ID = Digest.of(b"something else")


@pytest.mark.parametrize(
    "data",
    [b"no tar and no gzip" * 100, gzipped(b"no tar"), gzipped(b"x" * 10_000)[:-20], b"\x1f\x8b" + bytes(100), b""],
    ids=["plain", "zipped", "cut", "damaged", "empty"],
)
async def test_layer_that_is_not_what_its_config_says_is_refused(
    root: Path, registry: HostileRegistry, data: bytes
) -> None:
    registry.offer(image_of(Content(OCI_LAYER, data), WRONG_ID))
    assert isinstance(await refused(root, registry), LayerInvalid)


@pytest.mark.usefixtures("little_memory")
async def test_layer_that_unpacks_to_much_takes_little_memory(root: Path, registry: HostileRegistry) -> None:
    registry.offer(image_of(Content(OCI_LAYER, BOMB), WRONG_ID))
    assert isinstance(await refused(root, registry), LayerInvalid)


@pytest.mark.parametrize("diff_ids", [(), (WRONG_ID, WRONG_ID)], ids=["fewer", "more"])
async def test_config_with_another_number_of_layers_is_refused(
    root: Path, registry: HostileRegistry, diff_ids: tuple[str, ...]
) -> None:
    registry.offer(image_of(LAYER, *diff_ids))
    assert isinstance(await refused(root, registry), LayerInvalid)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"no json",
        b"[" * 1_000_000,
        b'{"rootfs": 5}',
        b'{"rootfs": {"diff_ids": [5]}}',
        b"\xff",
        b"9" * 100_000,
    ],
    ids=["empty", "array", "text", "deep", "no_rootfs", "no_digests", "no_utf8", "number"],
)
async def test_config_that_is_none_is_refused(root: Path, registry: HostileRegistry, data: bytes) -> None:
    config = Content(OCI_CONFIG, data)
    registry.offer(Image(manifest_of(config, LAYER), config, (LAYER,)))
    assert isinstance(await refused(root, registry), ManifestInvalid | LayerInvalid)


@pytest.mark.parametrize("size", [0, LAYER.size - 1, LAYER.size + 1, 2**40, 2**62, 2**63 - 1])
async def test_manifest_with_wrong_size_of_a_layer_is_refused(root: Path, registry: HostileRegistry, size: int) -> None:
    registry.offer(IMAGE)
    data = IMAGE.manifest.data.replace(b'"size":%d' % LAYER.size, b'"size":%d' % size)
    registry.answers[manifest_line("v1")] = ok(data, f"Content-Type: {OCI_MANIFEST}")
    error = await refused(root, registry)
    assert isinstance(error, SizeInvalid | DigestInvalid)


# indexes


def index_of(*entries: dict[str, Any]) -> Content:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
    return Content(OCI_INDEX, json.dumps(document).encode())


def offer(registry: HostileRegistry, *manifests: Content) -> None:
    """Serve manifests, the last one as ``v1`` too."""
    for manifest in manifests:
        registry.answers[manifest_line(manifest.digest)] = ok(manifest.data, f"Content-Type: {manifest.media_type}")
    registry.answers[manifest_line("v1")] = registry.answers[manifest_line(manifests[-1].digest)]


async def test_indexes_a_hundred_deep_are_refused(root: Path, registry: HostileRegistry) -> None:
    nested = [IMAGE.manifest]
    for _ in range(100):
        nested.append(index_of(nested[-1].descriptor()))
    offer(registry, *nested)
    assert isinstance(await refused(root, registry), ManifestInvalid)
    assert len(registry.asked) < 20


async def test_index_that_names_itself_is_refused(root: Path, registry: HostileRegistry) -> None:
    """No digest can do that, so what comes is not what was asked for."""
    index = index_of({"mediaType": OCI_INDEX, "digest": Digest.of(b"self"), "size": 5})
    offer(registry, index)
    registry.answers[manifest_line(Digest.of(b"self"))] = registry.answers[manifest_line("v1")]
    assert isinstance(await refused(root, registry), DigestInvalid)


async def test_indexes_that_fan_out_without_measure_are_read_once_each(root: Path, registry: HostileRegistry) -> None:
    nested = [IMAGE.manifest]
    for _ in range(7):
        nested.append(index_of(*[nested[-1].descriptor()] * 50))
    offer(registry, *nested)
    registry.answers[blob_line(LAYER.digest)] = ok(b"", status="404 Not Found")
    assert isinstance(await refused(root, registry), BlobUnknown)
    assert sum("manifests" in asked.line for asked in registry.asked) == len(nested)


@pytest.mark.usefixtures("little_memory")
async def test_index_of_many_absent_children_ends_with_the_first(root: Path, registry: HostileRegistry) -> None:
    entries = [{"mediaType": OCI_MANIFEST, "digest": f"sha256:{number:064x}", "size": 5} for number in range(9000)]
    offer(registry, index_of(*entries))
    assert isinstance(await refused(root, registry), ManifestUnknown)
    assert len(registry.asked) < 50


@pytest.mark.usefixtures("little_memory")
async def test_manifest_of_many_absent_layers_ends_with_the_first(root: Path, registry: HostileRegistry) -> None:
    layers = [{"mediaType": OCI_LAYER, "digest": f"sha256:{number:064x}", "size": 5} for number in range(9000)]
    config = IMAGE.config
    data = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.descriptor(), "layers": layers})
    offer(registry, Content(OCI_MANIFEST, data.encode()))
    assert isinstance(await refused(root, registry), BlobUnknown)
    assert len(registry.asked) < 50


async def test_digest_of_an_unknown_algorithm_is_refused(root: Path, registry: HostileRegistry) -> None:
    unknown = {"mediaType": OCI_LAYER, "digest": "blake3:" + "a" * 64, "size": 5}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": IMAGE.config.descriptor(), "layers": [unknown]}
    offer(registry, Content(OCI_MANIFEST, json.dumps(document).encode()))
    assert isinstance(await refused(root, registry), DigestInvalid)


def test_layer_of_these_tests_is_one() -> None:
    assert isinstance(LAYER, Layer)
