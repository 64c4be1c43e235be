"""``entrepot admin``: what an operator does to a registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from entrepot import assembly
from entrepot.cli.migrate import migrate
from entrepot.cli.options import where_options
from entrepot.cli.output import print_json
from entrepot.config import load
from entrepot.jobs.check import Finding, Report


@click.group(short_help="Look after a registry: check what is stored, move it.")
def admin() -> None:
    """Look after a registry.

    \b
    Example:
      entrepot admin check
      entrepot admin migrate --to postgresql://entrepot:secret@db.example.com/entrepot
    """


admin.add_command(migrate)


@admin.command(short_help="Read everything that is stored and compare it with its digests.")
@where_options
@click.option("--repair", is_flag=True, help="Take corrupt and missing blobs out, so that a new push heals them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(context: click.Context, /, config_file: Path | None, repair: bool, as_json: bool, **where: Any) -> None:
    """Read everything that is stored, and report what is not as it should be.

    \b
    missing     the bytes of a blob are gone; --repair, then push it again
    corrupt     the bytes are not what the digest says; --repair, then push it again
    incomplete  a manifest names something that was deleted from its repository
    orphaned    bytes that nobody names; they only take space

    With --repair, clients are no longer told that such a blob is there, so that they send it anew. Corrupt bytes are
    kept in quarantine/.

    The registry may run meanwhile. The exit code is 1 when something is missing or corrupt.

    \b
    Example:
      entrepot admin check --root /srv/registry
      entrepot admin check --root /srv/registry --repair
    """
    report = assembly.check_store(load(config_file, where), repair=repair)
    if as_json:
        print_json(as_data(report))
    else:
        click.echo("\n".join(lines(report)))
    context.exit(0 if report.is_clean else 1)


def lines(report: Report) -> Iterator[str]:
    """One line for each finding, then the sum."""
    for word, findings in _by_kind(report):
        for finding in findings:
            yield f"{word}: {finding.digest}{_at(finding)}: {finding.message}"
    counts = ", ".join(f"{len(findings)} {word}" for word, findings in _by_kind(report))
    yield f"checked {report.blobs} blobs ({report.bytes} bytes) and {report.manifests} manifests: {counts}"
    if report.repaired:
        yield f"took {report.repaired} blobs out; push the same content again to heal them"
    if report.warning:
        yield f"warning: {report.warning}"


def _at(finding: Finding) -> str:
    return f" ({finding.location})" if finding.location else ""


def as_data(report: Report) -> dict[str, Any]:
    """The report as JSON has it."""
    found = {
        word: [
            {"digest": finding.digest, "location": finding.location, "message": finding.message} for finding in findings
        ]
        for word, findings in _by_kind(report)
    }
    return found | {
        "blobs": report.blobs,
        "manifests": report.manifests,
        "bytes": report.bytes,
        "repaired": report.repaired,
        "warning": report.warning,
        "clean": report.is_clean,
    }


def _by_kind(report: Report) -> list[tuple[str, Sequence[Finding]]]:
    return [
        ("missing", report.missing),
        ("corrupt", report.corrupt),
        ("incomplete", report.incomplete),
        ("orphaned", report.orphaned),
    ]
