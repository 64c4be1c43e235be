"""Parsers over arbitrary input: they give back what was formatted, and refuse only in the declared way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrepot.digest import Digest, is_digest
from entrepot.errors import (
    DigestInvalid,
    ManifestInvalid,
    NameInvalid,
    ParameterInvalid,
    RangeInvalid,
    RegistryError,
    SizeInvalid,
    TagInvalid,
    UploadInvalid,
)
from entrepot.manifest import MANIFEST_TYPES, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, parse_manifest
from entrepot.reference import RepositoryName, Tag, parse_reference
from entrepot.wire.headers import (
    etag_matches,
    format_link,
    media_type,
    parse_content_length,
    parse_content_range,
    parse_count,
    parse_query,
    parse_range,
    upload_range,
)

thorough = settings(deadline=None, max_examples=200)  # no deadline: other work may hold the processor

NAME_PART = re.compile(r"[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", re.ASCII)
names = st.lists(st.from_regex(NAME_PART, fullmatch=True), min_size=1, max_size=4).map("/".join)
tags = st.from_regex(re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII), fullmatch=True)
algorithms = st.sampled_from(["sha256", "sha512"])
sizes = st.integers(0, 1000)
texts = st.text() | st.text(alphabet='0123456789-/=,:*+_. \n"Wbytesha256')
queries = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text(st.characters(exclude_categories=["Cs"])),
    min_size=1,
)


@thorough
@given(names)
def test_parse_name_of_generated_grammar_gives_it_back(name: str) -> None:
    """Every name of the grammar up to 255 characters is a name."""
    assert RepositoryName.parse(name) == name


@thorough
@given(tags)
def test_parse_tag_of_generated_grammar_gives_it_back(tag: str) -> None:
    """Every tag of the grammar is a tag, and a reference that is no digest."""
    assert Tag.parse(tag) == tag
    assert isinstance(parse_reference(tag), Tag)


@thorough
@given(st.binary(), algorithms)
def test_parse_digest_of_content_gives_it_back(content: bytes, algorithm: str) -> None:
    """The digest of any content can be written down and read again."""
    digest = Digest.of(content, algorithm)

    assert Digest.parse(str(digest)) == digest == f"{digest.algorithm}:{digest.encoded}"
    assert is_digest(digest)
    assert isinstance(parse_reference(digest), Digest)


PARSERS: list[Any] = [
    pytest.param(RepositoryName.parse, (NameInvalid,), id="name"),
    pytest.param(Tag.parse, (TagInvalid,), id="tag"),
    pytest.param(Digest.parse, (DigestInvalid,), id="digest"),
    pytest.param(parse_reference, (TagInvalid, DigestInvalid), id="reference"),
    pytest.param(parse_count, (ParameterInvalid,), id="count"),
    pytest.param(parse_content_length, (SizeInvalid,), id="content length"),
    pytest.param(parse_content_range, (UploadInvalid,), id="content range"),
    pytest.param(lambda text: parse_range(text, 100), (RangeInvalid,), id="range"),
    pytest.param(is_digest, (), id="digest test"),
    pytest.param(media_type, (), id="media type"),
    pytest.param(lambda text: etag_matches(text, "sha256:" + "a" * 64), (), id="entity tag"),
]


def refusal_by(parse: Callable[[], object], *declared: type[RegistryError]) -> RegistryError | None:
    """The declared error that ``parse`` raises, or None; any other error goes through and fails the test."""
    try:
        parse()
    except declared as refusal:
        return refusal
    return None


@pytest.mark.parametrize(("parser", "declared"), PARSERS)
@thorough
@given(text=texts)
def test_parse_any_text_raises_only_what_is_declared(
    parser: Callable[[str], object], declared: tuple[type[RegistryError], ...], text: str
) -> None:
    """No text makes a parser fail in another way than its own refusal, which has a detail."""
    refusal = refusal_by(lambda: parser(text), *declared)

    assert refusal is None or refusal.detail


@thorough
@given(texts)
def test_parse_any_text_accepts_only_ascii_digits_as_number(text: str) -> None:
    """What ``int`` would be lenient about is refused."""
    with suppress(SizeInvalid):
        assert parse_content_length(text) >= 0
        assert re.fullmatch("[0-9]+", text)


@thorough
@given(st.binary())
def test_parse_query_of_any_bytes_returns_text(raw: bytes) -> None:
    """Whatever stands behind the question mark is read, as text that can be written again."""
    for name, values in parse_query(raw).items():
        assert values
        "".join([name, *values]).encode()


@thorough
@given(queries)
def test_parse_query_of_formatted_link_gives_it_back(query: dict[str, str | int]) -> None:
    """A Link carries any value to the next request, and its delimiters cannot be broken out of."""
    link = format_link("/v2/_catalog", query)

    target, delimiter, rest = link.partition(">")
    assert (delimiter, rest) == (">", '; rel="next"')
    assert parse_query(target.partition("?")[2].encode()) == {name: [text] for name, text in query.items()}


specs = st.one_of(
    st.tuples(st.integers(0, 1200), st.integers(0, 1200)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    st.integers(0, 1200).map(lambda first: f"{first}-"),
    st.integers(0, 1200).map(lambda length: f"-{length}"),
)


def bytes_asked(spec: str, size: int) -> set[int]:
    """The positions a range names, by the words of RFC 9110 and without any arithmetic on ends."""
    first, _, last = spec.partition("-")
    if not first:
        return set(list(range(size))[-int(last) :]) if int(last) else set()
    return {position for position in range(size) if int(first) <= position <= int(last or size)}


@thorough
@given(st.lists(specs, min_size=1, max_size=8), sizes)
def test_parse_range_returns_disjoint_spans_of_exactly_the_bytes_asked(asked: list[str], size: int) -> None:
    """The spans lie within the blob, are not empty, overlap nowhere, and hold the bytes asked for."""
    wanted = set().union(*(bytes_asked(spec, size) for spec in asked))
    try:
        spans = parse_range("bytes=" + ", ".join(asked), size)
    except RangeInvalid:
        spans = []
    assert spans is not None
    assert all(0 <= start < end <= size for start, end in spans)
    positions = [position for start, end in spans for position in range(start, end)]
    assert len(positions) == len(set(positions)) <= size
    assert set(positions) == wanted


@thorough
@given(st.lists(st.integers(0, 400), min_size=2, max_size=8, unique=True))
def test_parse_range_of_separate_ranges_keeps_each_in_the_order_asked(starts: list[int]) -> None:
    """A client that counts the parts of the answer gets as many as it asked for."""
    spans = [(2 * start, 2 * start + 2) for start in starts]

    assert parse_range("bytes=" + ",".join(f"{s}-{e - 1}" for s, e in spans), 1000) == spans


@thorough
@given(st.integers(0, 2**62), st.integers(1, 2**62))
def test_parse_content_range_of_formatted_chunk_gives_it_back(start: int, length: int) -> None:
    """Each spelling of a chunk's range means the same two bytes."""
    end = start + length - 1

    for header in (f"{start}-{end}", f"bytes {start}-{end}/*", f"bytes {start}-{end}/{end + 1}"):
        assert parse_content_range(header) == (start, end)


