"""A real server whose disk follows a plan, and what is left of it when it is gone."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Callable
from pathlib import Path

import pytest

from entrepot.config import load
from entrepot.jobs.check import Check, Report
from entrepot.metadata.sqlite import SqliteMetadata
from entrepot.store.filesystem import FilesystemBlobStore
from entrepot.testing.faults import Fault, FaultPlan
from entrepot.testing.faulty_server import COMMAND, PLAN_VARIABLE, VIEW_VARIABLE
from entrepot.testing.power_cut import DurableView
from entrepot.testing.server import RegistryProcess

from .client import Answer, Client

DIED = (OSError, http.client.HTTPException)
_SETTINGS = {"ENTREPOT_UPLOADS__EXPIRE_INTERVAL_SECONDS": "86400"}  # so that no job commits while calls are counted


class FaultyRegistry:
    """The server with two workers, its plan, and where it keeps things. It is started when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.plan = FaultPlan(folder / "plan")
        self.view = DurableView(self.root, folder / "view")
        environment = {PLAN_VARIABLE: str(self.plan.folder), VIEW_VARIABLE: str(folder / "view"), **_SETTINGS}
        self.process = RegistryProcess(
            self.root, workers=2, command=COMMAND, environment=environment, flags=("--access-log", "off")
        )

    @property
    def client(self) -> Client:
        return Client(self.process.host)

    def run(self) -> Client:
        """Without faults from now on, and running."""
        self.plan.clear()
        if not self.process.is_running:
            self.process.start()
            self.plan.clear()
        return self.client

    def die_at(self, fault: Fault, push: Callable[[Client], object]) -> None:
        """Follow the fault, which kills every process, and do what meets it."""
        client = self.run()
        self.plan.set(fault)
        with pytest.raises(DIED):
            push(client)
        self.process.kill()  # and wait until all are gone

    def check(self) -> Report:
        """``entrepot admin check``, without its patience for pushes that are going on: there are none."""
        return check(self.root)


def check(root: Path) -> Report:
    """What is stored below ``root``, all of it read and compared."""

    async def run() -> Report:
        settings = load(None, {"root": str(root)})
        metadata = SqliteMetadata(settings.database_path)
        try:
            return await Check(FilesystemBlobStore(settings.store_path), metadata, grace_seconds=0).run()
        finally:
            await metadata.close()

    return asyncio.run(run())


def require_clean(report: Report) -> None:
    """Nothing is missing, corrupt or incomplete; bytes that nobody names are no damage."""
    assert (report.missing, report.corrupt, report.incomplete) == ([], [], [])


def again(ask: Callable[[], Answer]) -> Answer:
    """Ask until there is an answer: the kernel gives new connections to a worker until it is gone for good."""
    while True:
        try:
            return ask()
        except DIED:
            continue
