from __future__ import annotations

import http.client

from entrepot.testing.server import RegistryProcess


def test_registry_fixture_is_a_registry_that_answers(registry: RegistryProcess) -> None:
    connection = http.client.HTTPConnection(registry.host, timeout=60)
    connection.request("GET", "/v2/")
    assert connection.getresponse().status == 200
    connection.close()
