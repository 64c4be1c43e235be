"""Names and tags of every shape they must not have, in every place where one is read."""

from __future__ import annotations

import pytest

from entrepot.digest import Digest
from entrepot.manifest import OCI_MANIFEST

from .raw import Reply, ask, assert_refused

pytestmark = pytest.mark.usefixtures("unchanged")

ABSENT = Digest.of(b"nobody ever pushes this")

BAD_NAMES = {
    "upper_case": "Library/nginx",
    "upper_case_inside": "library/nGinx",
    "empty": "",
    "parent": "..",
    "parent_inside": "a/../b",
    "parent_at_end": "a/..",
    "here": "a/./b",
    "encoded_parent": "a/%2e%2e/b",
    "encoded_slash": "a%2Fb",
    "encoded_slash_lower_case": "a%2fb",
    "encoded_backslash": "a%5Cb",
    "backslash": "a\\b",
    "nul": "a%00b",
    "only_nul": "%00",
    "newline_at_end": "a%0A",
    "newline_inside": "a%0Ab",
    "return_and_newline": "a%0D%0Ax-injected:%201",
    "tab": "a%09",
    "blank": "a%20b",
    "plus": "a+b",
    "double_slash": "a//b",
    "slash_at_start": "/a",
    "slash_at_end": "a/",
    "dot_at_start": ".a",
    "hyphen_at_end": "a-",
    "underscore_at_end": "a_",
    "double_dot": "a..b",
    "three_underscores": "a___b",
    "mixed_separators": "a._b",
    "colon": "host:5000/a",
    "tag_in_name": "a:v1",
    "digest_in_name": f"a@{ABSENT}",
    "tilde": "~root",
    "semicolon": "a;b",
    "encoded_percent": "a%25b",
    "encoded_twice": "a%252Fb",
    "half_an_escape": "a%2",
    "no_escape": "a%zz",
    "bytes_that_are_no_utf_8": "a%ff%fe",
    "overlong_slash": "a%c0%afb",
    "umlaut": "%C3%BCber",
    "raw_umlaut": "über",
    "arabic_digit": "a%D9%A1",
    "fullwidth_letter": "%EF%BD%81",
    "cyrillic_letter": "%D0%B0",
    "kelvin_sign": "%E2%84%AA",
    "zero_width_blank": "a%E2%80%8Bb",
    "line_separator": "a%E2%80%A8",
    "256_characters": "a" * 256,
    "2000_characters": "a" * 2000,
    "256_characters_in_parts": "/".join(["abc"] * 64) + "d",
    "many_separators": "a" + "-" * 300 + "/b",
    "query_as_name": "%3Fn=1",
    "fragment_as_name": "%23x",
}

PLACES = {
    "tags": ("GET", "/tags/list"),
    "manifest": ("GET", "/manifests/v1"),
    "manifest_push": ("PUT", "/manifests/v1"),
    "manifest_delete": ("DELETE", "/manifests/v1"),
    "blob": ("GET", f"/blobs/{ABSENT}"),
    "blob_delete": ("DELETE", f"/blobs/{ABSENT}"),
    "upload": ("POST", "/blobs/uploads/"),
    "upload_in_one": ("POST", f"/blobs/uploads/?digest={ABSENT}"),
    "mount": ("POST", f"/blobs/uploads/?mount={ABSENT}&from=a/b"),
    "upload_status": ("GET", "/blobs/uploads/some-id"),
    "upload_append": ("PATCH", "/blobs/uploads/some-id"),
    "upload_finish": ("PUT", f"/blobs/uploads/some-id?digest={ABSENT}"),
    "upload_cancel": ("DELETE", "/blobs/uploads/some-id"),
    "referrers": ("GET", f"/referrers/{ABSENT}"),
}


def call(port: int, name: str, place: str) -> Reply:
    method, rest = PLACES[place]
    return ask(port, method, f"/v2/{name}{rest}".encode(), body=b"" if method in ("GET", "DELETE") else b"content")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("bad", [pytest.param(value, id=key) for key, value in BAD_NAMES.items()])
