from __future__ import annotations

import json
from typing import Any

import pytest

from entrepot.errors import ManifestInvalid
from entrepot.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_DEPTH,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    parse_manifest,
)

Json = dict[str, Any]
X_DIGEST = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of the one byte x
CONFIG = {"mediaType": OCI_CONFIG, "digest": X_DIGEST, "size": 1}
LAYER = {"mediaType": OCI_LAYER_GZIP, "digest": X_DIGEST, "size": 1}
CHILD = {"mediaType": OCI_MANIFEST, "digest": X_DIGEST, "size": 1}
IMAGE = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [LAYER, LAYER, LAYER]}
INDEX = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [CHILD, CHILD]}
ABSENT = object()


def changed(document: Json, name: str, value: object) -> Json:
    return {key: member for key, member in (document | {name: value}).items() if member is not ABSENT}


def image(name: str, value: object) -> Json:
    return changed(IMAGE, name, value)


def index(name: str, value: object) -> Json:
    return changed(INDEX, name, value)


def layer(name: str, value: object) -> Json:
    return image("layers", [LAYER, LAYER, changed(LAYER, name, value)])


def platform(value: object) -> Json:
    return index("manifests", [CHILD, changed(CHILD, "platform", value)])


def refusal_of(content: bytes, **settings: bool) -> ManifestInvalid:
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(content, None, **settings)
    assert caught.value.message.startswith("invalid manifest: expected ")
    assert set(caught.value.detail) == {"field", "expected", "got"}
    return caught.value


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", "JSON", id="empty"),
        pytest.param(b"not json", "JSON", id="text"),
        pytest.param(b'{"a":1}{}', "JSON", id="two documents"),
        pytest.param(b'{"a":1,}', "JSON", id="trailing comma"),
        pytest.param(b"{'a':1}", "JSON", id="single quotes"),
        pytest.param(b'{"a":"\n"}', "JSON", id="raw control character"),
        pytest.param(b'{"a":01}', "JSON", id="leading zero"),
        pytest.param(b"\xef\xbb\xbf{}", "JSON without a byte order mark", id="byte order mark"),
        pytest.param('{"a":1}'.encode("utf-16"), "UTF-8", id="UTF-16"),
        pytest.param(b'{"a":"\xe9"}', "UTF-8", id="latin-1"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', "UTF-8", id="encoded surrogate"),
        pytest.param(b'{"a":"\xc0\xaf"}', "UTF-8", id="overlong encoding"),
        pytest.param(b"[]", "a JSON object", id="array"),
        pytest.param(b'"a"', "a JSON object", id="string"),
        pytest.param(b"null", "a JSON object", id="null"),
        pytest.param(b"2", "a JSON object", id="number"),
        pytest.param(b'{"a":NaN}', "JSON", id="NaN"),
        pytest.param(b'{"a":Infinity}', "JSON", id="Infinity"),
        pytest.param(b'{"a":-Infinity}', "JSON", id="negative Infinity"),
        pytest.param(b'{"a":1e999}', "free of numbers beyond a double", id="overflowing float"),
        pytest.param(b'{"a":9223372036854775808}', "free of integers beyond 64 bits", id="2**63"),
        pytest.param(b'{"a":-9223372036854775809}', "free of integers beyond 64 bits", id="-2**63 - 1"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", "free of integers beyond 64 bits", id="more digits than int takes"),
        pytest.param(b'{"a":1,"a":1}', "free of repeated names", id="repeated name"),
        pytest.param(b'{"a":[{"b":1,"\\u0062":2}]}', "free of repeated names", id="repeated name, escaped"),
        pytest.param(b'{"a":"\\ud800"}', "Unicode text", id="high half of a surrogate pair"),
        pytest.param(b'{"a":["\\uDC00x"]}', "Unicode text", id="low half of a surrogate pair"),
        pytest.param(b'{"\\udc00\\ud800":1}', "Unicode text", id="surrogates the wrong way round, in a name"),
    ],
)
@pytest.mark.parametrize("allowed", [False, True], ids=["strict", "unknown types allowed"])
def test_parse_document_that_is_no_interoperable_json_is_refused(content: bytes, expected: str, allowed: bool) -> None:
    refusal = refusal_of(content, allow_unknown_types=allowed)

    assert refusal.detail["field"] == "document"
    assert refusal.detail["expected"] == expected


def nested(levels: int, opening: str, closing: str) -> bytes:
    """An image manifest with a property ``x`` that makes it ``levels`` deep."""
    inner = opening * (levels - 1) + "1" + closing * (levels - 1)
    return (json.dumps(IMAGE)[:-1] + f', "x": {inner}}}').encode()


