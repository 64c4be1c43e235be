"""The fixture ``registry``, for any test suite in an environment where entrepot is installed::

    def test_push(registry):
        subprocess.run(["docker", "push", f"{registry.host}/app"], check=True)

One registry serves the whole session; use repository names of your own in each test.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from entrepot.testing.server import RegistryProcess

_SUITES = ("content", "metadata", "repository", "repository_upload", "store", "upload")
pytest.register_assert_rewrite(*(f"entrepot.testing.{name}_suite" for name in _SUITES))  # so that failures explain


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """A running registry on a free port of the loopback address; see RegistryProcess for what it offers."""
    with RegistryProcess(tmp_path_factory.mktemp("entrepot") / "registry") as process:
        yield process
