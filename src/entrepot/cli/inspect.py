"""``entrepot inspect``: what docker prints of an image, as JSON or through a template."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from entrepot.cli.completion import complete_image
from entrepot.cli.formats import render
from entrepot.cli.local import on_store, root_option
from entrepot.errors import ManifestUnknown, ParameterInvalid, RegistryError, RegistryErrors
from entrepot.image_store.store import ImageStore
from entrepot.platforms import Platform

_REMOTE = "entrepot.cli.inspect_remote"  # loads all of the network, which takes longer than everything else here
_TYPES = ("", "image")
_UNSAFE = re.compile(r"[\x7f-\x9f\ud800-\udfff]")


class InspectCommand(click.Command):
    """Hands over to the command that asks registries when it is told to."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if "--remote" not in args:
            return super().make_context(info_name, args, parent, **extra)
        command: click.Command = importlib.import_module(_REMOTE).inspect
        return command.make_context(info_name, args, parent, **extra)


@click.command(cls=InspectCommand, short_help="Show everything about an image.")
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True, shell_complete=complete_image)
@click.option("-f", "--format", "form", metavar="FORMAT", default="", help="json, or a Go template.")
@click.option("--type", "kind", metavar="TYPE", default="", help="image, as docker has it; there is nothing else here.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of an image for several platforms, this one.")
@click.option("--remote", is_flag=True, help="Ask the registry; see `entrepot inspect --remote --help`.")
@root_option
def inspect(names: Sequence[str], form: str, kind: str, platform: str | None, remote: bool, root: Path) -> None:  # noqa: ARG001
    """Show everything about images, as JSON.

    IMAGE is a name, NAME@DIGEST or an ID.

    \b
    Example:
      entrepot inspect nginx:1.23.3
      entrepot inspect -f '{{json .Config.Env}}' nginx:1.23.3
      entrepot inspect --remote nginx:1.23.3
    """
    require_type(kind)
    wanted = Platform.parse(platform) if platform else None

    async def inspect_all(store: ImageStore) -> tuple[list[dict[str, Any]], list[RegistryError]]:
        documents: list[dict[str, Any]] = []
        errors: list[RegistryError] = []
        for name in names:
            try:
                documents.append(await store.inspect(name, wanted))
            except RegistryError as error:
                errors.append(_no_such_object(name, error))
        return documents, errors

    documents, errors = on_store(root, inspect_all)
    print_documents(documents, form)
    if errors:
        raise RegistryErrors(errors)


def require_type(kind: str) -> None:
    """Raises ParameterInvalid for anything but images."""
    if kind not in _TYPES:
        raise ParameterInvalid(f"{kind!r} is not a valid value for --type: expected image", type=kind)


def print_documents(documents: Sequence[dict[str, Any]], form: str) -> None:
    """As docker prints them: an indented array, an array on one line, or each through a template."""
    if form == "":
        click.echo(_escaped(json.dumps(list(documents), indent=4, ensure_ascii=False)))
    elif form == "json":
        click.echo(_escaped(json.dumps(list(documents), separators=(",", ":"), ensure_ascii=False)))
    else:
        click.echo("\n".join(render(form, document) for document in documents))


def _escaped(text: str) -> str:
    """JSON without the characters that JSON lets pass and terminals obey, and those that are none."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _no_such_object(name: str, error: RegistryError) -> RegistryError:
    if isinstance(error, ManifestUnknown) and error.message.startswith("No such image"):
        return ManifestUnknown(f"No such object: {name}", **error.detail)
    return error
