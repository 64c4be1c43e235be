"""The event loop of commands that talk to registries."""

from __future__ import annotations

import asyncio
import gc
import ssl

import pytest

from entrepot.cli.network import run_loop


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        pytest.param(ssl.SSLCertVerificationError(1, "certificate verify failed"), False, id="handshake"),
        pytest.param(ConnectionResetError("reset by peer"), False, id="connection"),
        pytest.param(ValueError("a mistake of ours"), True, id="mistake"),
    ],
)
def test_run_loop_passes_over_connections_that_nobody_waits_for(
    caplog: pytest.LogCaptureFixture, error: Exception, is_told: bool
) -> None:
    """Several are made at once; when the first fails the others are given up in the middle."""

    async def work() -> str:
        asyncio.get_running_loop().create_future().set_exception(error)
        gc.collect()
        return "done"

    assert run_loop(work()) == "done"
    assert ("never retrieved" in caplog.text) is is_told
