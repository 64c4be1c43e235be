"""``python -m bench.pages RESULTS.json``: puts the figures of a run into docs/scaling.md and docs/benchmarks.md.

RESULTS.json is what ``python -m bench --scale`` writes. Replaced is what stands between ``<!-- NAME -->`` and
``<!-- end -->``; the sums of the sizing guide are done anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench import scaled_report
from bench.curve import CURVE
from bench.load import Load
from bench.measures import MEASURES
from bench.operations import Cost
from bench.runner import Result, Sample
from bench.scaled_out import SCALED_OUT
from bench.sizing import Results, memory, one_replica, operations, site

_DOCS = Path(__file__).parent.parent / "docs"


def figures(document: dict[str, Any]) -> str:
    """The tables of the run, as it printed them."""
    results, costs = _results(document), [Cost(**cost) for cost in document["operations"]]
    scaled_out = [result for result in results if result.measure in SCALED_OUT]
    about = (
        f"Measured at {document['measured_at']}: {document['machine']}, Python {document['python']}, "
        f"{', '.join(document['services'])}; up to {document['rounds']} rounds of {document['seconds_per_sample']} s; "
        f"load of the machine before the run {document['load_before']:.1f}."
    )
    tables = (
        scaled_report.summary(scaled_out),
        "Processor time, latency, memory:",
        scaled_report.details(scaled_out),
        "More workers, more replicas, on two cores that all share:",
        scaled_report.curve([result for result in results if result.measure in CURVE]),
        "What each request asks of PostgreSQL and S3, counted by proxies in between:",
        scaled_report.costs(costs),
    )
    return "\n\n".join((about, *tables))


def _results(document: dict[str, Any]) -> list[Result]:
    by_name = {measure.name: measure for measure in MEASURES}
    results = []
    for each in document["measures"]:
        samples = {name: [_sample(data) for data in found["samples"]] for name, found in each["contenders"].items()}
        results.append(Result(by_name[each["name"]], samples, each["missing"]))
    return results


def _sample(data: dict[str, Any]) -> Sample:
    return Sample(**{**data, "load": Load(**data["load"])})


def main(source: Path) -> None:
    """Write the figures into the pages."""
    document = json.loads(source.read_text())
    found = Results(document)
    blocks = {"operations": operations, "one replica": one_replica, "memory": memory, "site": site}
    try:
        texts = {name: make(found) for name, make in blocks.items()}
    except KeyError as missing:
        sys.exit(f"{source}: expected a whole run of python -m bench --scale, got one without {missing}")
    _fill("scaling.md", texts)
    _fill("benchmarks.md", {"scale figures": figures(document)})


def _fill(page: str, blocks: dict[str, str]) -> None:
    target = _DOCS / page
    text = target.read_text("utf-8")
    for name, content in blocks.items():
        begin, end = f"<!-- {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            sys.exit(f"{target}: expected {begin.strip()} and {end}")
        text = f"{before}{begin}{content}\n{end}{after}"
    target.write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
