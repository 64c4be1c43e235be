"""The real server with a faulty disk: ``python -m entrepot.testing.faulty_server serve --root DIR ...``.

It takes the flags of ``entrepot serve``. ``ENTREPOT_FAULTS`` names the folder of its ``FaultPlan``; the folder
in ``ENTREPOT_DURABLE_VIEW``, if set, is where it keeps what a power cut would leave::

    RegistryProcess(root, command=COMMAND, environment={PLAN_VARIABLE: str(plan.folder)})
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from entrepot import assembly
from entrepot.backends import Durability, prepare
from entrepot.cli.serve import overrides, serve
from entrepot.config import Settings, load
from entrepot.testing.faults import FaultPlan, FaultyCommit, FaultyDisk
from entrepot.testing.power_cut import DurableView

COMMAND = ("-m", "entrepot.testing.faulty_server", "serve")
PLAN_VARIABLE = "ENTREPOT_FAULTS"
VIEW_VARIABLE = "ENTREPOT_DURABLE_VIEW"


def main(arguments: Sequence[str]) -> None:
    """Serve until stopped. ``arguments`` are those of ``entrepot``, ``serve`` being the first."""
    with serve.make_context("serve", list(arguments[1:])) as context:
        config_file = context.params.pop("config_file")
        settings = load(config_file, overrides(**context.params))
    prepare(settings)
    assembly.serve(settings, faulty(settings))


def faulty(settings: Settings) -> Durability:
    """What the environment asks for."""
    plan = FaultPlan(Path(os.environ[PLAN_VARIABLE]))
    shadow = os.environ.get(VIEW_VARIABLE)
    view = DurableView(settings.root, Path(shadow)) if shadow else None
    if view is not None:
        view.database_synced()
    return Durability(FaultyDisk(plan, view), FaultyCommit(plan, view))


if __name__ == "__main__":
    main(sys.argv[1:])
