"""The ``entrepot`` command: finds the command asked for, and turns errors into exit codes.

Importing this module loads click and nothing heavy; a command's module is imported when it is run.

Exit codes: 0 done, 1 failed, 2 not found, 125 wrong usage (as docker has it), 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import ModuleType
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from entrepot.cli.failures import DONE, FAILED, INTERRUPTED, WRONG_USAGE, Stopped, report, report_stop
from entrepot.cli.output import print_error
from entrepot.cli.stopping import stops
from entrepot.cli.usage import print_usage_error
from entrepot.version import __version__


class Entry(NamedTuple):
    """A command that is not imported yet."""

    module: str
    summary: str


COMMANDS = {
    "admin": Entry("entrepot.cli.admin", "Look after a registry: check what is stored, move it."),
    "attach": Entry("entrepot.cli.attach", "Attach files to an image in a registry."),
    "catalog": Entry("entrepot.cli.catalog", "List the repositories of a registry."),
    "completion": Entry("entrepot.cli.completion", "Print a script that makes the shell complete commands and names."),
    "config": Entry("entrepot.cli.config", "Check, show and describe the settings."),
    "copy": Entry("entrepot.cli.copy", "Copy an image from one place to another."),
    "df": Entry("entrepot.cli.df", "Show what the images take on the disk."),
    "diff": Entry("entrepot.cli.diff", "Show what two images differ in: config, layers, files."),
    "digest": Entry("entrepot.cli.digest", "Print the digest of an image in a registry."),
    "export": Entry("entrepot.cli.export", "Write an image's files as one tar."),
    "history": Entry("entrepot.cli.history", "Show how an image was made."),
    "images": Entry("entrepot.cli.images", "List the images on this computer."),
    "inspect": Entry("entrepot.cli.inspect", "Show everything about an image."),
    "load": Entry("entrepot.cli.load", "Take images out of an archive."),
    "login": Entry("entrepot.cli.login", "Log in to a registry."),
    "logout": Entry("entrepot.cli.login", "Forget the login to a registry."),
    "ls": Entry("entrepot.cli.ls", "List the tags of a repository."),
    "manual": Entry("entrepot.cli.manual", "Print the description of all commands as Markdown."),
    "prune": Entry("entrepot.cli.prune", "Remove what is of no use any more."),
    "pull": Entry("entrepot.cli.pull", "Fetch an image from a registry."),
    "push": Entry("entrepot.cli.push", "Send an image to a registry."),
    "referrers": Entry("entrepot.cli.referrers", "List what refers to an image in a registry."),
    "rm": Entry("entrepot.cli.rm", "Delete images in a registry."),
    "rmi": Entry("entrepot.cli.rmi", "Remove images."),
    "save": Entry("entrepot.cli.save", "Put images into an archive."),
    "search": Entry("entrepot.cli.search", "Search a registry for images."),
    "serve": Entry("entrepot.cli.serve", "Run the registry."),
    "sync": Entry("entrepot.cli.sync", "Copy the images that a list names."),
    "tag": Entry("entrepot.cli.tag", "Give an image another name, e.g. that of the registry it goes to."),
    "verify": Entry("entrepot.cli.verify", "Recompute every digest, size and diff ID of an image."),
}

# The order in which the commands are listed; those that are not named here come last.
SECTIONS = {
    "Images": (
        "pull",
        "push",
        "images",
        "tag",
        "rmi",
        "inspect",
        "history",
        "save",
        "load",
        "export",
        "diff",
        "verify",
        "df",
        "prune",
    ),
    "Registries": (
        "login",
        "logout",
        "search",
        "catalog",
        "ls",
        "digest",
        "copy",
        "sync",
        "referrers",
        "attach",
        "rm",
    ),
    "Server": ("serve", "config", "admin"),
    "Other": ("completion", "manual"),
}

# What is said when the command is ended by Ctrl-C or SIGTERM.
KEPT = {
    "copy": "what has arrived is kept; the same command goes on from there",
    "pull": "what has arrived is kept; the next pull goes on from there",
    "push": "what the registry has got is kept; the next push goes on from there",
    "sync": "what has arrived is kept; the same command goes on from there",
}

COMPLETION_VARIABLE = "_ENTREPOT_COMPLETE"  # click looks for it; the shells' scripts set it

_STOPS_ITSELF = {"serve"}  # its server handles signals
_RUN = "entrepot.run"  # in a context's meta: the context of the command that is run
_AROUND = "entrepot.around"  # there as well: what is left when the command is


class LazyGroup(click.Group):
    """A group whose commands are imported one at a time, when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = getattr(_imported(COMMANDS[cmd_name].module), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, names in sections():
            with formatter.section(title):
                formatter.write_dl([(name, COMMANDS[name].summary) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        begun = [name for name in sorted(COMMANDS) if name.startswith(incomplete)]
        items = [CompletionItem(name, help=COMMANDS[name].summary) for name in begun]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        with ExitStack() as ctx.meta[_AROUND]:
            try:
                return super().invoke(ctx)
            except click.UsageError as error:  # click's parser does not always say of which command
                error.ctx = error.ctx or ctx.meta.get(_RUN)
                raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            ctx.meta[_RUN] = click.Context(command, info_name=name, parent=ctx)
        if _AROUND in ctx.meta and name not in _STOPS_ITSELF:
            ctx.meta[_AROUND].enter_context(stops(KEPT.get(name or "", "")))
        return name, command, rest


def sections() -> Iterator[tuple[str, list[str]]]:
    """The commands there are, by the title they are listed under."""
    listed: set[str] = set()
    for title, names in SECTIONS.items():
        if present := [name for name in names if name in COMMANDS]:
            yield title, present
        listed |= set(names)
    if others := sorted(COMMANDS.keys() - listed):
        yield "More", others


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    __version__, prog_name="entrepot", message="%(prog)s %(version)s", help="Print the version and exit."
)
@click.pass_context
def entrepot(context: click.Context) -> None:
    """Pull, push and keep container images, without a daemon; and a registry for Docker, Podman and others.

    \b
    Example:
      entrepot pull nginx:1.23.3
      entrepot tag nginx:1.23.3 localhost:5000/nginx:1.23.3
      entrepot push localhost:5000/nginx:1.23.3

    \b
    A registry on this computer:
      entrepot serve
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; ``arguments`` are the process's own by default."""
    if COMPLETION_VARIABLE in os.environ:
        importlib.import_module(COMMANDS["completion"].module)  # it knows bash better than click does
    try:
        code = entrepot.main(arguments, prog_name="entrepot", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        print_usage_error(error)
        return WRONG_USAGE
    except click.ClickException as error:
        print_error(error.format_message())
        return FAILED
    except Stopped as stopped:
        return report_stop(stopped)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return FAILED
    except Exception as error:
        return report(error)
    return code if isinstance(code, int) else DONE


def _discard_stdout() -> None:
    """Whoever read our output is gone; without this the interpreter complains once more when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _imported(name: str) -> ModuleType:
    """A module, imported without looking for garbage meanwhile: what is imported stays."""
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name outside the locale's letters is no reason to fail
    sys.exit(run())
