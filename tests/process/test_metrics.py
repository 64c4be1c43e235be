"""What /metrics tells, whichever worker is asked."""

from __future__ import annotations

import os
import random
import signal

import pytest

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import answers, ask
from tests.hostile.waiting import eventually

from .conftest import Starter
from .metrics import scrape
from .pushing import begin_upload, image_of, push_blob, push_image

LAYER = bytes(1000)


@pytest.fixture
def registry(start: Starter) -> RegistryProcess:
    return start(workers=3)


def pull(process: RegistryProcess, times: int) -> None:
    for _ in range(times):  # each on a connection of its own, so that all workers get some
        assert ask(process.port, "GET", f"/v2/metrics/blobs/{Digest.of(LAYER)}").status == 200


def test_requests_are_counted_over_all_workers_by_route_method_and_status(registry: RegistryProcess) -> None:
    push_blob(registry.port, "metrics", LAYER)
    pull(registry, 60)
    for _ in range(10):
        assert ask(registry.port, "GET", "/v2/metrics/manifests/absent").status == 404

    def is_counted() -> bool:
        found = [scrape(registry) for _ in range(5)]
        pulls = {each.value("entrepot_requests_total", route="blob", method="GET", status="200") for each in found}
        misses = {each.value("entrepot_requests_total", route="manifest", method="GET", status="404") for each in found}
        pushes = {each.value("entrepot_requests_total", route="uploads", method="POST", status="201") for each in found}
        return (pulls, misses, pushes) == ({60.0}, {10.0}, {1.0})

    eventually(is_counted)


def test_bytes_are_counted(registry: RegistryProcess) -> None:
    push_blob(registry.port, "metrics", LAYER)
    pull(registry, 7)
    eventually(lambda: scrape(registry).value("entrepot_sent_bytes_total", route="blob") == 7 * len(LAYER))
    assert scrape(registry).value("entrepot_received_bytes_total", route="uploads") == len(LAYER)


def test_times_are_a_histogram_in_seconds(registry: RegistryProcess) -> None:
    push_blob(registry.port, "metrics", LAYER)
    pull(registry, 30)
    eventually(lambda: scrape(registry).value("entrepot_request_seconds_count", route="blob", method="GET") == 30)
    found = scrape(registry)
    assert 0 < found.value("entrepot_request_seconds_sum", route="blob", method="GET") < 30
    limits = {float(limit) for limit in found.values_of("le")}
    assert sum(1 for limit in limits if limit < 1) >= 8
    assert {0.001, 1.0, 60.0, float("inf")} <= limits
    below = [found.value("entrepot_request_seconds_bucket", route="blob", le=le) for le in ("0.001", "1.0", "+Inf")]
    assert below == sorted(below)
    assert below[-1] == 30


def test_what_is_held_is_told(registry: RegistryProcess) -> None:
    push_image(registry.port, "metrics/one", "v1", LAYER)
    push_image(registry.port, "metrics/two", "v1", LAYER)
    for _ in range(4):
        begin_upload(registry.port, "metrics/two")
    found = scrape(registry)
    held = {
        name: found.value(f"entrepot_{name}")
        for name in ("blobs", "store_bytes", "manifests", "repositories", "uploads_open")
    }
    assert held == {
        "blobs": 2,  # the layer and the config, each once
        "store_bytes": len(LAYER) + len(b"{}"),
        "manifests": 2,
        "repositories": 2,
        "uploads_open": 4,
    }
    assert len(image_of(LAYER)) > 0


@pytest.mark.slow
def test_counts_of_a_killed_worker_are_kept(registry: RegistryProcess) -> None:
    push_blob(registry.port, "metrics", LAYER)
    pull(registry, 30)
    eventually(lambda: scrape(registry).value("entrepot_requests_total", route="blob") == 30)
    before = registry.worker_pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(set(registry.worker_pids()) - set(before)) == 3 and answers(registry.port))
    pull(registry, 5)
    eventually(lambda: scrape(registry).value("entrepot_requests_total", route="blob") == 35)


def test_garbage_adds_no_series(registry: RegistryProcess) -> None:
    """Or anybody could fill the memory of whoever stores the metrics."""
    send_garbage(registry, seed=1)
    before = scrape(registry).series()
    send_garbage(registry, seed=2)
    found = scrape(registry)
    assert found.series() - before <= found.series()  # says what is new when the next line fails
    assert found.series() == before
    assert found.values_of("method") <= {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other"}
    assert len(found.values_of("route")) < 15


def send_garbage(process: RegistryProcess, *, seed: int) -> None:
    """The same kinds of requests each time, with other names in them."""
    letters = random.Random(seed)

    def word() -> str:
        return "".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=12))

    for _ in range(60):
        ask(process.port, word().upper(), "/v2/")
        ask(process.port, "GET", f"/{word()}/{word()}")
        ask(process.port, "GET", f"/v2/{word()}")
        ask(process.port, "GET", f"/v2/{word()}/{word()}/tags/list")
        ask(process.port, "PUT", f"/v2/{word()}/manifests/{word()}", body=b"{}")
        ask(process.port, "GET", f"/v2/{word()}/blobs/sha256:{word()}")
        ask(process.port, "PATCH", f"/v2/{word()}/blobs/uploads/{word()}")
        ask(process.port, "GET", f"/metrics?{word()}")
