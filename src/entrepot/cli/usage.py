"""Wrong command lines, said as docker says it; click finds them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from entrepot.cli.tables import plain_cell

_NO_COMMAND = re.compile(r"No such command (?:'(.*)'|\"(.*)\")\.?", re.DOTALL)
_EXTRA = "Got unexpected extra argument"

# What users of docker, skopeo, crane and others may type, and what does it here.
_ELSEWHERE = {
    "cp": "copy",
    "delete": "rm --remote",
    "gc": "prune",
    "help": "--help",
    "image": "images, inspect, history, rmi or prune",
    "import": "load",
    "info": "df",
    "list": "ls",
    "list-tags": "ls",
    "manifest": "inspect",
    "repo": "catalog or ls",
    "resolve": "digest",
    "system": "df or prune",
    "tags": "ls",
    "validate": "verify",
    "version": "--version",
}

_OF_ENGINES = {  # what docker does besides
    *("build", "buildx", "commit", "compose", "container", "create", "events", "exec", "kill", "logs"),
    *("network", "ps", "run", "start", "stats", "stop", "top", "volume"),
}

_NO_ARGUMENTS = getattr(click.exceptions, "NoArgsIsHelpError", ())  # click before 8.2 prints the help by itself


def print_usage_error(error: click.UsageError) -> None:
    """What is wrong, how the command is used, and where its help is; on stderr."""
    if isinstance(error, _NO_ARGUMENTS):  # its message is the help
        click.echo(error.format_message(), err=True)
        return
    lines = [plain_cell(_problem(error)), ""]
    if error.ctx is not None:
        lines += [*_did_you_mean(error), *_usage(error), f"See '{error.ctx.command_path} --help'"]
    click.echo("\n".join(lines), err=True)


def _usage(error: click.UsageError) -> list[str]:
    return [] if error.ctx is None or _unknown_command(error) is not None else [error.ctx.get_usage(), ""]


def _problem(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        return _unknown_flag(error.option_name)
    if isinstance(error, click.BadOptionUsage):
        return _flag_without_value(error)
    if isinstance(error, click.MissingParameter) and isinstance(error.param, click.Argument):
        return _wrong_count(error)
    if isinstance(error, click.MissingParameter) and isinstance(error.param, click.Option):
        return f"required flag {_name_of(error.param)} not set"
    if isinstance(error, click.BadParameter) and isinstance(error.param, click.Option):
        return f"invalid argument for {_name_of(error.param)} flag: {error.message}"
    if error.message.startswith(_EXTRA):
        return _wrong_count(error)
    if (unknown := _unknown_command(error)) is not None:
        return f"entrepot: '{unknown}' is not an {_path(error)} command"
    return f"entrepot: {error.format_message()}"


def _unknown_command(error: click.UsageError) -> str | None:
    match = _NO_COMMAND.match(error.message)  # click before 8.4 has no class for it
    return None if match is None else match[1] or match[2] or ""


def _unknown_flag(name: str) -> str:
    return f"unknown flag: {name}" if name.startswith("--") else f"unknown shorthand flag: '{name[1:2]}' in {name}"


def _flag_without_value(error: click.BadOptionUsage) -> str:
    if "requires" not in error.message:
        return error.message
    name = error.option_name
    return (
        f"flag needs an argument: {name}"
        if name.startswith("--")
        else f"flag needs an argument: '{name[1:]}' in {name}"
    )


def _name_of(option: click.Option) -> str:
    return ", ".join(f'"{name}"' for name in option.opts[-1:])


def _wrong_count(error: click.UsageError) -> str:
    if error.ctx is None:
        return error.message
    arguments = [param for param in error.ctx.command.params if isinstance(param, click.Argument)]
    least = sum(max(1, argument.nargs) for argument in arguments if argument.required)
    most = None if any(argument.nargs < 0 for argument in arguments) else sum(each.nargs for each in arguments)
    return f"entrepot: '{_path(error)}' {_requirement(least, most)}"


def _requirement(least: int, most: int | None) -> str:
    if most == 0:
        return "accepts no arguments"
    if least == most:
        return f"requires {_arguments(least)}"
    if most is None or least:
        return f"requires at least {_arguments(least)}"
    return f"requires at most {_arguments(most)}"


def _arguments(count: int) -> str:
    return f"{count} argument{'' if count == 1 else 's'}"


def _path(error: click.UsageError) -> str:
    return error.ctx.command_path if error.ctx is not None else "entrepot"


def _did_you_mean(error: click.UsageError) -> Iterator[str]:
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        yield from (f"Did you mean {' or '.join(error.possibilities)}?", "")
    unknown = _unknown_command(error)
    if unknown is None or error.ctx is None or not isinstance(error.ctx.command, click.Group):
        return
    if error.ctx.parent is None and unknown in _OF_ENGINES:
        yield from ("Images are kept and moved here, but neither built nor run.", "")
    elif close := _close_to(unknown, error.ctx):
        yield from (f"Did you mean {close}?", "")


def _close_to(name: str, context: click.Context) -> str:
    from difflib import get_close_matches

    assert isinstance(context.command, click.Group)
    if context.parent is None and name in _ELSEWHERE:
        return f"entrepot {_ELSEWHERE[name]}"
    matches = get_close_matches(name, context.command.list_commands(context), n=3, cutoff=0.6)
    return " or ".join(f"{context.command_path} {match}" for match in matches)