@thorough
@given(st.integers(1, 2**62))
def test_parse_content_range_of_upload_range_ends_before_the_offset(offset: int) -> None:
    """What an upload says that it holds can be read like a chunk."""
    assert parse_content_range(upload_range(offset)) == (0, offset - 1)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([*MANIFEST_TYPES, OCI_EMPTY, "sha256:" + "a" * 64, "e30="]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        | st.fixed_dictionaries(
            {"mediaType": inner, "digest": inner, "size": inner},
            optional={"urls": inner, "data": inner, "platform": inner, "annotations": inner},
        )
    ),
    max_leaves=20,
)
descriptors = st.fixed_dictionaries(
    {
        "mediaType": st.just(OCI_EMPTY) | json_values,
        "digest": st.just("sha256:" + "a" * 64) | json_values,
        "size": st.just(2) | json_values,
    },
    optional=dict.fromkeys(("urls", "data", "platform", "annotations", "artifactType"), json_values),
)
documents = st.fixed_dictionaries(
    {"schemaVersion": st.just(2) | json_values},
    optional={
        "mediaType": st.sampled_from([OCI_MANIFEST, OCI_INDEX]) | json_values,
        "config": descriptors | json_values,
        "layers": st.lists(descriptors) | json_values,
        "manifests": st.lists(descriptors) | json_values,
        "subject": descriptors | json_values,
        "annotations": st.dictionaries(st.text(), st.text()) | json_values,
        "artifactType": json_values,
    },
)
content_types = st.none() | st.sampled_from(sorted(MANIFEST_TYPES)) | st.text()


def check_outcome(content: bytes, content_type: str | None, lenient: bool) -> None:
    def parse() -> None:
        manifest = parse_manifest(content, content_type, allow_unknown_types=lenient, require_artifact_type=not lenient)
        assert manifest.content == content
        assert all(is_digest(entry.digest) for entry in manifest.blobs + manifest.manifests)

    refusal = refusal_by(parse, ManifestInvalid)
    if refusal is not None:
        assert refusal.detail["field"]
        json.dumps([refusal.message, refusal.detail], ensure_ascii=False).encode()


@thorough
@given(documents | json_values, content_types, st.booleans())
def test_parse_manifest_of_any_json_reads_or_refuses(document: object, content_type: str | None, lenient: bool) -> None:
    """No JSON makes the parser fail in another way than ManifestInvalid, whose text is always encodable."""
    check_outcome(json.dumps(document).encode(), content_type, lenient)


@thorough
@given(st.binary() | st.text().map(str.encode), content_types, st.booleans())
def test_parse_manifest_of_any_bytes_reads_or_refuses(content: bytes, content_type: str | None, lenient: bool) -> None:
    """No bytes do either."""
    check_outcome(content, content_type, lenient)
