"""``entrepot completion``: what makes a shell complete commands, flags and the names of images."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import BashComplete, add_completion_class, get_completion_class, split_arg_string

from entrepot.cli.main import COMPLETION_VARIABLE
from entrepot.folders import default_root
from entrepot.image_store.names import names_beginning_with

SHELLS = ("bash", "zsh", "fish")

# bash takes the colons of localhost:5000/app:v1 for ends of words, so it is given only what follows the last one.
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' kind value answer line="${COMP_LINE:0:COMP_POINT}"
    local word="${line##*[[:space:]]}" known=""
    [[ $COMP_WORDBREAKS == *:* && $word == *:* ]] && known="${word%%:*}:"
    COMPREPLY=()
    for answer in $(env %(complete_var)s=bash_complete ENTREPOT_COMP_LINE="$line" "$1"); do
        IFS=, read -r kind value <<< "$answer"
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$known"}") ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@add_completion_class
class ColonAwareBash(BashComplete):
    """bash, with names that have colons in them."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["ENTREPOT_COMP_LINE"]
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        return words[1:], incomplete


@click.command(short_help="Print a script that makes the shell complete commands and names.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that makes the shell complete commands, flags and the names of images.

    \b
    Example:
      source <(entrepot completion bash)
      entrepot completion bash > ~/.local/share/bash-completion/completions/entrepot
      entrepot completion zsh > "${fpath[1]}/_entrepot"
      entrepot completion fish > ~/.config/fish/completions/entrepot.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "entrepot", COMPLETION_VARIABLE).source())


def complete_image(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The names in the image store that begin so; to be given to an argument as ``shell_complete``."""
    return names_beginning_with(incomplete, _root(context))


def _root(context: click.Context) -> Path:
    root = context.params.get("root") or os.environ.get("ENTREPOT_ROOT")
    return Path(root).expanduser() if root else default_root(os.environ)
