"""Manifests, referrers and lists of a registry elsewhere, whatever it answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from entrepot.digest import Digest
from entrepot.errors import (
    AccessDenied,
    DigestInvalid,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    ParameterInvalid,
    RepositoryUnknown,
    UpstreamFailed,
)
from entrepot.manifest import OCI_INDEX, OCI_MANIFEST, TagCondition
from entrepot.reference import Tag
from entrepot.repositories.remote import MAX_MANIFEST, RemoteRegistry, RemoteRepository
from entrepot.repositories.remote_referrers import fallback_tag
from entrepot.testing.images import build_artifact, build_image
from entrepot.testing.scripted import Reply, ScriptedExchange
from tests.unit.repositories.remotes import BASE, DOMAIN, MIRROR, NAME, remote

IMAGE = build_image(1, seed=1)
CONTENT, DIGEST = IMAGE.manifest.data, IMAGE.digest
SHA512 = Digest.of(CONTENT, "sha512")
V1, V2 = Tag.parse("v1"), Tag.parse("v2")
BY_TAG = f"/v2/{NAME}/manifests/v1"
BY_DIGEST = f"/v2/{NAME}/manifests/{DIGEST}"
TYPED = {"content-type": OCI_MANIFEST}


def found(content: bytes = CONTENT, **headers: str) -> Reply:
    return Reply(200, content, headers={**TYPED, **{name.replace("_", "-"): text for name, text in headers.items()}})


# reading


async def test_get_manifest_by_tag_names_its_digest() -> None:
    exchange = ScriptedExchange((f"GET {BY_TAG}", found(docker_content_digest=DIGEST)))
    manifest = await remote(exchange).get_manifest(V1)
    assert (manifest.digest, manifest.media_type, manifest.content) == (DIGEST, OCI_MANIFEST, CONTENT)


@pytest.mark.parametrize("told", ["", "nonsense", "blake3:" + "a" * 64, "md5:abc"])
async def test_get_manifest_by_tag_with_digest_that_says_nothing_is_named_by_its_bytes(told: str) -> None:
    exchange = ScriptedExchange((f"GET {BY_TAG}", found(docker_content_digest=told)))
    assert (await remote(exchange).get_manifest(V1)).digest == DIGEST


async def test_get_manifest_by_tag_keeps_its_sha512() -> None:
    exchange = ScriptedExchange((f"GET {BY_TAG}", found(docker_content_digest=SHA512)))
    assert (await remote(exchange).get_manifest(V1)).digest == SHA512


@pytest.mark.parametrize("told", [Digest.of(b"other"), Digest.of(b"other", "sha512")])
async def test_get_manifest_that_is_not_what_it_is_announced_as_is_refused(told: str) -> None:
    exchange = ScriptedExchange((f"GET {BY_TAG}", found(docker_content_digest=told)))
    with pytest.raises(DigestInvalid):
        await remote(exchange).get_manifest(V1)


async def test_get_manifest_by_digest_that_is_another_one_is_refused() -> None:
    exchange = ScriptedExchange((f"GET {BY_DIGEST}", found(b"{}", docker_content_digest=DIGEST)))
    with pytest.raises(DigestInvalid) as caught:
        await remote(exchange).get_manifest(DIGEST)
    assert caught.value.detail["expected"] == DIGEST


async def test_get_manifest_that_a_mirror_has_wrong_comes_from_the_registry() -> None:
    exchange = ScriptedExchange(
        (f"GET {MIRROR.base_url}{BY_DIGEST}", found(b"{}")), (f"GET {BASE}{BY_DIGEST}", found())
    )
    assert (await remote(exchange, MIRROR).get_manifest(DIGEST)).content == CONTENT


@pytest.mark.parametrize("kind", ["application/json", "text/plain; charset=utf-8", "", "application/octet-stream"])
async def test_get_manifest_of_no_useful_type_is_what_it_says_itself(kind: str) -> None:
    exchange = ScriptedExchange((f"GET {BY_TAG}", Reply(200, CONTENT, headers={"content-type": kind})))
    assert (await remote(exchange).get_manifest(V1)).media_type == OCI_MANIFEST


async def test_get_manifest_of_a_hundred_megabytes_is_refused_early() -> None:
    given = 0

    def pieces() -> Any:
        nonlocal given
        for _ in range(100):
            given += 1
            yield bytes(1024 * 1024)

    with pytest.raises(ManifestTooLarge):
        await remote(ScriptedExchange((f"GET {BY_TAG}", Reply(200, pieces())))).get_manifest(V1)
    assert given <= MAX_MANIFEST // (1024 * 1024) + 1


@pytest.mark.parametrize("length", ["", "\xb2", "9" * 5000])
async def test_head_manifest_without_sensible_length_reads_it(length: str) -> None:
    headers = {**TYPED, "content-length": length, "docker-content-digest": DIGEST}
    exchange = ScriptedExchange((f"HEAD {BY_TAG}", Reply(200, [], headers=headers)), (f"GET {BY_TAG}", found()))
    assert (await remote(exchange).head_manifest(V1)).size == len(CONTENT)


@pytest.mark.parametrize(
    "headers", [{**TYPED, "content-length": "5"}, {"content-length": "5", "docker-content-digest": DIGEST}]
)
async def test_head_manifest_that_says_too_little_reads_it(headers: dict[str, str]) -> None:
    exchange = ScriptedExchange((f"HEAD {BY_TAG}", Reply(200, [], headers=headers)), (f"GET {BY_TAG}", found()))
    head = await remote(exchange).head_manifest(V1)
    assert (head.digest, head.media_type, head.size) == (DIGEST, OCI_MANIFEST, len(CONTENT))


async def test_head_manifest_where_there_is_no_head_reads_it() -> None:
    exchange = ScriptedExchange((f"HEAD {BY_TAG}", Reply(405)), (f"GET {BY_TAG}", found()))
    assert (await remote(exchange).head_manifest(V1)).digest == DIGEST


async def test_head_manifest_that_fails_is_not_absent() -> None:
    exchange = ScriptedExchange(answer=lambda _: Reply(500))
    with pytest.raises(UpstreamFailed):
        await remote(exchange).head_manifest(V1)


async def test_head_manifest_past_mirrors_asks_the_registry_alone() -> None:
    exchange = ScriptedExchange((f"HEAD {BASE}{BY_TAG}", Reply(404)))
    with pytest.raises(ManifestUnknown):
        await remote(exchange, MIRROR).past_mirrors().head_manifest(V1)


# writing

CREATED = Reply(201, headers={"docker-content-digest": DIGEST})


async def put(exchange: ScriptedExchange, reference: Tag | Digest, *tags: Tag) -> None:
    await remote(exchange).put_manifest(reference, CONTENT, OCI_MANIFEST, tags=tags)
    exchange.require_done()


@pytest.mark.parametrize("trouble", [Reply(429), Reply(503)])
async def test_put_manifest_is_tried_again(trouble: Reply) -> None:
    exchange = ScriptedExchange((f"PUT {BY_TAG}", trouble), (f"PUT {BY_TAG}", CREATED))
    await put(exchange, V1)
    assert [seen.body for seen in exchange.requests] == [CONTENT, CONTENT]
    assert exchange.requests[1].headers["content-type"] == OCI_MANIFEST


async def test_put_manifest_with_tags_is_put_by_each() -> None:
    exchange = ScriptedExchange((f"PUT {BY_TAG}", CREATED), (f"PUT /v2/{NAME}/manifests/v2", CREATED))
    await put(exchange, DIGEST, V1, V2)


async def test_put_manifest_by_sha512_carries_its_tags_along() -> None:
    line = f"PUT {BASE}/v2/{NAME}/manifests/{SHA512}?tag=v1&tag=v2"
    await put(ScriptedExchange((line, Reply(201, headers={"oci-tag": "v1, v2"}))), SHA512, V1, V2)


async def test_put_manifest_by_sha512_at_registry_without_tags_parameter_tags_it_afterwards() -> None:
    by_sha512 = f"PUT /v2/{NAME}/manifests/{SHA512}"
    await put(ScriptedExchange((by_sha512, Reply(201)), (f"PUT {BY_TAG}", CREATED)), SHA512, V1)


async def test_put_manifest_by_wrong_digest_asks_nothing() -> None:
    with pytest.raises(DigestInvalid):
        await put(ScriptedExchange(), Digest.of(b"other"))


async def test_put_manifest_that_the_registry_stores_under_another_digest_is_an_error() -> None:
    other = Reply(201, headers={"docker-content-digest": Digest.of(b"other")})
    with pytest.raises(DigestInvalid):
        await put(ScriptedExchange((f"PUT {BY_TAG}", other)), V1)


@pytest.mark.parametrize(
    ("condition", "header"),
    [
        (TagCondition(must_be_absent=True), ("if-none-match", "*")),
        (TagCondition(must_exist=True), ("if-match", "*")),
        (TagCondition(digests=frozenset({DIGEST})), ("if-match", f'"{DIGEST}"')),
    ],
    ids=["absent", "exists", "digest"],
)
async def test_put_manifest_on_condition_says_it(condition: TagCondition, header: tuple[str, str]) -> None:
    exchange = ScriptedExchange((f"PUT {BY_TAG}", CREATED))
    await remote(exchange).put_manifest(V1, CONTENT, OCI_MANIFEST, condition=condition)
    assert header in exchange.requests[0].headers.items()


# referrers

NOTE = build_artifact(b"note", artifact_type="a/note", subject=IMAGE)
OTHER = build_artifact(b"other", artifact_type="a/other", subject=IMAGE)
REFERRERS = f"/v2/{NAME}/referrers/{DIGEST}"
FALLBACK = f"/v2/{NAME}/manifests/sha256-{DIGEST.encoded}"
ENTRIES = [
    {**each.manifest.descriptor(), "artifactType": kind} for each, kind in ((NOTE, "a/note"), (OTHER, "a/other"))
]


def index(*entries: Any, **headers: str) -> Reply:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
    return Reply(200, json.dumps(document).encode(), headers={"content-type": OCI_INDEX, **headers})


async def put_note(exchange: ScriptedExchange) -> None:
    digest = NOTE.manifest.digest
    await remote(exchange).put_manifest(digest, NOTE.manifest.data, OCI_MANIFEST)
    exchange.require_done()


PUT_NOTE = f"PUT /v2/{NAME}/manifests/{NOTE.manifest.digest}"


async def test_list_referrers_filters_what_the_registry_does_not() -> None:
    exchange = ScriptedExchange((f"GET {BASE}{REFERRERS}?artifactType=a%2Fnote", index(*ENTRIES)))
    page = await remote(exchange).list_referrers(DIGEST, "a/note")
    assert [item["digest"] for item in page.items] == [NOTE.manifest.digest]


async def test_list_referrers_goes_on_where_the_link_says() -> None:
    exchange = ScriptedExchange(
        (f"GET {REFERRERS}", index(ENTRIES[0], link=f'<{REFERRERS}?next=2>; rel="next"')),
        (f"GET {BASE}{REFERRERS}?next=2", index(ENTRIES[1])),
    )
    repository = remote(exchange)
    first = await repository.list_referrers(DIGEST, None)
    rest = await repository.list_referrers(DIGEST, None, last=first.last or "")
    assert ([*first.items, *rest.items], rest.last) == (ENTRIES, None)


async def test_list_referrers_that_lead_to_the_same_page_end() -> None:
    exchange = ScriptedExchange(answer=lambda _: index(link=f'<{REFERRERS}?next=1>; rel="next"'))
    repository = remote(exchange)
    first = await repository.list_referrers(DIGEST, None)
    with pytest.raises(ManifestInvalid, match="again and again"):
        await repository.list_referrers(DIGEST, None, last=first.last or "")


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_list_referrers_without_api_reads_the_fallback_tag(status: int) -> None:
    exchange = ScriptedExchange((f"GET {REFERRERS}", Reply(status)), (f"GET {FALLBACK}", index(*ENTRIES)))
    assert (await remote(exchange).list_referrers(DIGEST, None)).items == ENTRIES


async def test_list_referrers_without_api_and_tag_is_empty() -> None:
    exchange = ScriptedExchange((f"GET {REFERRERS}", Reply(404)), (f"GET {FALLBACK}", Reply(404)))
    assert (await remote(exchange).list_referrers(DIGEST, None)).items == []


async def test_list_referrers_that_fails_is_an_error() -> None:
    with pytest.raises(UpstreamFailed):
        await remote(ScriptedExchange(answer=lambda _: Reply(500))).list_referrers(DIGEST, None)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"manifests": 5}', b'{"manifests": [5]}', b"<html>", b"[" * 100_000, b"\xff"]
)
async def test_list_referrers_that_are_none_is_an_error(body: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        await remote(ScriptedExchange((f"GET {REFERRERS}", Reply(200, body)))).list_referrers(DIGEST, None)


async def test_put_referrer_that_the_registry_lists_itself_writes_no_tag() -> None:
    await put_note(ScriptedExchange((PUT_NOTE, Reply(201, headers={"oci-subject": DIGEST}))))


async def test_put_referrer_where_there_is_an_api_writes_no_tag() -> None:
    await put_note(ScriptedExchange((PUT_NOTE, Reply(201)), (f"GET {REFERRERS}", index())))


async def test_put_referrer_without_api_is_added_to_the_fallback_tag() -> None:
    exchange = ScriptedExchange(
        (PUT_NOTE, Reply(201)),
        (f"GET {REFERRERS}", Reply(404)),
        (f"GET {FALLBACK}", index(ENTRIES[1])),
        (f"PUT {FALLBACK}", Reply(201)),
    )
    await put_note(exchange)
    written = json.loads(exchange.requests[3].body or b"")
    assert [entry["digest"] for entry in written["manifests"]] == [OTHER.manifest.digest, NOTE.manifest.digest]
    assert written["manifests"][1] == ENTRIES[0]


async def test_put_referrer_that_the_fallback_tag_lists_changes_nothing() -> None:
    exchange = ScriptedExchange(
        (PUT_NOTE, Reply(201)), (f"GET {REFERRERS}", Reply(404)), (f"GET {FALLBACK}", index(*ENTRIES))
    )
    await put_note(exchange)


@pytest.mark.parametrize("subject", [DIGEST, SHA512, "sha256:" + "a" * 64, "multihash+base58:QmR"])
def test_fallback_tag_is_a_tag(subject: str) -> None:
    algorithm, _, encoded = subject.partition(":")
    assert fallback_tag(subject) == Tag.parse(f"{algorithm.replace('+', '-')}-{encoded[:64]}")


# lists

TAGS = f"/v2/{NAME}/tags/list"


def tags(*names: Any, link: str = "") -> Reply:
    headers = {"link": f'<{link}>; rel="next"'} if link else {}
    return Reply(200, json.dumps({"name": NAME, "tags": list(names)}).encode(), headers=headers)


async def all_tags(repository: RemoteRepository, limit: int = 2, most: int = 20) -> list[str]:
    seen: list[str] = []
    last: str | None = ""
    for _ in range(most):
        page = await repository.list_tags(last=last or "", limit=limit)
        assert len(page.items) <= limit
        seen += page.items
        last = page.last
        if last is None:
            return seen
    raise AssertionError("no end")


@pytest.mark.parametrize("body", [b'{"tags": null}', b"{}", b'{"name": "x", "tags": []}'])
async def test_list_tags_of_none_is_empty(body: bytes) -> None:
    exchange = ScriptedExchange((f"GET {TAGS}", Reply(200, body)))
    assert (await remote(exchange).list_tags(limit=10)).items == []


async def test_list_tags_goes_on_after_the_last() -> None:
    exchange = ScriptedExchange(
        (f"GET {BASE}{TAGS}?n=2", tags("a", "b", link=f"{TAGS}?n=2&last=b")),
        (f"GET {BASE}{TAGS}?n=2&last=b", tags("c")),
    )
    assert await all_tags(remote(exchange)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "link",
    [f"{TAGS}?next_page=x%2Fy%3D", f"{BASE}{TAGS}?next_page=x%2Fy%3D", f"http://{DOMAIN}{TAGS}?next_page=x%2Fy%3D"],
)
async def test_list_tags_goes_on_where_an_opaque_link_says(link: str) -> None:
    exchange = ScriptedExchange(
        (f"GET {BASE}{TAGS}?n=2", tags("a", "b", link=link)), (f"GET {BASE}{TAGS}?next_page=x%2Fy%3D", tags("c"))
    )
    assert await all_tags(remote(exchange)) == ["a", "b", "c"]


async def test_list_tags_of_registry_without_pages_ends() -> None:
    """It sends all of them each time, whatever it is asked for."""
    exchange = ScriptedExchange(answer=lambda _: tags("e", "d", "c", "b", "a"))
    assert await all_tags(remote(exchange)) == ["e", "d", "c", "b", "a"]


async def test_list_tags_that_leads_to_the_same_page_ends() -> None:
    exchange = ScriptedExchange(answer=lambda _: tags("a", link=f"{TAGS}?n=1&last=a"))
    with pytest.raises(ManifestInvalid, match="again and again"):
        await all_tags(remote(exchange))


@pytest.mark.parametrize("link", ["https://evil.test/x", "//evil.test/x", "file:///etc/passwd"])
async def test_list_tags_that_goes_on_elsewhere_is_refused(link: str) -> None:
    exchange = ScriptedExchange((f"GET {TAGS}", tags("a", link=link)))
    with pytest.raises(AccessDenied):
        await remote(exchange).list_tags(limit=10)


@pytest.mark.parametrize("last", ["next://evil.test/x", "next:https://evil.test/x", "next:http://127.0.0.1/x"])
async def test_list_tags_after_what_is_no_page_of_the_registry_stays_there(last: str) -> None:
    """Where a list goes on may come from somebody else, e.g. through a server in front of this repository."""
    exchange = ScriptedExchange(answer=lambda _: tags())
    with pytest.raises(ParameterInvalid):
        await remote(exchange).list_tags(last=last, limit=10)
    assert exchange.requests == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"tags": 5}',
        b'{"tags": [5]}',
        b'{"tags": ["\\u001b[2J"]}',
        b"",
        b"[1]",
        b"[" * 100_000,
        b'{"tags": ' + b"1" * 5000,
    ],
)
async def test_list_tags_that_is_none_is_an_error(body: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        await remote(ScriptedExchange((f"GET {TAGS}", Reply(200, body)))).list_tags(limit=10)


@pytest.mark.parametrize("last", ["//evil.test/x", "https://evil.test/x"])
async def test_list_referrers_after_what_is_no_page_of_the_registry_stays_there(last: str) -> None:
    exchange = ScriptedExchange(answer=lambda _: index())
    with pytest.raises(ParameterInvalid):
        await remote(exchange).list_referrers(DIGEST, None, last=last)
    assert exchange.requests == []


async def test_list_tags_of_absent_repository_is_unknown() -> None:
    with pytest.raises(RepositoryUnknown):
        await remote(ScriptedExchange((f"GET {TAGS}", Reply(404)))).list_tags(limit=10)


async def test_search_results_pass_over_what_makes_no_sense() -> None:
    results = [{"name": "good", "star_count": 1}, {"name": 5}, "text", {}, {"name": "\x1b[2J"}]
    exchange = ScriptedExchange(
        (f"GET {BASE}/v1/search?q=x&n=5", Reply(200, json.dumps({"results": results}).encode()))
    )
    registry = RemoteRegistry(remote(exchange)._transport, DOMAIN)
    assert await registry.search("x", limit=5) == ["good"]
