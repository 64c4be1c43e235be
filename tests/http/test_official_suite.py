"""The conformance suite of the specification's authors itself, where it is installed.

It is a Go program. ``.ci/install-conformance FOLDER`` builds it, with Go 1.25 or later; ``make test-all`` does so.
It is looked for beside the Python that runs the tests, in PATH, and under the path in OCI_CONFORMANCE.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from entrepot.testing.server import RegistryProcess

FOLDERS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
PROGRAM = os.environ.get("OCI_CONFORMANCE") or shutil.which("conformance", path=FOLDERS)
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        PROGRAM is None, reason="the OCI conformance suite is not installed; see the module's docstring"
    ),
]

SPARSE = {"ENTREPOT_MANIFESTS__ALLOW_MISSING_CHILDREN": "*"}


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ({"OCI_VERSION": "1.1"}, {}),
        ({"OCI_VERSION": "dev"}, {}),
        ({"OCI_VERSION": "dev", "OCI_DATA_SPARSE": "true"}, SPARSE),
    ],
    ids=["1.1", "dev", "dev with sparse manifests"],
)
def test_run_official_suite_has_neither_failures_nor_skips(
    tmp_path: Path, options: dict[str, str], environment: dict[str, str]
) -> None:
    with RegistryProcess(tmp_path / "registry", workers=2, environment=environment) as registry:
        counts = run_suite(tmp_path, {"OCI_REGISTRY": registry.host, "OCI_TLS": "disabled", **options})
    assert counts["tests"] > 800
    assert (counts["failures"], counts["errors"], counts["skipped"]) == (0, 0, 0)


def run_suite(folder: Path, options: dict[str, str]) -> dict[str, int]:
    assert PROGRAM is not None
    environment = {**os.environ, **options, "OCI_RESULTS_DIR": str(folder)}
    run = subprocess.run([PROGRAM], cwd=folder, env=environment, capture_output=True, text=True, timeout=250)
    print(run.stdout[-5000:], run.stderr[-5000:])
    (suite,) = ElementTree.parse(folder / "junit.xml").getroot()
    return {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
