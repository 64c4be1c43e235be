"""The ``entrepot`` command: finds the command asked for, and turns errors into exit codes.

Importing this module loads click and nothing heavy; a command's module is imported when it is run.

Exit codes: 0 done, 1 failed, 125 wrong usage (as docker has it), 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import click

from entrepot import __version__
from entrepot.cli.output import print_error, print_registry_error
from entrepot.errors import RegistryError, RegistryErrors

DONE = 0
FAILED = 1
WRONG_USAGE = 125
INTERRUPTED = 130


class Entry(NamedTuple):
    """A command that is not imported yet."""

    module: str
    summary: str


COMMANDS = {
    "admin": Entry("entrepot.cli.admin", "Look after a registry: check what is stored."),
    "config": Entry("entrepot.cli.config", "Check, show and describe the settings."),
    "serve": Entry("entrepot.cli.serve", "Run the registry."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported one at a time, when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name].module), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].summary) for name in sorted(COMMANDS)])


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="entrepot", message="%(prog)s %(version)s")
@click.pass_context
def entrepot(context: click.Context) -> None:
    """A container registry for Docker, Podman, containerd, skopeo and Helm.

    \b
    Example:
      entrepot serve
      docker tag nginx localhost:5000/nginx
      docker push localhost:5000/nginx
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; ``arguments`` are the process's own by default."""
    try:
        code = entrepot.main(arguments, prog_name="entrepot", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return WRONG_USAGE
    except click.ClickException as error:
        error.show()
        return FAILED
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except RegistryError as error:
        print_registry_error(error)
        return FAILED
    except RegistryErrors as several:
        for each in several.errors:
            print_registry_error(each)
        return FAILED
    except BrokenPipeError:
        _discard_stdout()
        return FAILED
    except OSError as error:
        print_error(str(error))
        return FAILED
    return code if isinstance(code, int) else DONE


def _discard_stdout() -> None:
    """Whoever read our output is gone; without this the interpreter complains once more when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """The console script."""
    sys.exit(run())