@pytest.mark.parametrize(("opening", "closing"), [('{"x":', "}"), ("[", "]")], ids=["objects", "arrays"])
def test_parse_document_of_the_greatest_depth_is_accepted(opening: str, closing: str) -> None:
    assert parse_manifest(nested(MAX_DEPTH, opening, closing), None).media_type == OCI_MANIFEST


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 100, 200_000])
@pytest.mark.parametrize(("opening", "closing"), [('{"x":', "}"), ("[", "]")], ids=["objects", "arrays"])
def test_parse_document_that_is_too_deep_is_refused(opening: str, closing: str, levels: int) -> None:
    refusal = refusal_of(nested(levels, opening, closing))

    assert refusal.detail["expected"] == "at most 64 levels deep"


def test_parse_document_with_brackets_in_its_strings_is_not_deep() -> None:
    document = image("annotations", {"a": "{[" * 1000})

    assert parse_manifest(json.dumps(document).encode(), None).annotations == {"a": "{[" * 1000}


def test_parse_document_with_many_shallow_objects_is_accepted() -> None:
    document = image("layers", [LAYER] * 200)

    assert len(parse_manifest(json.dumps(document).encode(), None).blobs) == 201


REFUSED = [
    pytest.param(image("schemaVersion", ABSENT), "schemaVersion", id="no schemaVersion"),
    pytest.param(image("schemaVersion", 1), "schemaVersion", id="schemaVersion 1"),
    pytest.param(image("schemaVersion", 3), "schemaVersion", id="schemaVersion 3"),
    pytest.param(image("schemaVersion", "2"), "schemaVersion", id="schemaVersion a string"),
    pytest.param(image("schemaVersion", 2.0), "schemaVersion", id="schemaVersion a float"),
    pytest.param(index("schemaVersion", True), "schemaVersion", id="schemaVersion true"),
    pytest.param(image("mediaType", 7), "mediaType", id="mediaType a number"),
    pytest.param(image("mediaType", [OCI_MANIFEST]), "mediaType", id="mediaType an array"),
    pytest.param(image("mediaType", "x"), "mediaType", id="mediaType without slash"),
    pytest.param(image("config", ABSENT), "config", id="no config"),
    pytest.param(image("config", None), "config", id="config null"),
    pytest.param(image("config", []), "config", id="config an array"),
    pytest.param(image("config", {}), "config.mediaType", id="config empty"),
    pytest.param(image("layers", ABSENT), "layers", id="no layers"),
    pytest.param(image("layers", None), "layers", id="layers null"),
    pytest.param(image("layers", {}), "layers", id="layers an object"),
    pytest.param(image("layers", ["x"]), "layers[0]", id="layer a string"),
    pytest.param(image("layers", [None]), "layers[0]", id="layer null"),
    pytest.param(index("manifests", ABSENT), "manifests", id="no manifests"),
    pytest.param(index("manifests", None), "manifests", id="manifests null"),
    pytest.param(index("manifests", {}), "manifests", id="manifests an object"),
    pytest.param(index("manifests", [[]]), "manifests[0]", id="child an array"),
    pytest.param(image("manifests", []), "manifests", id="image that is an index too"),
    pytest.param(
        image("manifests", []) | {"mediaType": DOCKER_MANIFEST}, "manifests", id="docker image that is a list too"
    ),
    pytest.param(index("config", CONFIG), "config", id="index with config"),
    pytest.param(index("layers", []), "layers", id="index with layers"),
    pytest.param(index("layers", []) | {"mediaType": DOCKER_LIST}, "layers", id="docker list with layers"),
    pytest.param(layer("mediaType", ABSENT), "layers[2].mediaType", id="no media type"),
    pytest.param(layer("mediaType", ""), "layers[2].mediaType", id="media type blank"),
    pytest.param(layer("mediaType", 7), "layers[2].mediaType", id="media type a number"),
    pytest.param(layer("mediaType", "tar"), "layers[2].mediaType", id="media type without slash"),
    pytest.param(layer("mediaType", "a/b/c"), "layers[2].mediaType", id="media type with two slashes"),
    pytest.param(layer("mediaType", "a/b; c=d"), "layers[2].mediaType", id="media type with parameter"),
    pytest.param(layer("mediaType", "a/b\n"), "layers[2].mediaType", id="media type with newline"),
    pytest.param(layer("mediaType", "a/" + "b" * 128), "layers[2].mediaType", id="media type too long"),
    pytest.param(layer("mediaType", "é/b"), "layers[2].mediaType", id="media type with accent"),
    pytest.param(layer("digest", ABSENT), "layers[2].digest", id="no digest"),
    pytest.param(layer("digest", 7), "layers[2].digest", id="digest a number"),
    pytest.param(layer("digest", "latest"), "layers[2].digest", id="digest a tag"),
    pytest.param(layer("digest", "sha256:abc"), "layers[2].digest", id="digest too short"),
    pytest.param(layer("digest", "sha256:" + "A" * 64), "layers[2].digest", id="digest in upper case"),
    pytest.param(layer("size", ABSENT), "layers[2].size", id="no size"),
    pytest.param(layer("size", -1), "layers[2].size", id="size negative"),
    pytest.param(layer("size", "1"), "layers[2].size", id="size a string"),
    pytest.param(layer("size", 1.0), "layers[2].size", id="size a float"),
    pytest.param(layer("size", True), "layers[2].size", id="size true"),
    pytest.param(layer("urls", "https://example.org"), "layers[2].urls", id="urls a string"),
    pytest.param(layer("urls", [7]), "layers[2].urls", id="urls of numbers"),
    pytest.param(layer("annotations", []), "layers[2].annotations", id="layer annotations an array"),
    pytest.param(layer("annotations", {"a": 1}), 'layers[2].annotations["a"]', id="layer annotation a number"),
    pytest.param(layer("artifactType", 7), "layers[2].artifactType", id="layer artifact type a number"),
    pytest.param(layer("artifactType", "x"), "layers[2].artifactType", id="layer artifact type malformed"),
    pytest.param(layer("data", 7), "layers[2].data", id="data a number"),
    pytest.param(layer("data", "%%%%"), "layers[2].data", id="data no base64"),
    pytest.param(layer("data", "é"), "layers[2].data", id="data no ASCII"),
    pytest.param(layer("data", "eA"), "layers[2].data", id="data without padding"),
    pytest.param(layer("data", "eA==\n"), "layers[2].data", id="data with newline"),
    pytest.param(layer("data", "eHg="), "layers[2].data", id="data longer than size"),
    pytest.param(layer("data", ""), "layers[2].data", id="data shorter than size"),
    pytest.param(layer("data", "eQ=="), "layers[2].data", id="data of another digest"),
    pytest.param(
        image("config", CONFIG | {"digest": "blake3:" + "a" * 64, "data": "eHg="}),
        "config.data",
        id="data longer than size, digest not checkable",
    ),
    pytest.param(platform("linux/amd64"), "manifests[1].platform", id="platform a string"),
    pytest.param(platform({}), "manifests[1].platform.architecture", id="platform empty"),
    pytest.param(platform({"architecture": "amd64"}), "manifests[1].platform.os", id="platform without os"),
    pytest.param(
        platform({"architecture": 7, "os": "linux"}),
        "manifests[1].platform.architecture",
        id="architecture a number",
    ),
    pytest.param(image("subject", "x"), "subject", id="subject a string"),
    pytest.param(image("subject", {}), "subject.mediaType", id="subject empty"),
    pytest.param(index("subject", CHILD | {"size": -1}), "subject.size", id="subject of negative size"),
    pytest.param(image("annotations", []), "annotations", id="annotations an array"),
    pytest.param(image("annotations", "a"), "annotations", id="annotations a string"),
    pytest.param(image("annotations", {"a": None}), 'annotations["a"]', id="annotation null"),
    pytest.param(index("annotations", {"a": {}}), 'annotations["a"]', id="annotation an object"),
    pytest.param(image("artifactType", 7), "artifactType", id="artifact type a number"),
    pytest.param(image("artifactType", "x"), "artifactType", id="artifact type malformed"),
    pytest.param(index("artifactType", "a/b c"), "artifactType", id="artifact type of an index malformed"),
]


@pytest.mark.parametrize(("document", "field"), REFUSED)
def test_parse_manifest_against_the_specification_is_refused_with_the_field(document: Json, field: str) -> None:
    assert refusal_of(json.dumps(document).encode()).detail["field"] == field


@pytest.mark.parametrize("length", [1, 100_000], ids=["short", "long"])
def test_parse_manifest_refused_repeats_only_a_little_of_what_came(length: int) -> None:
    refusal = refusal_of(json.dumps(layer("digest", "y" * length)).encode())

    assert refusal.detail["got"] == json.dumps("y" * min(length, 80))
    assert len(refusal.message) < 300
