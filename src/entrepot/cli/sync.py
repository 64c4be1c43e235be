"""``entrepot sync``: copies what a list asks for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import click

from entrepot.cli.network import Reach, network_options, parallel_option, split_option, unpacked_option
from entrepot.cli.progress import Mode, Progress, progress_for, progress_option
from entrepot.cli.sync_list import SyncList, read_list, shared_targets
from entrepot.cli.tables import plain_cell
from entrepot.client_sync import State, Synced, Syncing
from entrepot.errors import RegistryError

_FAILED = 1
_SHOWN = (State.COPIED, State.CURRENT, State.LEFT, State.WOULD_COPY, State.FAILED)


@click.command(short_help="Copy the images that a list names.")
@click.option(
    "-f",
    "--file",
    "file",
    metavar="LIST",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The list, in YAML.",
)
@click.argument("destination", metavar="[DESTINATION]", required=False)
@click.option("--scoped", is_flag=True, help="Put the source's registry into the names at the destination.")
@click.option("--only-missing", is_flag=True, help="Leave alone tags that are there, whatever they point to.")
@click.option("--keep-going", is_flag=True, help="Go on with the other images when one fails.")
@click.option("--dry-run", is_flag=True, help="Say what would be copied, and copy nothing.")
@parallel_option
@split_option
@unpacked_option
@progress_option
@network_options
@click.pass_context
def sync(
    context: click.Context,
    reach: Reach,
    file: Path,
    destination: str | None,
    scoped: bool,
    only_missing: bool,
    keep_going: bool,
    dry_run: bool,
    progress: Mode,
) -> None:
    """Copy the images that a list names to another registry, the image store or a folder.

    What is up to date there is not copied again. The list is YAML: ours, or one of skopeo's with a DESTINATION.

    \b
    to: localhost:5000/mirror
    images:
      - nginx:1.23.3
      - from: quay.io/team/app
        tags: [stable, 1.*]
        exclude: ["*-debug"]
      - from: redis
        semver: ">=6 <8"
        newest: 5

    Also: regex, exclude-regex, digests, platforms, referrers and to of each image; and registries: with username,
    password and tls-verify of each. DESTINATION is a registry, maybe with a path, store: or oci:DIR.

    \b
    Example:
      entrepot sync -f list.yaml --dry-run
      entrepot sync -f skopeo.yaml localhost:5000/mirror --scoped --keep-going
    """
    wanted = read_list(file, destination, scoped=scoped)
    for target, where in shared_targets(wanted.rules):
        click.echo(
            f"Warning: {where}: {target} is the target of another source too; --scoped tells them apart", err=True
        )
    options = {**reach.options, "logins": wanted.logins, "insecure_registries": frozenset(wanted.insecure)}
    with progress_for("none" if dry_run else progress, "copy") as shown:
        reach = replace(reach, options=options)
        counts = reach.run(
            lambda client: _sync(
                Syncing(client, only_missing=only_missing, dry_run=dry_run), wanted, shown, keep_going=keep_going
            ),
            listener=shown,
        )
        shown.say(_summary(counts))
    if counts[State.FAILED]:
        context.exit(_FAILED)


async def _sync(work: Syncing, wanted: SyncList, shown: Progress, *, keep_going: bool) -> Counter[State]:
    counts: Counter[State] = Counter()
    for rule in wanted.rules:
        async for synced in work.run(rule):
            counts[synced.state] += 1
            _tell(synced, shown)
            if synced.state is State.FAILED and not keep_going:
                return counts
    return counts


def _tell(synced: Synced, shown: Progress) -> None:
    """What was done, and what went wrong; what was not necessary is only counted."""
    if synced.state is State.COPIED:
        shown.say(f"copied {synced.source} to {synced.target}: {synced.digest}")
    elif synced.state is State.WOULD_COPY:
        shown.say(f"would copy {synced.source} to {synced.target}: {synced.digest}")
    elif synced.error is not None:
        shown.message(f"Error: {synced.source} to {synced.target}: {plain_cell(str(synced.error))}")
        hint = synced.error.detail.get("hint") if isinstance(synced.error, RegistryError) else None
        if isinstance(hint, str):
            shown.message(f"Hint: {plain_cell(hint)}")


def _summary(counts: Counter[State]) -> str:
    said = [f"{counts[state]} {state.value}" for state in _SHOWN if counts[state]]
    return ", ".join(said) or "nothing to copy"
