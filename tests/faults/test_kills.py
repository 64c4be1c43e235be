"""kill -9 at each step of a push and of a delete: what was acknowledged is there, what was not can be done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from entrepot.digest import Digest
from entrepot.testing.faults import Fault
from entrepot.testing.images import Image, build_image

from .client import Answer, Client, Flow, post_patch_put, post_put, push_blob, push_blobs, push_image, single_post
from .registry import DIED, FaultyRegistry, again, require_clean

REPOSITORY = "team/app"
# The steps of a push, named by what is done when the process dies. Commits marked NORMAL begin an upload.
STEPS = {
    "begin": Fault("before_commit", "kill_all", on="NORMAL"),
    "begun": Fault("after_commit", "kill_all", on="NORMAL"),
    "write": Fault("write", "kill_all", on="/uploads/"),
    "torn_write": Fault("write", "kill_all", on="/uploads/", torn=True),
    "sync": Fault("sync", "kill_all", on="/uploads/"),
    "save": Fault("before_commit", "kill_all", on="FULL"),
    "saved": Fault("after_commit", "kill_all", on="FULL"),
    "second_sync": Fault("sync", "kill_all", nth=2, on="/uploads/"),
    "rename": Fault("rename", "kill_all", on="/blobs/"),
    "sync_folder": Fault("sync_folder", "kill_all", on="/blobs/sha256/"),
    "record": Fault("before_commit", "kill_all", on="FULL"),
    "recorded": Fault("after_commit", "kill_all", on="FULL"),
    "second_record": Fault("before_commit", "kill_all", nth=2, on="FULL"),
    "second_recorded": Fault("after_commit", "kill_all", nth=2, on="FULL"),
}
UP_TO_SAVED = ["write", "torn_write", "sync", "save", "saved"]
STEPS_OF: dict[Flow, list[str]] = {
    single_post: ["torn_write", "rename", "sync_folder", "record", "recorded"],
    post_put: ["begin", "begun", "sync", "record", "recorded"],
    post_patch_put: [*UP_TO_SAVED, "second_sync", "rename", "sync_folder", "second_record", "second_recorded"],
}
PUSHES = [
    pytest.param(flow, STEPS[step], id=f"{flow.__name__}-{step}") for flow, steps in STEPS_OF.items() for step in steps
]
COMMITS = [pytest.param(STEPS[step], step == "recorded", id=step) for step in ("record", "recorded")]

numbers = count()


@pytest.fixture(scope="module")
def acknowledged(faulty: FaultyRegistry) -> dict[Digest, bytes]:
    """Every blob that the client was told is stored, over all tests of this module."""
    return {}


@pytest.fixture
def number() -> int:
    """A new one for each test, so that each pushes content of its own."""
    return next(numbers)


@pytest.fixture
def image(faulty: FaultyRegistry, number: int) -> Iterator[Image]:
    """An image whose blobs are there."""
    image = build_image(2, seed=1000 + number)
    push_blobs(faulty.run(), REPOSITORY, image)
    yield image
    assert faulty.check().is_clean


def require_all(client: Client, acknowledged: dict[Digest, bytes]) -> None:
    for digest, content in acknowledged.items():
        answer = client.get_blob(REPOSITORY, digest)
        assert (answer.status, answer.body) == (200, content)


@pytest.mark.parametrize(("flow", "fault"), PUSHES)
def test_push_blob_killed_at_a_step_loses_nothing_and_can_be_done_again(
    faulty: FaultyRegistry, acknowledged: dict[Digest, bytes], flow: Flow, fault: Fault, number: int
) -> None:
    before, content = b"before %d" % number * 1000, b"content %d" % number * 1000
    acknowledged[push_blob(faulty.run(), REPOSITORY, before)] = before
    faulty.die_at(fault, lambda client: flow(client, REPOSITORY, content))
    require_clean(faulty.check())
    client = faulty.run()
    require_all(client, acknowledged)
    assert flow(client, REPOSITORY, content).status == 201
    acknowledged[Digest.of(content)] = content
    require_all(client, acknowledged)
    require_clean(faulty.check())


@pytest.mark.parametrize("fault", [STEPS["rename"], STEPS["sync_folder"], STEPS["record"]], ids=lambda f: f.step)
def test_push_blob_that_others_have_killed_at_a_step_leaves_it_to_them(
    faulty: FaultyRegistry, fault: Fault, number: int
) -> None:
    content = b"shared %d" % number
    digest = push_blob(faulty.run(), REPOSITORY, content)
    faulty.die_at(fault, lambda client: single_post(client, "team/other", content))
    require_clean(faulty.check())
    assert faulty.run().get_blob(REPOSITORY, digest).body == content


@pytest.mark.parametrize(("fault", "is_stored"), COMMITS)
def test_push_manifest_killed_at_commit_is_whole_or_absent(
    faulty: FaultyRegistry, image: Image, fault: Fault, is_stored: bool, number: int
) -> None:
    tag = f"v{number}"
    faulty.die_at(fault, lambda client: client.put_manifest(REPOSITORY, tag, image))
    client = faulty.run()
    for reference in (tag, image.digest):
        answer = client.get_manifest(REPOSITORY, reference)
        assert (answer.status, answer.body == image.manifest.data) == ((200, True) if is_stored else (404, False))
    assert client.put_manifest(REPOSITORY, tag, image).status == 201
    assert client.get_manifest(REPOSITORY, tag).body == image.manifest.data


@pytest.mark.parametrize(("fault", "is_moved"), COMMITS)
def test_move_tag_killed_at_commit_leaves_it_at_the_old_or_the_new(
    faulty: FaultyRegistry, image: Image, fault: Fault, is_moved: bool, number: int
) -> None:
    old = build_image(1, seed=5000 + number)
    push_image(faulty.run(), REPOSITORY, "moving", old)
    faulty.die_at(fault, lambda client: client.put_manifest(REPOSITORY, "moving", image))
    found = faulty.run().get_manifest(REPOSITORY, "moving")
    assert found.body == (image if is_moved else old).manifest.data


Delete = Callable[[Client, Image], Answer]
DELETES: dict[str, tuple[Delete, Delete]] = {
    "tag": (
        lambda client, image: client.delete_manifest(REPOSITORY, "doomed"),
        lambda client, image: client.get_manifest(REPOSITORY, "doomed"),
    ),
    "manifest": (
        lambda client, image: client.delete_manifest(REPOSITORY, image.digest),
        lambda client, image: client.get_manifest(REPOSITORY, image.digest),
    ),
    "blob": (
        lambda client, image: client.delete_blob(REPOSITORY, image.layers[0].digest),
        lambda client, image: client.get_blob(REPOSITORY, image.layers[0].digest),
    ),
}


@pytest.mark.parametrize(("fault", "is_gone"), COMMITS)
@pytest.mark.parametrize("kind", DELETES)
def test_delete_killed_at_commit_is_done_or_not_and_can_be_done_again(
    faulty: FaultyRegistry, image: Image, kind: str, fault: Fault, is_gone: bool
) -> None:
    delete, get = DELETES[kind]
    assert faulty.run().put_manifest(REPOSITORY, "doomed", image).status == 201
    faulty.die_at(fault, lambda client: delete(client, image))
    client = faulty.run()
    assert get(client, image).status == (404 if is_gone else 200)
    assert delete(client, image).status == (404 if is_gone else 202)
    assert get(client, image).status == 404


@pytest.mark.parametrize("step", ["write", "sync_folder", "record", "recorded"])
def test_push_blob_whose_worker_is_killed_goes_on_with_another(fresh: FaultyRegistry, step: str) -> None:
    client = fresh.run()
    digest = push_blob(client, REPOSITORY, b"before")
    fault = STEPS[step]
    fresh.plan.set(Fault(fault.step, "kill", on=fault.on))
    with pytest.raises(DIED):
        single_post(client, REPOSITORY, b"content")
    assert again(lambda: single_post(client, REPOSITORY, b"content")).status == 201
    assert again(lambda: client.get_blob(REPOSITORY, digest)).body == b"before"
    assert again(lambda: client.get_blob(REPOSITORY, Digest.of(b"content"))).body == b"content"
    require_clean(fresh.check())
