"""``entrepot manual``: the page of Markdown that describes every command; docs/cli.md is printed by it."""

# ruff: noqa: E501  (rows of Markdown's tables cannot be broken)

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator

import click

from entrepot.cli.main import COMMANDS, sections

_INTRODUCTION = """# Commands

This page is printed by `entrepot manual` (`make docs`); change the help in `src/entrepot/cli/` instead.

`entrepot --help` lists the commands and `entrepot COMMAND --help` describes one. `entrepot completion bash`
(or `zsh`, `fish`) prints a script that completes commands, flags and the names of the images there are.

## Exit codes

| code | meaning |
|---|---|
| 0 | Done. |
| 1 | It failed; what is wrong stands on stderr. |
| 2 | What was asked for does not exist: an image, tag, repository, blob or platform. |
| 125 | The command line is wrong: unknown command or flag, wrong number of arguments. |
| 130 | Ended by Ctrl-C (SIGINT). |
| 143 | Ended by SIGTERM. |

docker has 1 where we have 2. `entrepot admin check` and `migrate` have 1 also for damage they
find.

Ctrl-C and SIGTERM close what is open and say what is kept; what has arrived of a transfer always is, even after
`kill -9`, and the same command goes on from there.

## What goes where

| stream | what |
|---|---|
| stdout | Results: tables, JSON, names, and docker's lines about layers. |
| stderr | Errors (`Error: ...`), what to do about them (`Hint: ...`), warnings, waits, how far a transfer is, questions. |

Results for programs are never mixed with anything else: `entrepot images -q`, `entrepot pull -q`, `--format json`.
Whatever is printed in tables and errors has its control characters replaced, because a registry may have put them
there. `ENTREPOT_DEBUG=1` adds the traceback to errors.

## Progress

`--progress` of commands that transfer:

| value | what is shown |
|---|---|
| `auto` | `tty` if stdout is a terminal (and `TERM` is not `dumb`), else `plain` |
| `tty` | A line for each layer, drawn in place as docker does, with a bar on terminals wider than 110 columns. |
| `plain` | A line for each change of state on stdout, in docker's words; every 5 seconds one on stderr: how far all is. |
| `json` | One object a line on stderr; stdout has the other lines only. Lines that are no objects are warnings or errors. |
| `none` | Nothing but results. |

An object has `state` (`preparing`, `waiting`, `exists`, `starting`, `moving`, `verifying`, `received`, `unpacking`,
`mounted`, `done`, `retrying`, `failed`), `kind` (`layer`, `config`, `manifest`, `request`), and, where they mean
something, `digest`, `done` and `total` in bytes, `note`, `seconds`.

A layer is shown by the first 12 digits of its blob's digest, in pushes as well; docker without the containerd image
store shows the digest of the uncompressed layer when it pushes.

## Formats

`--format` takes Go templates as docker does: `'{{.Repository}}:{{.Tag}}'`, `'table {{.ID}}\\t{{.Size}}'`, or `json` for
one object a line. There are fields, `index`, variables, pipelines, `if`, `with`, `range`, trimming (`{{-`), comments, the
functions of Go (`and`, `eq`, `ge`, `gt`, `html`, `index`, `js`, `le`, `len`, `lt`, `ne`, `not`, `or`, `print`,
`printf`, `println`, `slice`, `urlquery`) and those of docker (`join`, `json`, `lower`, `pad`, `split`, `title`,
`truncate`, `upper`). There are no `define`, `template` and `block`, and no methods. A template that cannot be read, or
names a field that is not there, ends the command with 1 (docker has 64 or 1).

## Environment

| variable | meaning |
|---|---|
| `ENTREPOT_ROOT` | Folder with the images, and of the registry; `--root` counts more. |
| `ENTREPOT_DEBUG` | Not empty: errors come with their traceback. |
| `ENTREPOT_...__...` | Settings of the registry: [configuration.md](configuration.md). |
| `DOCKER_CONFIG`, `REGISTRY_AUTH_FILE`, `DOCKER_AUTH_CONFIG` | Where logins are, as for docker and podman. |
| `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` | Proxies, as everywhere. |
| `SSL_CERT_FILE` | Authorities to trust instead of the system's. |
"""
_WIDTH = 118


@click.command(short_help="Print the description of all commands as Markdown.")
def manual() -> None:
    """Print the description of all commands as Markdown.

    \b
    Example:
      entrepot manual > docs/cli.md
    """
    click.echo(as_markdown(click.get_current_context().find_root()), nl=False)


def as_markdown(root: click.Context) -> str:
    """The page; ``root`` is the context of ``entrepot`` itself."""
    assert isinstance(root.command, click.Group)
    parts = [_INTRODUCTION]
    for title, names in sections():
        parts += [f"## {title}\n", _table([(f"[{name}](#entrepot-{name})", COMMANDS[name].summary) for name in names])]
        for name in names:
            command = root.command.get_command(root, name)
            assert command is not None
            parts += _describe(click.Context(command, info_name=name, parent=root))
    return "\n".join(parts)


def _describe(context: click.Context) -> Iterator[str]:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"### {context.command_path}\n"
    yield f"```\n{usage}\n```\n"
    yield from (_paragraph(text) for text in inspect.cleandoc(command.help or "").split("\n\n"))
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    if options:
        yield _table([(_names(option), option.help or "") for option in options], head=("flag", "meaning"))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _describe(click.Context(child, info_name=name, parent=context))


def _paragraph(text: str) -> str:
    if not text.startswith("\b"):
        return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"
    first, _, rest = text.removeprefix("\b").strip("\n").partition("\n")
    if first.endswith(":"):
        return f"{first}\n\n```sh\n{textwrap.dedent(rest)}\n```\n"
    return f"```\n{first}\n{rest}\n```\n"


def _names(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    if option.is_flag or option.count:
        return names
    if isinstance(option.type, click.Choice):
        return f"{names} {' or '.join(f'`{choice}`' for choice in option.type.choices)}"
    return f"{names} `{_escaped(option.metavar or option.type.name.upper())}`"


def _table(rows: list[tuple[str, str]], head: tuple[str, str] = ("command", "what it does")) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {_escaped(text)} |" for name, text in rows)]) + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
