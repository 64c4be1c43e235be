"""What /metrics tells, whichever worker is asked."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import answers, ask
from tests.hostile.waiting import eventually

from .conftest import Starter
from .metrics import Labels, Scrape, scrape
from .pushing import begin_upload, push_blob, push_image

LAYER = bytes(1000)
GARBAGE = 60


@pytest.fixture(scope="module")
def shared(start_for_all: Starter) -> RegistryProcess:
    process = start_for_all(workers=3)
    push_blob(process.port, "metrics", LAYER)
    return process


def pull(process: RegistryProcess, times: int) -> None:
    for _ in range(times):  # each on a connection of its own, so that all workers get some
        assert ask(process.port, "GET", f"/v2/metrics/blobs/{Digest.of(LAYER)}").status == 200


def eventually_grows(process: RegistryProcess, sample: str, by: float, before: Scrape, **labels: str) -> None:
    """A request is counted when its answer is out, so a scrape right after it may be too early."""
    eventually(lambda: scrape(process).value(sample, **labels) >= before.value(sample, **labels) + by)
    assert scrape(process).value(sample, **labels) == before.value(sample, **labels) + by


def test_requests_are_counted_over_all_workers_by_route_method_and_status(shared: RegistryProcess) -> None:
    before = scrape(shared)
    pull(shared, 60)
    for _ in range(10):
        assert ask(shared.port, "GET", "/v2/metrics/manifests/absent").status == 404
    for route, status, count in (("blob", "200", 60), ("manifest", "404", 10)):
        labels = {"route": route, "method": "GET", "status": status}
        eventually_grows(shared, "entrepot_requests_total", count, before, **labels)


def test_every_worker_tells_the_same(shared: RegistryProcess) -> None:
    pull(shared, 10)
    eventually(lambda: len({scrape(shared).value("entrepot_requests_total", route="blob") for _ in range(12)}) == 1)


def test_bytes_are_counted(shared: RegistryProcess) -> None:
    before = scrape(shared)
    pull(shared, 7)
    push_blob(shared.port, "metrics/bytes", LAYER)
    eventually_grows(shared, "entrepot_sent_bytes_total", 7 * len(LAYER), before, route="blob")
    eventually_grows(shared, "entrepot_received_bytes_total", len(LAYER), before, route="uploads")


def test_times_are_a_histogram_in_seconds(shared: RegistryProcess) -> None:
    before, began = scrape(shared), time.monotonic()
    pull(shared, 30)
    eventually_grows(shared, "entrepot_request_seconds_count", 30, before, route="blob", method="GET")
    elapsed = time.monotonic() - began
    found = scrape(shared)
    count = found.value("entrepot_request_seconds_count", route="blob")
    spent = found.value("entrepot_request_seconds_sum", route="blob")
    assert 0 < spent - before.value("entrepot_request_seconds_sum", route="blob") < elapsed
    limits = {float(limit) for limit in found.values_of("le")}
    assert sum(1 for limit in limits if limit < 1) >= 8
    assert {0.001, 1.0, 60.0, float("inf")} <= limits
    below = [found.value("entrepot_request_seconds_bucket", route="blob", le=le) for le in ("0.001", "1.0", "+Inf")]
    assert below == sorted(below)
    assert below[-1] == count


def test_what_is_held_is_told(start: Starter) -> None:
    registry = start()
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


@pytest.mark.slow
def test_counts_of_a_killed_worker_are_kept(start: Starter) -> None:
    registry = start(workers=3)
    push_blob(registry.port, "metrics", LAYER)
    pull(registry, 30)
    eventually(lambda: scrape(registry).value("entrepot_requests_total", route="blob") == 30)
    before = registry.worker_pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(set(registry.worker_pids()) - set(before)) == 3 and answers(registry.port))
    pull(registry, 5)
    eventually(lambda: scrape(registry).value("entrepot_requests_total", route="blob") == 35)


def test_garbage_adds_no_series(shared: RegistryProcess) -> None:
    """Or anybody could fill the memory of whoever stores the metrics."""
    send_garbage(shared, seed=1)
    before = of_requests(scrape(shared))
    send_garbage(shared, seed=2)
    found = scrape(shared)
    assert of_requests(found) - before == set()
    assert found.values_of("method") <= {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other"}
    assert len(found.values_of("route")) < 15


def of_requests(found: Scrape) -> set[tuple[str, Labels]]:
    """The series that requests make; those of jobs begin when it is time for them."""
    return {(name, labels) for name, labels in found.series() if any(label == "route" for label, _ in labels)}


def send_garbage(process: RegistryProcess, *, seed: int) -> None:
    """The same kinds of requests each time, with other names in them. Returns when all of them are counted."""
    before = scrape(process).value("entrepot_requests_total")
    letters = random.Random(seed)

    def word() -> str:
        return "".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=12))

    for _ in range(GARBAGE):
        ask(process.port, word().upper(), "/v2/")
        ask(process.port, "GET", f"/{word()}/{word()}")
        ask(process.port, "GET", f"/v2/{word()}")
        ask(process.port, "GET", f"/v2/{word()}/{word()}/tags/list")
        ask(process.port, "PUT", f"/v2/{word()}/manifests/{word()}", body=b"{}")
        ask(process.port, "GET", f"/v2/{word()}/blobs/sha256:{word()}")
        ask(process.port, "PATCH", f"/v2/{word()}/blobs/uploads/{word()}")
        ask(process.port, "GET", f"/metrics?{word()}")
    eventually(lambda: scrape(process).value("entrepot_requests_total") > before + 8 * GARBAGE)  # and scrapes
