"""The fault run: a cluster that docker, skopeo and entrepot use is harmed in every way, and nothing is lost."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Cluster
from .faults import FAULTS, SHORT, Fault
from .run import HEADER, line, run_faults, summary


@pytest.fixture
def homes() -> Iterator[Path]:
    """For the clients; short, because it holds docker's socket."""
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as name:
        yield Path(name) / "clients"


@pytest.mark.root
@pytest.mark.interop
@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(SHORT, id="one-of-each-kind", marks=pytest.mark.timeout(1500)),
        pytest.param(FAULTS, id="all", marks=[pytest.mark.slow, pytest.mark.timeout(2400)]),
    ],
)
def test_faults_lose_nothing_and_no_client_has_to_start_again(
    cluster: Cluster, homes: Path, faults: list[Fault]
) -> None:
    report = run_faults(cluster, homes, faults, say=lambda _: None)
    print("\n".join([HEADER, *map(line, report.phases), summary(report)]))
    assert report.problems == []
    assert report.pushes > len(faults)
