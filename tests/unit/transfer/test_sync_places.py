from __future__ import annotations

import pytest

from entrepot.errors import DigestInvalid, Invalid, NameInvalid, TagInvalid
from entrepot.transfer.places import Kind, Place

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "kind", "reference", "path", "target"),
    [
        ("nginx", Kind.REGISTRY, "docker.io/library/nginx", None, None),
        ("nginx:1.23.3", Kind.REGISTRY, "docker.io/library/nginx:1.23.3", None, "1.23.3"),
        ("docker:24", Kind.REGISTRY, "docker.io/library/docker:24", None, "24"),
        ("docker://oci:v1", Kind.REGISTRY, "docker.io/library/oci:v1", None, "v1"),
        ("docker://localhost:5000/app", Kind.REGISTRY, "localhost:5000/app", None, None),
        (f"nginx@{DIGEST}", Kind.REGISTRY, f"docker.io/library/nginx@{DIGEST}", None, DIGEST),
        ("store:nginx:1", Kind.STORE, "docker.io/library/nginx:1", None, "1"),
        ("docker-daemon:app:v1", Kind.ENGINE, "docker.io/library/app:v1", None, "v1"),
        ("oci:some/dir", Kind.LAYOUT, None, "some/dir", None),
        ("oci:some/dir:v1", Kind.LAYOUT, None, "some/dir", "v1"),
        ("oci:/a:b/c", Kind.LAYOUT, None, "/a:b/c", None),
        (f"oci:/a@{DIGEST}", Kind.LAYOUT, None, "/a", DIGEST),
        ("oci:/me@home/a:v1", Kind.LAYOUT, None, "/me@home/a", "v1"),
        ("oci-archive:a.tar:v1", Kind.OCI_ARCHIVE, None, "a.tar", "v1"),
        ("docker-archive:a.tar", Kind.DOCKER_ARCHIVE, None, "a.tar", None),
        ("docker-archive:a.tar:app", Kind.DOCKER_ARCHIVE, "docker.io/library/app:latest", "a.tar", "latest"),
        ("docker-archive:a.tar:h:5000/x:1", Kind.DOCKER_ARCHIVE, "h:5000/x:1", "a.tar", "1"),
        ("dir:v1", Kind.REGISTRY, "docker.io/library/dir:v1", None, "v1"),
    ],
)
def test_parse_place_takes_it_apart(
    text: str, kind: Kind, reference: str | None, path: str | None, target: str | None
) -> None:
    place = Place.parse(text)
    assert place.kind is kind
    assert (str(place.reference) if place.reference else None) == reference
    assert (str(place.path) if place.path else None) == path
    assert place.target == target


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("docker://docker.io/library/nginx:1", "nginx:1"),
        ("store:docker.io/library/nginx:1", "store:nginx:1"),
        ("oci:dir:v1", "oci:dir:v1"),
        (f"oci:dir@{DIGEST}", f"oci:dir@{DIGEST}"),
        ("docker-archive:a.tar:app", "docker-archive:a.tar:app:latest"),
    ],
)
def test_place_is_printed_as_it_can_be_typed(text: str, printed: str) -> None:
    assert str(Place.parse(text)) == printed
    assert Place.parse(printed) == Place.parse(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("oci:", NameInvalid),
        ("store:", NameInvalid),
        ("store:Nginx", NameInvalid),
        ("oci:dir:-v1", TagInvalid),
        ("oci:dir@sha256:12", DigestInvalid),
        (f"oci:dir@blake3:{'0' * 64}", DigestInvalid),
        ("dir:/tmp/x", NameInvalid),
        ("containers-storage:example.com/app", NameInvalid),
        (f"docker-archive:a.tar:app@{DIGEST}", NameInvalid),
        ("docker-archive::app", NameInvalid),
    ],
)  # fmt: skip
def test_parse_place_that_is_none_is_refused(text: str, error: type[Invalid]) -> None:
    with pytest.raises(error):
        Place.parse(text)
