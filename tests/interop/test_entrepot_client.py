"""Our command beside docker's: the same words typed, the same lines read.

Where both differ on purpose the difference stands here with its reason, and a test that it is still there:
a difference that has gone is to be taken off the list.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from entrepot.testing.images import Content, Image

from .docker import Docker
from .entrepot_client import EntrepotClient
from .twins import Twins, complaint, rich_image, transfer_lines, without_sizes
from .wire import manifest_answer, manifest_digest

pytestmark = [pytest.mark.interop, pytest.mark.root]

# What `docker inspect` of 20.10 has and ours has not. Docker drops these fields too, from version 25 on.
DROPPED_FIELDS = {"Container", "ContainerConfig", "VirtualSize"}
# Docker has this one from version 25 on.
NEW_FIELDS = {"Descriptor"}
# Docker counts the bytes in files, we count the layer's tar: a block for each file's name, blocks filled up.
TAR_BLOCKS_OF_A_LAYER = 20 * 512


@pytest.fixture
def image(seed: int) -> Image:
    return rich_image(seed)


@pytest.fixture
def loaded(docker: Docker, entrepot_client: EntrepotClient, image: Image, name: str) -> str:
    """The name of an image that both have."""
    docker.load(image, name)
    entrepot_client.load(image, name)
    return name


@pytest.fixture
def pushed(docker: Docker, image: Image, name: str) -> str:
    """The name of an image in the registry that neither has."""
    docker.load(image, name)
    docker.push(name).checked()
    docker.remove(name)
    return name


# pull, push, tag


def test_pull_prints_the_same(twins: Twins, pushed: str) -> None:
    theirs, ours = map(transfer_lines, twins.output("pull", pushed))
    assert theirs[0] == ours[0]
    assert len(ours[0]) == 4
    about_layers = ["Pulling fs layer", "Download complete", "Pull complete"]  # "Verifying" and "Waiting" may be missed
    assert [theirs[1][words] for words in about_layers] == [ours[1][words] for words in about_layers] == [3, 3, 3]


@pytest.mark.parametrize("flags", [[], ["--quiet"], ["--all-tags"]], ids=["plain", "quiet", "all tags"])
def test_pull_again_prints_the_same(twins: Twins, pushed: str, repository: str, flags: list[str]) -> None:
    twins.output("pull", pushed)
    theirs, ours = twins.output("pull", *flags, repository if "--all-tags" in flags else pushed)
    assert theirs == ours


def test_pull_by_digest_prints_the_same(twins: Twins, pushed: str, repository: str) -> None:
    theirs, ours = twins.output("pull", f"{repository}@{manifest_digest(pushed)}")
    assert transfer_lines(theirs)[0] == transfer_lines(ours)[0]


def test_pull_moved_tag_prints_the_same(twins: Twins, docker: Docker, loaded: str, seed: int) -> None:
    docker.load(rich_image(seed + 1), loaded)
    docker.push(loaded).checked()
    theirs, ours = twins.output("pull", loaded)
    assert theirs.splitlines()[-3:-1] == [
        f"Digest: {manifest_digest(loaded)}",
        f"Status: Image is up to date for {loaded}",
    ]
    assert ours.splitlines()[-3:-1] == [
        f"Digest: {manifest_digest(loaded)}",
        f"Status: Downloaded newer image for {loaded}",
    ]


@pytest.mark.parametrize("times", [1, 2], ids=["new", "again"])
def test_push_prints_the_same(twins: Twins, loaded: str, name: str, times: int) -> None:
    """To repositories of their own, else the second one would find everything."""
    mine = name.replace(":v1", "-2:v1")
    twins.entrepot.run("tag", loaded, mine)
    for _ in range(times):
        theirs, ours = twins.docker.run("push", loaded), twins.entrepot.run("push", mine)
    assert transfer_lines(theirs)[1] == transfer_lines(ours)[1]
    theirs_first, theirs_last = transfer_lines(theirs)[0]
    ours_first, ours_last = transfer_lines(ours)[0]
    assert ours_first == theirs_first.replace("]", "-2]")
    assert re.sub(r"[0-9a-f]{64} size: \d+", "", ours_last) == re.sub(r"[0-9a-f]{64} size: \d+", "", theirs_last)
    answer = manifest_answer(mine)
    assert ours_last == f"v1: digest: {answer.digest} size: {len(answer.body)}"


def test_push_to_a_second_repository_prints_the_same(twins: Twins, pushed: str, repository: str) -> None:
    twins.output("pull", pushed)
    for client, tail in ((twins.docker, "second"), (twins.entrepot, "third")):
        client.run("tag", pushed, f"{repository}/{tail}:v1")
        printed = client.run("push", f"{repository}/{tail}:v1")
        assert transfer_lines(printed)[1] == {
            "Preparing": 3,
            f"Mounted from {repository.partition('/')[2]}": 3,
        }


def test_push_all_tags_prints_the_same_last_lines(twins: Twins, pushed: str, repository: str) -> None:
    twins.output("pull", pushed)
    twins.output("tag", pushed, f"{repository}:v2")
    theirs, ours = twins.output("push", "--all-tags", repository)
    assert transfer_lines(theirs) == transfer_lines(ours)


def test_push_quietly_prints_the_same(twins: Twins, pushed: str) -> None:
    twins.output("pull", pushed)
    assert twins.output("push", "--quiet", pushed) == (f"{pushed}\n", f"{pushed}\n")


def test_tag_prints_nothing(twins: Twins, loaded: str, repository: str) -> None:
    assert twins.output("tag", loaded, f"{repository}:other") == ("", "")


# images, inspect, history


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--no-trunc"],
        ["--quiet"],
        ["--quiet", "--no-trunc"],
        ["--digests"],
        ["--all"],
        ["--filter", "dangling=true"],
        ["--filter", "dangling=false"],
        ["--filter", "label=quote"],
        ["--filter", "label=nosuch"],
        ["--filter", "reference=*:5*/*"],
        ["--format", "{{.Repository}}|{{.Tag}}|{{.ID}}|{{.CreatedSince}}|{{.CreatedAt}}|{{.Digest}}"],
        ["--format", "{{.Containers}} {{.SharedSize}} {{.UniqueSize}} {{lower .Tag}} {{upper .Tag}} {{json .Tag}}"],
        ["--format", 'table {{.ID}}\t{{.Repository}}\t{{.Tag | printf "%-8s"}}\t{{.CreatedAt}}'],
        ["--format", "{{if eq .Tag `v1`}}one{{else}}another{{end}} {{len .ID}} {{slice .ID 0 4}}"],
    ],
    ids=" ".join,
)
def test_images_prints_the_same(twins: Twins, kept: str, flags: list[str]) -> None:
    theirs, ours = twins.output("images", *flags, kept.removesuffix(":v1"))
    assert without_sizes(theirs) == without_sizes(ours)


def test_images_after_pull_shows_the_same_digest(twins: Twins, pushed: str, repository: str) -> None:
    twins.output("pull", pushed)
    theirs, ours = twins.output("images", "--digests", repository)
    assert without_sizes(theirs) == without_sizes(ours)
    assert manifest_digest(pushed) in ours


def documents(twins: Twins, name: str) -> tuple[dict[str, object], dict[str, object]]:
    theirs, ours = (json.loads(text) for text in twins.output("inspect", name))
    return theirs[0], ours[0]


def test_inspect_has_the_same_fields_in_the_same_order(twins: Twins, kept: str) -> None:
    theirs, ours = documents(twins, kept)
    assert [name for name in theirs if name not in DROPPED_FIELDS] == [name for name in ours if name not in NEW_FIELDS]
    assert set(theirs) >= DROPPED_FIELDS
    assert set(ours) >= NEW_FIELDS


@pytest.mark.parametrize(
    "field",
    [
        *("Id", "RepoTags", "RepoDigests", "Parent", "Comment", "Created", "DockerVersion"),
        *("Author", "Config", "Architecture", "Os", "RootFS"),
    ],
)
def test_inspect_says_the_same_of(twins: Twins, kept: str, field: str) -> None:
    theirs, ours = documents(twins, kept)
    assert json.dumps(theirs[field]) == json.dumps(ours[field])


def test_inspect_after_pull_says_the_same_digest(twins: Twins, pushed: str) -> None:
    twins.output("pull", pushed)
    theirs, ours = twins.output("inspect", "--format", "{{.RepoTags}} {{.RepoDigests}}", pushed)
    assert theirs == ours
    assert manifest_digest(pushed) in ours


def test_inspect_says_nearly_the_same_size(twins: Twins, kept: str) -> None:
    theirs, ours = map(int, twins.output("inspect", "--format", "{{.Size}}", kept))
    assert 0 <= ours - theirs <= 3 * TAR_BLOCKS_OF_A_LAYER


@pytest.mark.parametrize(
    "form",
    [
        "{{.Id}}",
        "{{json .Config}}",
        "{{.Config.Env}} {{.Config.Volumes}} {{.Config.ExposedPorts}}",
        "{{range .RootFS.Layers}}{{.}} {{end}}",
        '{{range $key, $value := .Config.Labels}}{{$key}}={{$value | printf "%q"}};{{end}}',
        '{{index .RepoTags 0}} {{index .Config.Labels "seed"}}',
        "{{join .Config.Cmd ` `}} {{len .Config.Env}} {{.Config.Tty}}",
        "{{with .Config.Healthcheck}}{{.Retries}} {{json .Interval}}{{end}}",
        "{{.Config.OnBuild}} {{.Metadata.LastTagTime | len | lt 10}} {{split .Id `:`}}",
    ],
)
def test_inspect_fills_templates_with_the_same(twins: Twins, kept: str, form: str) -> None:
    theirs, ours = twins.output("inspect", "--format", form, kept)
    assert theirs == ours


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--no-trunc"],
        ["--quiet"],
        ["--quiet", "--no-trunc"],
        ["--format", "{{.ID}}|{{.CreatedSince}}|{{.CreatedAt}}|{{.CreatedBy}}|{{.Comment}}"],
        ["--human=false", "--format", "table {{.CreatedAt}}\t{{.CreatedBy}}\t{{.Comment}}"],
    ],
    ids=" ".join,
)
def test_history_prints_the_same(twins: Twins, kept: str, flags: list[str]) -> None:
    theirs, ours = twins.output("history", *flags, kept)
    assert without_sizes(theirs) == without_sizes(ours)


def test_history_of_a_time_before_2000_is_not_available_as_docker_has_it_since_29(
    twins: Twins, docker: Docker, entrepot_client: EntrepotClient, image: Image, name: str
) -> None:
    """Builds that can be repeated have such dates; "56 years ago" says nothing."""
    config = image.config.data.replace(b"2023-", b"1970-")
    old = replace(image, config=Content(image.config.media_type, config))
    docker.load(old, name)
    entrepot_client.load(old, name)
    theirs, ours = twins.output("history", "--format", "{{.CreatedSince}}", name)
    assert re.fullmatch(r"(\d\d years ago\n){5}", theirs)
    assert ours == "N/A\n" * 5


def test_history_says_nearly_the_same_sizes(twins: Twins, kept: str) -> None:
    texts = twins.output("history", "--human=false", "--format", "{{.Size}}", kept)
    theirs, ours = ([int(line) for line in text.splitlines()] for text in texts)
    assert [size == 0 for size in theirs] == [size == 0 for size in ours]
    assert all(0 <= mine - their <= TAR_BLOCKS_OF_A_LAYER for their, mine in zip(theirs, ours, strict=True))


# rmi, save, load


def test_rmi_of_one_of_two_names_prints_the_same(twins: Twins, loaded: str, repository: str) -> None:
    twins.output("tag", loaded, f"{repository}:other")
    theirs, ours = twins.output("rmi", loaded)
    assert theirs == ours == f"Untagged: {loaded}\n"


def test_rmi_of_the_last_name_prints_the_same(twins: Twins, pushed: str, image: Image) -> None:
    twins.output("pull", pushed)
    theirs, ours = twins.output("rmi", pushed)
    assert theirs == ours
    assert f"Deleted: {image.id}\n" in ours


@pytest.mark.parametrize("flags", [[], ["--force"]], ids=["plain", "force"])
def test_rmi_of_an_id_with_names_in_two_repositories_prints_the_same(
    twins: Twins, loaded: str, repository: str, image: Image, flags: list[str]
) -> None:
    twins.output("tag", loaded, f"{repository}/second:v1")
    theirs, ours = twins.run("rmi", *flags, image.id.encoded[:12])
    assert (theirs.status, theirs.stdout, complaint(theirs)) == (ours.status, ours.stdout, complaint(ours))
    assert (ours.status == 0) is bool(flags)


def test_rmi_goes_on_after_what_is_not_there(twins: Twins, loaded: str) -> None:
    theirs, ours = twins.run("rmi", "no/such", loaded)
    assert theirs.stdout == ours.stdout
    assert ours.stdout.startswith(f"Untagged: {loaded}\nDeleted: sha256:")
    assert (complaint(theirs), theirs.status) == (complaint(ours), 1)
    assert ours.status == 2


def test_load_says_the_same_of_names_and_of_images_without_one(twins: Twins, loaded: str, tmp_path: Path) -> None:
    """Both read what docker saved; a name that is taken moves."""
    archive = str(tmp_path / "archive.tar")
    twins.docker.run("save", "-o", archive, loaded)
    assert twins.output("load", "-i", archive) == (f"Loaded image: {loaded}\n",) * 2
    image_id = twins.docker.run("inspect", "--format", "{{.Id}}", loaded).strip()
    twins.docker.run("save", "-o", archive, image_id)
    assert twins.output("load", "--quiet", "-i", archive) == (f"Loaded image ID: {image_id}\n",) * 2


def test_load_of_another_image_under_a_name_says_the_same(
    twins: Twins, docker: Docker, loaded: str, seed: int, tmp_path: Path
) -> None:
    archive = str(tmp_path / "archive.tar")
    docker.load(rich_image(seed + 1), loaded)
    twins.docker.run("save", "-o", archive, loaded)
    docker.load(rich_image(seed), loaded)
    theirs, ours = twins.output("load", "-i", archive)
    assert theirs == ours
    assert "already exists, renaming the old one with ID sha256:" in ours
