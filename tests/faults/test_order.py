"""The order in which a push is made durable, and that nobody is told before."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from entrepot.digest import Digest
from entrepot.testing.faults import DiskCall, Fault, Step
from entrepot.testing.images import build_image

from .client import FLOWS, Answer, Flow, push_blobs
from .registry import FaultyRegistry

CONTENT = b"content" * 1000


def positions(calls: list[DiskCall], *wanted: tuple[Step, str]) -> list[int]:
    """Where each wanted call comes last."""
    return [
        max(index for index, call in enumerate(calls) if call.step == step and subject in call.subject)
        for step, subject in wanted
    ]


@pytest.mark.parametrize("flow", FLOWS)
def test_push_blob_syncs_renames_syncs_the_folder_and_commits_in_this_order(faulty: FaultyRegistry, flow: Flow) -> None:
    content = flow.__name__.encode() * 1000
    encoded = Digest.of(content).encoded
    client = faulty.run()
    assert flow(client, "team/app", content).status == 201
    order = positions(
        faulty.plan.calls(),
        ("write", "/uploads/"),
        ("sync", "/uploads/"),
        ("rename", f"/blobs/sha256/{encoded[:2]}/{encoded}"),
        ("sync_folder", f"/blobs/sha256/{encoded[:2]}"),
        ("before_commit", "FULL"),
        ("after_commit", "FULL"),
    )
    assert order == sorted(order)


@pytest.mark.parametrize("step", ["sync", "rename", "sync_folder", "before_commit", "after_commit"])
def test_push_blob_is_answered_only_when_it_is_durable(faulty: FaultyRegistry, step: Step) -> None:
    content = step.encode() * 1000
    hold = Fault(step, "hold", on="FULL" if step.endswith("commit") else "")
    client = faulty.run()
    faulty.plan.set(hold)
    with ThreadPoolExecutor() as threads:
        pushing = threads.submit(FLOWS[-1], client, "team/app", content)
        require_waiting(faulty, hold, pushing)
        assert client.head_blob("team/app", Digest.of(content)).status == (200 if step == "after_commit" else 404)
        faulty.plan.clear()
        assert pushing.result().status == 201


def test_push_manifest_is_answered_only_when_it_is_durable(faulty: FaultyRegistry) -> None:
    image = build_image(1)
    client = faulty.run()
    push_blobs(client, "team/app", image)
    hold = Fault("before_commit", "hold", on="FULL")
    faulty.plan.set(hold)
    with ThreadPoolExecutor() as threads:
        pushing = threads.submit(client.put_manifest, "team/app", "latest", image)
        require_waiting(faulty, hold, pushing)
        assert client.get_manifest("team/app", "latest").refusal == (404, "MANIFEST_UNKNOWN")
        faulty.plan.clear()
        assert pushing.result().status == 201


def test_close_of_an_upload_that_is_being_recorded_as_closed_is_refused(faulty: FaultyRegistry) -> None:
    """Its bytes have left the upload by then, so that the second one could begin it anew."""
    client = faulty.run()
    location = client.begin("team/app")
    hold = Fault("before_commit", "hold", on="FULL")
    faulty.plan.set(hold)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(client.finish, location, Digest.of(CONTENT), CONTENT)
        require_waiting(faulty, hold, first)
        second = threads.submit(client.finish, location, Digest.of(CONTENT), CONTENT)
        while [call.step for call in faulty.plan.calls()].count("rename") < 2:
            assert not second.done()
        faulty.plan.clear()
        assert first.result().status == 201
        assert second.result().refusal == (404, "BLOB_UPLOAD_UNKNOWN")
    assert client.get_blob("team/app", Digest.of(CONTENT)).body == CONTENT


def require_waiting(faulty: FaultyRegistry, hold: Fault, pushing: Future[Answer]) -> None:
    """The call that is held has been made, and the client has no answer."""
    while not any(call.step == hold.step and hold.on in call.subject for call in faulty.plan.calls()):
        assert not pushing.done()
    assert wait([pushing], timeout=0.1).not_done
