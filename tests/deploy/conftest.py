"""Replicas behind each load balancer of ``deploy/``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.proxies import Haproxy, LoadBalancer, Nginx
from tests.deploy.replicas import Replicas, wait_until


@pytest.fixture(scope="module")
def _replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    replicas = Replicas(tmp_path_factory.mktemp("replicas"))
    try:
        replicas.start()
        yield replicas
    finally:
        replicas.stop()


@pytest.fixture(scope="module")
def _haproxy(_replicas: Replicas, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadBalancer]:
    yield from _running(Haproxy(tmp_path_factory.mktemp("haproxy"), _replicas.hosts))


@pytest.fixture(scope="module")
def _nginx(_replicas: Replicas, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadBalancer]:
    yield from _running(Nginx(tmp_path_factory.mktemp("nginx"), _replicas.hosts))


def _running(balancer: LoadBalancer) -> Iterator[LoadBalancer]:
    balancer.start()
    yield balancer
    balancer.stop()


@pytest.fixture
def replicas(_replicas: Replicas) -> Replicas:
    """All three of them run, whatever the test before did to them."""
    _replicas.start()
    return _replicas


@pytest.fixture
def haproxy(replicas: Replicas, _haproxy: Haproxy) -> Haproxy:
    wait_until("HAProxy sees all replicas", _haproxy.sees_all_replicas)
    return _haproxy


@pytest.fixture(params=["haproxy", "nginx"])
def balancer(request: pytest.FixtureRequest, replicas: Replicas) -> LoadBalancer:
    """A load balancer that sees three replicas."""
    found: LoadBalancer = request.getfixturevalue(f"_{request.param}")
    wait_until("the load balancer sees all replicas", found.sees_all_replicas)
    return found