def test_call_repository_with_bad_name_is_refused(port: int, bad: str, place: str) -> None:
    assert_refused(call(port, bad, place), 400, "NAME_INVALID", "invalid repository name: expected", "got")


@pytest.mark.parametrize("bad", [pytest.param(value, id=key) for key, value in BAD_NAMES.items()])
def test_head_manifest_with_bad_name_is_refused_without_body(port: int, bad: str) -> None:
    reply = ask(port, "HEAD", f"/v2/{bad}/manifests/v1".encode())
    assert reply.status == 400
    assert int(reply.headers["content-length"]) > 0


@pytest.mark.parametrize("bad", ["a" * 5000, "%61" * 2000, "a/" * 3000])
def test_call_repository_by_endless_path_is_refused(port: int, bad: str) -> None:
    reply = ask(port, "GET", f"/v2/{bad}/tags/list")
    assert_refused(reply, 414, "UNSUPPORTED", "expected a path of at most 4096 characters", "got")
    assert len(reply.body) < 1000


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Library/nginx", "'Library/nginx'"), ("a%0Ab", r"'a\nb'"), ("a%00", r"'a\x00'"), ("a" * 256, "got 256")],
)
def test_bad_name_is_shown_in_the_message_without_control_characters(port: int, name: str, shown: str) -> None:
    assert_refused(call(port, name, "tags"), 400, "NAME_INVALID", shown)


@pytest.mark.parametrize("source", ["UPPER", "..", "a/../b", "a%00", "x" * 300, "a%0A", "%ff"])
def test_mount_from_bad_name_begins_an_upload(port: int, source: str) -> None:
    """A source that cannot exist is a blob that cannot be mounted: 202, never an error (distribution-spec)."""
    reply = ask(port, "POST", f"/v2/hostile/mount/blobs/uploads/?mount={ABSENT}&from={source}")
    assert reply.status == 202
    assert ask(port, "DELETE", reply.headers["location"]).status == 204


BAD_TAGS = {
    "dot_at_start": ".v1",
    "hyphen_at_start": "-v1",
    "parent": "..",
    "encoded_parent": "%2e%2e",
    "encoded_slash": "a%2Fb",
    "nul": "v1%00",
    "newline_at_end": "v1%0A",
    "return_and_newline": "v1%0D%0Ax",
    "blank": "v%201",
    "plus": "v+1",
    "at": "v@1",
    "tilde": "v~1",
    "129_characters": "a" * 129,
    "3000_characters": "a" * 3000,
    "umlaut": "%C3%BC",
    "arabic_digit": "v%D9%A1",
    "no_utf_8": "%ff",
    "half_an_escape": "v%",
    "quote": "%22",
    "backslash": "v%5C1",
    "empty": "",
}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("bad", [pytest.param(value, id=key) for key, value in BAD_TAGS.items()])
def test_call_manifest_by_bad_tag_is_refused(port: int, method: str, bad: str) -> None:
    fields = {"Content-Type": OCI_MANIFEST} if method == "PUT" else {}
    reply = ask(port, method, f"/v2/hostile/tags/manifests/{bad}", fields, b"{}" if method == "PUT" else b"")
    assert_refused(reply, 400, "MANIFEST_INVALID", "invalid tag: expected 1 to 128", "got")


@pytest.mark.parametrize("bad", [pytest.param(value, id=key) for key, value in BAD_TAGS.items() if "%" not in value])
def test_push_manifest_with_one_bad_tag_among_several_stores_nothing(port: int, bad: str) -> None:
    manifest = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    target = f"/v2/hostile/tags/manifests/{Digest.of(manifest)}?tag=good&tag={bad}"
    assert_refused(ask(port, "PUT", target, body=manifest), 400, "MANIFEST_INVALID", "invalid tag")
