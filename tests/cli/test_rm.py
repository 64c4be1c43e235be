"""``entrepot rm --remote``: what goes, what is said before, and what is refused."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import uuid

import pytest

from entrepot.reference import ImageReference
from entrepot.testing.images import OCI_MANIFEST, build_image
from tests.cli.conftest import Entrepot, Publish
from tests.cli.scripted import Answers, Reply, scripted

IMAGE, OTHER = build_image(1, seed=81), build_image(1, seed=82)
DIGEST = IMAGE.digest


@pytest.fixture
def image(publish: Publish) -> ImageReference:
    name = f"team/rm-{uuid.uuid4().hex[:8]}"
    publish(OTHER, name, "other")
    return publish(IMAGE, name, "v1", "v2")


def test_remove_tag_leaves_the_image_and_its_other_tags(entrepot: Entrepot, image: ImageReference) -> None:
    done = entrepot("rm", "--remote", "-f", str(image))
    assert (done.code, done.out, done.err) == (0, f"Untagged: {image}\n", "")
    assert entrepot("ls", image.name).lines == ["other", "v2"]
    assert entrepot("digest", f"{image.name}@{DIGEST}").code == 0


def test_remove_digest_says_which_tags_go_with_it(entrepot: Entrepot, image: ImageReference) -> None:
    done = entrepot("rm", "--remote", "-f", f"{image.name}@{DIGEST}")
    assert done.code == 0
    assert done.lines == [f"Untagged: {image.name}:v1", f"Untagged: {image.name}:v2", f"Deleted: {image.name}@{DIGEST}"]
    assert entrepot("ls", image.name).lines == ["other"]
    assert entrepot("digest", f"{image.name}@{DIGEST}").code == 2


@pytest.mark.parametrize(
    ("suffix", "said"),
    [(":v1", "This deletes the tag {name}:v1. The image {digest} stays"), ("@{digest}", "with it its 2 tags: v1, v2.")],
    ids=["tag", "digest"],
)
def test_remove_with_nobody_to_ask_says_what_would_go_and_does_nothing(
    entrepot: Entrepot, image: ImageReference, monkeypatch: pytest.MonkeyPatch, suffix: str, said: str
) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        done = entrepot("rm", "--remote", image.name + suffix.format(digest=DIGEST))
    assert (done.code, done.out) == (1, "")
    assert said.format(name=image.name, digest=DIGEST) in done.err
    assert "nobody is there to be asked, so nothing was deleted" in done.err
    assert entrepot("ls", image.name).lines == ["other", "v1", "v2"]


@pytest.mark.parametrize(
    ("answer", "code", "left"),
    [(b"y\n", 0, ["other", "v2"]), (b"n\n", 1, ["other", "v1", "v2"]), (b"\n", 1, ["other", "v1", "v2"])],
    ids=["yes", "no", "nothing"],
)
def test_remove_does_what_is_answered(
    entrepot: Entrepot, image: ImageReference, answer: bytes, code: int, left: list[str]
) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    command = [sys.executable, "-m", "entrepot", "rm", "--remote", str(image)]
    done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == code
    assert "Delete it? [y/N]" in done.stderr
    assert ("nothing was deleted" in done.stderr) == bool(code)
    assert entrepot("ls", image.name).lines == left


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--remote", "-f", "{name}"), 1, "expected a tag or digest to delete, got the whole repository {name}"),
        (("{name}:v1",), 1, "entrepot rmi {name}:v1 removes it from this computer"),
        (("--remote", "-f", "{name}:none"), 2, "{name}:none not found"),
        (("--remote", "-f", "{name}@sha256:" + "0" * 64), 2, "not found"),
        ((), 125, "requires at least 1 argument"),
    ],
    ids=["repository", "not remote", "no tag", "no digest", "nothing"],
)
def test_remove_of_what_cannot_be_is_refused(
    entrepot: Entrepot, image: ImageReference, arguments: tuple[str, ...], code: int, text: str
) -> None:
    done = entrepot("rm", *(argument.format(name=image.name) for argument in arguments))
    assert text.format(name=image.name) in done.err
    assert (done.code, done.out) == (code, "")
    assert entrepot("ls", image.name).lines == ["other", "v1", "v2"]


def registry_of(tags: dict[str, str], refusal: Reply, *, deletes: bool = True) -> Answers:
    """One that deletes by digest only, or not at all."""

    def answer(method: str, path: str, query: str) -> Reply:
        name = path.rpartition("/")[2]
        if path.endswith("/tags/list"):
            body = ",".join(f'"{tag}"' for tag in sorted(tags))
            return Reply(200, f'{{"name":"app","tags":[{body}]}}'.encode())
        if method == "DELETE":
            return Reply(202) if ":" in name and deletes else refusal
        digest = tags.get(name, name)
        content = {DIGEST: IMAGE, OTHER.digest: OTHER}.get(digest)  # type: ignore[call-overload]
        if content is None:
            return Reply(404)
        headers = {"content-type": OCI_MANIFEST, "docker-content-digest": digest}
        return Reply(200, content.manifest.data, headers)

    return answer


REFUSALS = {
    "distribution": Reply(400, b'{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match"}]}'),
    "not allowed": Reply(405, b'{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}'),
    "not there": Reply(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
class TestWithoutTagDeletion:
    def test_remove_the_only_tag_deletes_the_image(self, entrepot: Entrepot, refusal: Reply) -> None:
        with scripted(registry_of({"v1": DIGEST, "w": OTHER.digest}, refusal)) as registry:
            done = entrepot("rm", "--remote", "-f", f"{registry.host}/app:v1")
        assert (done.code, done.lines) == (
            0,
            [f"Untagged: {registry.host}/app:v1", f"Deleted: {registry.host}/app@{DIGEST}"],
        )
        assert "cannot delete a tag alone; the image goes with it" in done.err

    def test_remove_shared_tag_by_force_says_what_went(self, entrepot: Entrepot, refusal: Reply) -> None:
        with scripted(registry_of({"v1": DIGEST, "v2": DIGEST}, refusal)) as registry:
            done = entrepot("rm", "--remote", "--force", f"{registry.host}/app:v1")
        assert done.code == 0
        assert done.lines == [
            f"Untagged: {registry.host}/app:v1",
            f"Untagged: {registry.host}/app:v2",
            f"Deleted: {registry.host}/app@{DIGEST}",
        ]

    def test_remove_shared_tag_after_a_yes_keeps_the_other(self, entrepot: Entrepot, refusal: Reply) -> None:
        ours, theirs = pty.openpty()
        os.write(ours, b"y\n")
        with scripted(registry_of({"v1": DIGEST, "v2": DIGEST}, refusal)) as registry:
            command = [sys.executable, "-m", "entrepot", "rm", "--remote", f"{registry.host}/app:v1"]
            done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, check=False)
            deleted = [line for line in registry.requests if line == f"DELETE /v2/app/manifests/{DIGEST}"]
        os.close(ours)
        os.close(theirs)
        assert (done.returncode, done.stdout, deleted) == (1, "", [])
        assert "cannot delete a tag alone, and the image of" in done.stderr
        assert "has other tags: v2" in done.stderr
        assert "--force" in done.stderr


def test_remove_from_registry_that_deletes_nothing_is_explained(entrepot: Entrepot) -> None:
    refusal = REFUSALS["not allowed"]
    with scripted(registry_of({"v1": DIGEST}, refusal, deletes=False)) as registry:
        done = entrepot("rm", "--remote", "-f", f"{registry.host}/app@{DIGEST}")
    assert (done.code, done.out) == (1, "")
    assert f"{registry.host} does not delete images" in done.err
    assert "REGISTRY_STORAGE_DELETE_ENABLED" in done.err
