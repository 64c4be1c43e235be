"""The same mistakes made with docker and with our command: the same words about them.

Where ours differ they stand here, and are tested to differ: a difference that has gone is to be taken off the list.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from .docker import Docker
from .peers import Registry
from .twins import Twins, complaint, rich_image

pytestmark = [pytest.mark.interop, pytest.mark.root]

# Exit codes: docker has 1 for nearly everything.
FAILED, NOT_FOUND, WRONG_USAGE = 1, 2, 125


@pytest.fixture(scope="module")
def there(docker: Docker, registry: Registry) -> str:
    """The name of an image in the registry, for all tests that only look for others."""
    name = f"{registry.host}/there/app:v1"
    docker.load(rich_image(2), name)
    docker.push(name).checked()
    return name


@dataclass(frozen=True)
class Mistake:
    """Words typed, with ``{host}``, ``{loaded}`` and the like in them, and what is different about our answer."""

    words: str
    status: int
    text: str = ""  # ours, where docker's differs


DIGEST = f"sha256:{'0' * 64}"
MISTAKES = {
    "pull unknown tag": Mistake("pull {there}-nope", NOT_FOUND),
    "pull unknown repository": Mistake("pull {host}/no/such:v1", NOT_FOUND),
    "pull unknown digest": Mistake(f"pull {{there_repository}}@{DIGEST}", NOT_FOUND),
    "pull all tags of a tag": Mistake("pull --all-tags {there}", FAILED),
    "pull upper case": Mistake(
        "pull {host}/Team/App:v1",
        FAILED,
        "invalid reference format: repository name (Team/App) must be lowercase",  # docker since 23
    ),
    "pull scheme": Mistake(
        "pull http://{host}/app",
        FAILED,
        "invalid reference format: expected [HOST[:PORT]/]NAME[:TAG][@DIGEST], e.g. nginx:1.23.3, "
        "got 'http://{host}/app'",
    ),
    "pull from nobody": Mistake(  # docker asks for /v2/ first
        "pull 127.0.0.1:1/app:v1",
        FAILED,
        'Get "http://127.0.0.1:1/v2/app/manifests/v1": dial tcp 127.0.0.1:1: connect: connection refused',
    ),
    "pull nothing": Mistake("pull", WRONG_USAGE, "entrepot: 'entrepot pull' requires 1 argument"),
    "push unknown repository": Mistake("push {host}/no/such:v1", NOT_FOUND),
    "push unknown repository without tag": Mistake("push {host}/no/such", NOT_FOUND),
    "push unknown tag": Mistake("push {kept}-nope", NOT_FOUND),
    "push unknown latest": Mistake("push {kept_repository}", NOT_FOUND),
    "push all tags of nothing": Mistake("push --all-tags {host}/no/such", NOT_FOUND),
    "push all tags of a tag": Mistake("push --all-tags {kept}", FAILED),
    "push digest": Mistake(f"push {{kept_repository}}@{DIGEST}", FAILED),
    "push to nobody": Mistake(
        "push 127.0.0.1:1/app:v1",
        NOT_FOUND,
    ),
    "tag unknown": Mistake("tag no/such app", NOT_FOUND),
    "tag as digest": Mistake(f"tag {{kept}} app@{DIGEST}", FAILED),
    "tag as upper case": Mistake(
        "tag {kept} Bad:1",
        FAILED,
        '"Bad:1" is not a valid repository/tag: invalid reference format: repository name (library/Bad) must be '
        "lowercase",  # docker since 23
    ),
    "tag once": Mistake("tag {kept}", WRONG_USAGE, "entrepot: 'entrepot tag' requires 2 arguments"),
    "images by unknown filter": Mistake(
        "images --filter foo=bar",
        FAILED,
        "invalid filter 'foo': expected one of before, dangling, label, label!, reference, since, until",
    ),
    "images with unknown flag": Mistake("images --bogus", WRONG_USAGE),
    "images with unknown short flag": Mistake("images -x", WRONG_USAGE),
    "images of two": Mistake("images a b", WRONG_USAGE, "entrepot: 'entrepot images' requires at most 1 argument"),
    "inspect unknown": Mistake("inspect no/such", NOT_FOUND),
    "inspect one of two": Mistake("inspect --format {{{{.Id}}}} {kept} no/such", NOT_FOUND),
    "inspect by template of unknown": Mistake("inspect --format {{{{.Id}}}} no/such", NOT_FOUND),
    "inspect no field": Mistake(
        "inspect --format {{{{.Nope}}}} {kept}",
        FAILED,
        'template parsing error: template: :1:2: executing "" at <.Nope>: no field Nope; there is Id, RepoTags, '
        "RepoDigests, Parent, Comment, Created, DockerVersion, Author, Config, Architecture, Os, Size, GraphDriver, "
        "RootFS, Metadata, Descriptor",
    ),
    "history unknown": Mistake("history no/such", NOT_FOUND),
    "rmi unknown": Mistake("rmi no/such", NOT_FOUND),
    "rmi unknown by force": Mistake("rmi --force no/such", 0),
    "rmi unknown ID": Mistake("rmi 0123456789ab", NOT_FOUND),
    "save unknown": Mistake("save --output {folder}/no.tar no/such:v1", NOT_FOUND, "No such image: no/such:v1"),
    "load no file": Mistake("load --input /no/such/file", FAILED, "No such file or directory: /no/such/file"),
    "load no archive": Mistake(
        "load --input {folder}/text",
        FAILED,
        "{folder}/text: invalid tar: expected a header with a right checksum, got a wrong one; this is no tar, or a "
        "damaged one",
    ),
    "login to nobody": Mistake("login -u ada -p secret 127.0.0.1:1", FAILED),
    "no command": Mistake("frobnicate", WRONG_USAGE, "entrepot: 'frobnicate' is not an entrepot command"),
}


@pytest.mark.parametrize("title", MISTAKES)
def test_mistake_is_told_in_the_same_words(
    twins: Twins, kept: str, there: str, registry: Registry, title: str, tmp_path: Path
) -> None:
    """Docker's exit code is 1 nearly always; ours tell apart what is not there and what was typed wrongly."""
    (tmp_path / "text").write_text("no archive\n" * 100)
    places = {"host": registry.host, "kept": kept, "there": there, "folder": tmp_path}
    places |= {"kept_repository": kept.removesuffix(":v1"), "there_repository": there.removesuffix(":v1")}
    mistake = MISTAKES[title]
    theirs, ours = twins.run(*mistake.words.format(**places).split())
    assert (theirs.status != 0) is (ours.status != 0)
    assert ours.status == mistake.status, ours.text
    if mistake.text:
        assert complaint(ours) == mistake.text.format(**places)
        assert complaint(theirs) != complaint(ours), "no longer a difference"
    else:
        assert complaint(theirs) == complaint(ours)
    assert theirs.stdout.strip() == ours.stdout.strip()
