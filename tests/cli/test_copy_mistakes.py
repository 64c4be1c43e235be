"""``entrepot copy`` where something else was meant."""

from __future__ import annotations

import uuid

from entrepot.testing.images import build_image
from entrepot.testing.server import RegistryProcess
from tests.cli.conftest import Entrepot, Publish

IMAGE = build_image(1, seed=57)


def test_copy_name_of_an_image_on_this_computer_tells_how_to_say_that(
    entrepot: Entrepot, publish: Publish, registry: RegistryProcess
) -> None:
    """With tag and push it would be meant; copy takes a name for one in a registry."""
    name = f"team/mistaken-{uuid.uuid4().hex[:8]}"
    entrepot("pull", str(reference := publish(IMAGE, name, "v1")))
    here = f"{registry.host}/{name}/here:v1"
    entrepot("tag", str(reference), here)
    done = entrepot("copy", here, f"{registry.host}/{name}/there:v1")
    assert done.code == 2
    assert done.err.endswith(f"Hint: an image of this computer is meant by store:{here}\n")
    assert entrepot("copy", f"store:{here}", f"{registry.host}/{name}/there:v1").code == 0


def test_copy_name_that_is_nowhere_says_nothing_of_this_computer(entrepot: Entrepot, registry: RegistryProcess) -> None:
    done = entrepot("copy", f"{registry.host}/no/such:v1", f"{registry.host}/there:v1")
    assert done.code == 2
    assert "store:" not in done.err
