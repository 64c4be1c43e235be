"""The Dockerfile fits the package and those who use the image."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from entrepot.config import load
from tests.deploy.places import DEPLOY, SETTINGS_FILES, resource

TEXT = (DEPLOY / "Dockerfile").read_text("utf-8")
CHECKOUT = DEPLOY.parent


def test_copies_what_is_there_and_what_the_build_reads() -> None:
    copied = [name for line in re.findall(r"^COPY (?!--)(.+) \S+$", TEXT, re.MULTILINE) for name in line.split()]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert all((CHECKOUT / name).exists() for name in copied)
    assert {"pyproject.toml", "src", project["readme"], *project["license-files"]} <= set(copied)


def test_sends_the_builder_what_it_copies_and_no_more() -> None:
    copied = {name for line in re.findall(r"^COPY (?!--)(.+) \S+$", TEXT, re.MULTILINE) for name in line.split()} - {
        "./"
    }
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied


def test_installs_extras_that_the_package_has() -> None:
    extras = re.findall(r'pip install .*"\.\[([a-z0-9,]+)\]"', TEXT)[0].split(",")
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert set(extras) == {"postgresql", "s3"} <= set(project["optional-dependencies"])


def test_runs_as_the_user_that_kubernetes_wants() -> None:
    user = re.findall(r"^USER (\d+):(\d+)$", TEXT, re.MULTILINE)[-1]
    context = resource("Deployment")["spec"]["template"]["spec"]["securityContext"]
    assert user == (str(context["runAsUser"]), str(context["runAsGroup"]))


@pytest.mark.parametrize("file", SETTINGS_FILES, ids=lambda file: file.parent.name)
def test_listens_where_the_settings_say_too(file: Path) -> None:
    listen = re.findall(r"ENTREPOT_SERVER__LISTEN=(\S+)", TEXT)[0]
    assert load(file).server.listen == listen
