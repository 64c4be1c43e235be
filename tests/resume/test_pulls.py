"""Pulls that break off go on where they were: within one run, and in the next one.

What may come twice is what nobody can help: heads of requests, and what a reset drops that was on its way.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrepot.store.notes import boot_id
from entrepot.testing.images import build_image, build_layers, walk_blobs
from tests.cli.conftest import Entrepot
from tests.resume.conftest import Host, Publish, RequireWhole, require_sound, slow
from tests.resume.cuts import CuttingProxy, Ending
from tests.resume.programs import Program

MIB = 1024 * 1024
IMAGE = build_image(2, seed=77, size=3_000_000)
TOTAL = sum(len(blob.data) for blob in walk_blobs(IMAGE))
LARGE = build_image(1, seed=78, size=10_000_000)
LARGE_TOTAL = sum(len(blob.data) for blob in walk_blobs(LARGE))
NO_CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
HEADS = 20_000  # of all answers, and the manifest
UNWRITTEN = 2 * MIB  # of a layer: what is gathered before it is written, and what came since the last note
ENDINGS = pytest.mark.parametrize("ending", ["closed", "reset"])


@pytest.mark.parametrize("position", [1, *slow(600, 5_000, 100_000), 1_000_001, *slow(2_999_999, 4_500_000), TOTAL - 1])
def test_pull_whose_connection_ends_once_fetches_nothing_twice(
    entrepot: Entrepot, publish: Publish, peer: Host, require_whole: RequireWhole, position: int
) -> None:
    path = publish(IMAGE)
    with CuttingProxy(peer.host, [position]) as proxy:
        done = entrepot("pull", f"{proxy.host}/{path}")
        assert (done.code, proxy.cuts_left) == (0, 0), done.err
        assert proxy.passed["down"] < TOTAL + HEADS
        require_whole(f"{proxy.host}/{path}")


@pytest.mark.parametrize("position", [*slow(600), 1_000_001, 4_500_000])
def test_pull_whose_connection_is_reset_fetches_no_more_than_was_dropped(
    entrepot: Entrepot, publish: Publish, peer: Host, require_whole: RequireWhole, position: int
) -> None:
    path = publish(IMAGE)
    with CuttingProxy(peer.host, [position], ending="reset") as proxy:
        done = entrepot("pull", f"{proxy.host}/{path}")
        assert (done.code, proxy.cuts_left) == (0, 0), done.err
        assert proxy.passed["down"] < TOTAL + position + HEADS
        require_whole(f"{proxy.host}/{path}")


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=40, deadline=None, suppress_health_check=NO_CHECKS)
@given(
    cuts=st.lists(st.integers(1, TOTAL + 2000), min_size=1, max_size=4, unique=True),
    ending=st.sampled_from(["closed", "reset"]),
    parallel=st.integers(1, 4),
    split=st.booleans(),
)
def test_pull_whose_connections_end_anywhere_finishes(
    entrepot: Entrepot,
    publish: Publish,
    peer: Host,
    require_whole: RequireWhole,
    cuts: list[int],
    ending: Ending,
    parallel: int,
    split: bool,
) -> None:
    path = publish(IMAGE)
    flags = ["--parallel", str(parallel), *(["--split-above", "1MiB"] if split else [])]
    with CuttingProxy(peer.host, cuts, ending=ending) as proxy:
        done = entrepot("pull", *flags, f"{proxy.host}/{path}")
        assert done.code == 0, done.err
        if ending == "closed":
            assert proxy.passed["down"] < TOTAL + HEADS
        require_whole(f"{proxy.host}/{path}")
        assert entrepot("rmi", f"{proxy.host}/{path}").code == 0
        assert entrepot("prune", "--force").code == 0


def test_pull_whose_connections_end_all_the_time_finishes(
    entrepot: Entrepot, publish: Publish, peer: Host, require_whole: RequireWhole
) -> None:
    """Whoever gets a megabyte further each time never runs out of tries."""
    path = publish(LARGE)
    with CuttingProxy(peer.host, range(1_200_000, LARGE_TOTAL, 1_200_000)) as proxy:
        done = entrepot("pull", "--retries", "2", f"{proxy.host}/{path}")
        assert (done.code, proxy.cuts_left) == (0, 0), done.err
        assert proxy.passed["down"] < LARGE_TOTAL + HEADS
        require_whole(f"{proxy.host}/{path}")


@pytest.mark.parametrize("position", [200_000, 2_500_000, 5_000_000])
def test_pull_after_a_failed_one_fetches_the_rest_only(
    entrepot: Entrepot, publish: Publish, peer: Host, require_whole: RequireWhole, position: int
) -> None:
    path = publish(IMAGE)
    with CuttingProxy(peer.host, [position]) as proxy:
        failed = entrepot("pull", "--retries", "0", "--parallel", "1", f"{proxy.host}/{path}")
        assert failed.code == 1
        assert "unexpected EOF: the body ended before its announced length" in failed.err
        assert entrepot("images", "-q").out == ""
        require_sound(entrepot)
        done = entrepot("pull", f"{proxy.host}/{path}")
        assert done.code == 0, done.err
        assert proxy.passed["down"] < TOTAL + HEADS
        require_whole(f"{proxy.host}/{path}")


def test_pulls_that_fail_again_and_again_come_to_an_end(
    entrepot: Entrepot, publish: Publish, peer: Host, require_whole: RequireWhole
) -> None:
    path = publish(IMAGE)
    with CuttingProxy(peer.host, range(500_000, TOTAL, 500_000)) as proxy:
        codes: list[int] = []
        while not codes or codes[-1]:
            codes.append(entrepot("pull", "--retries", "0", "--parallel", "1", f"{proxy.host}/{path}").code)
            assert len(codes) <= TOTAL // 500_000 + 1
        assert proxy.passed["down"] < TOTAL + HEADS + len(codes) * 1_000
        require_whole(f"{proxy.host}/{path}")


def test_pull_that_fails_keeps_the_layers_that_were_finished(entrepot: Entrepot, publish: Publish, peer: Host) -> None:
    path = publish(IMAGE)
    with CuttingProxy(peer.host, [TOTAL - 200_000]) as proxy:
        assert entrepot("pull", "--retries", "0", "--parallel", "1", f"{proxy.host}/{path}").code == 1
        again = entrepot("pull", "--parallel", "1", f"{proxy.host}/{path}")
    assert sum("Already exists" in line for line in again.lines) == 1


@pytest.mark.skipif(not boot_id(), reason="this system has no notes")
@pytest.mark.parametrize("after", [3_500_000, 8_000_000])
def test_pull_after_a_killed_one_fetches_the_rest_only(
    entrepot: Entrepot, publish: Publish, peer: Host, store_root: Path, require_whole: RequireWhole, after: int
) -> None:
    path = publish(LARGE)
    with CuttingProxy(peer.host) as proxy:
        code, _ = stop_pull(proxy, f"{proxy.host}/{path}", store_root, after, signal.SIGKILL)
        assert code == -signal.SIGKILL
        require_sound(entrepot)
        before = proxy.passed["down"]
        done = entrepot("pull", f"{proxy.host}/{path}")
        assert done.code == 0, done.err
        assert proxy.passed["down"] - before < LARGE_TOTAL - after + UNWRITTEN
        require_whole(f"{proxy.host}/{path}")


@pytest.mark.parametrize(
    ("how", "code", "word"),
    [
        pytest.param(signal.SIGINT, 130, "Interrupted", id="interrupted"),
        pytest.param(signal.SIGTERM, 143, "Terminated", id="terminated"),
    ],
)
@pytest.mark.parametrize("after", [300_000, 4_500_000])
def test_pull_after_one_that_was_stopped_fetches_the_rest_only(
    entrepot: Entrepot,
    publish: Publish,
    peer: Host,
    store_root: Path,
    require_whole: RequireWhole,
    after: int,
    how: signal.Signals,
    code: int,
    word: str,
) -> None:
    path = publish(IMAGE)
    with CuttingProxy(peer.host) as proxy:
        stopped = stop_pull(proxy, f"{proxy.host}/{path}", store_root, after, how)
        assert stopped == (code, f"{word}: what has arrived is kept; the next pull goes on from there\n")
        require_sound(entrepot)
        before = proxy.passed["down"]
        done = entrepot("pull", f"{proxy.host}/{path}")
        assert done.code == 0, done.err
        assert proxy.passed["down"] - before < TOTAL - after + HEADS
        require_whole(f"{proxy.host}/{path}")


def stop_pull(proxy: CuttingProxy, name: str, root: Path, after: int, how: signal.Signals) -> tuple[int, str]:
    """Stop a pull when it has done all it can with the first ``after`` bytes."""
    proxy.hold("down", after)
    with Program(root, "pull", name) as program:
        proxy.wait_until_held()
        program.wait_until_idle(proxy.port)
        ended = program.end(how)
    proxy.let_through()
    return ended


# a layer in parts


@ENDINGS
def test_pull_of_a_layer_in_parts_survives_cuts(
    entrepot: Entrepot, publish: Publish, peer: Host, require_whole: RequireWhole, ending: Ending
) -> None:
    path = publish(LARGE)
    cuts = [700_000, 2_000_000, 2_100_000, 5_000_000, 9_000_000]
    with CuttingProxy(peer.host, cuts, ending=ending) as proxy:
        done = entrepot("pull", "--split-above", "2MiB", f"{proxy.host}/{path}")
        assert (done.code, proxy.cuts_left) == (0, 0), done.err
        assert proxy.passed["down"] < LARGE_TOTAL + (HEADS if ending == "closed" else LARGE_TOTAL // 2)
        require_whole(f"{proxy.host}/{path}")


@pytest.mark.parametrize("first", ["2MiB", "64MiB"], ids=["parts", "one"])
@pytest.mark.parametrize("second", ["2MiB", "64MiB"], ids=["parts", "one"])
def test_pull_in_parts_or_not_goes_on_after_a_failed_one_in_parts_or_not(
    entrepot: Entrepot, publish: Publish, peer: Host, require_whole: RequireWhole, first: str, second: str
) -> None:
    path = publish(LARGE)
    with CuttingProxy(peer.host, [6_000_000]) as proxy:
        failed = entrepot("pull", "--retries", "0", "--split-above", first, f"{proxy.host}/{path}")
        assert failed.code == 1
        on_their_way = 0 if first == "64MiB" else 4 * MIB  # the other parts are given up with the one that failed
        done = entrepot("pull", "--split-above", second, f"{proxy.host}/{path}")
        assert done.code == 0, done.err
        assert proxy.passed["down"] < LARGE_TOTAL + HEADS + on_their_way
        require_whole(f"{proxy.host}/{path}")


@pytest.mark.skipif(not boot_id(), reason="this system has no notes")
def test_pull_of_a_layer_in_parts_goes_on_after_a_kill(
    entrepot: Entrepot, publish: Publish, peer: Host, store_root: Path, require_whole: RequireWhole
) -> None:
    path, after = publish(LARGE), 7_000_000
    with CuttingProxy(peer.host) as proxy:
        proxy.hold("down", after)
        with Program(store_root, "pull", "--split-above", "2MiB", f"{proxy.host}/{path}") as program:
            proxy.wait_until_held()
            program.wait_until_idle(proxy.port)
            program.end(signal.SIGKILL)
        before = proxy.passed["down"]
        proxy.let_through()
        done = entrepot("pull", f"{proxy.host}/{path}")
        assert done.code == 0, done.err
        assert proxy.passed["down"] - before < LARGE_TOTAL - after + 4 * UNWRITTEN
        require_whole(f"{proxy.host}/{path}")


# several at once


def test_pulls_of_an_image_at_once_fetch_each_layer_once(
    entrepot: Entrepot, publish: Publish, peer: Host, store_root: Path, require_whole: RequireWhole
) -> None:
    path = publish(IMAGE)
    with CuttingProxy(peer.host) as proxy:
        name = f"{proxy.host}/{path}"
        proxy.hold("down", 1_000_000)
        with Program(store_root, "pull", name) as first, Program(store_root, "pull", name) as second:
            for program in (first, second):
                program.wait_for_line("Pulling from")
            proxy.wait_until_held()
            proxy.let_through()
            assert [program.wait() for program in (first, second)] == [(0, ""), (0, "")]
        assert proxy.passed["down"] < TOTAL + HEADS
        require_whole(name)


def test_pulls_of_images_that_share_layers_fetch_these_once(
    entrepot: Entrepot, publish: Publish, peer: Host, store_root: Path, require_whole: RequireWhole
) -> None:
    shared, own = build_layers(2, seed=81, size=2_000_000), build_layers(2, seed=82, size=500_000)
    images = [build_image([*shared, layer], seed=seed) for seed, layer in enumerate(own)]
    paths = [publish(image) for image in images]
    total = sum(len(layer.data) for layer in (*shared, *own))
    with CuttingProxy(peer.host) as proxy:
        names = [f"{proxy.host}/{path}" for path in paths]
        proxy.hold("down", 300_000)
        with Program(store_root, "pull", names[0]) as first, Program(store_root, "pull", names[1]) as second:
            for program in (first, second):
                program.wait_for_line("Pulling from")
            proxy.let_through()
            assert [program.wait() for program in (first, second)] == [(0, ""), (0, "")]
        assert proxy.passed["down"] < total + HEADS
        for name in names:
            require_whole(name)


@pytest.mark.skipif(not boot_id(), reason="this system has no notes")
def test_pull_that_waits_for_one_that_is_killed_goes_on_with_its_bytes(
    entrepot: Entrepot, publish: Publish, peer: Host, store_root: Path, require_whole: RequireWhole
) -> None:
    path, after = publish(LARGE), 6_000_000
    with CuttingProxy(peer.host) as proxy:
        name = f"{proxy.host}/{path}"
        proxy.hold("down", after)
        with Program(store_root, "pull", name) as first:
            proxy.wait_until_held()
            with Program(store_root, "pull", name) as second:
                second.wait_for_line("Pulling from")
                first.wait_until_idle(proxy.port)
                first.end(signal.SIGKILL)
                proxy.let_through()
                assert second.wait() == (0, "")
        assert proxy.passed["down"] < LARGE_TOTAL + UNWRITTEN
        require_whole(name)
