"""The fault run: faults one after another while three clients push and pull, and a report of what they met."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from .cluster import Cluster
from .faults import Fault
from .load import Acknowledged, Done, Load, Record
from .patient import clients

_RECOVERY_SECONDS = 120.0
_QUIET_SECONDS = 5.0
_EXPIRY_SECONDS = 120.0
_MANIFEST_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Phase:
    """What happened from the beginning of a fault until every client worked again."""

    title: str
    seconds: float
    recovery_seconds: float
    done: list[Done]


@dataclass(slots=True)
class Report:
    """The whole run. ``problems`` are what must not be."""

    phases: list[Phase] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    pushes: int = 0
    bytes: int = 0
    s3_calls: dict[str, int] = field(default_factory=dict)
    check: str = ""


def run_faults(cluster: Cluster, folder: Path, faults: Sequence[Fault], *, seed: int = 1, say: Say = print) -> Report:
    """Use the cluster, do it harm, and look at what is left."""
    report, record = Report(), Record()
    with clients(folder) as three:
        load = Load(cluster.host, three, record, seed=seed)
        with load.running():
            report.phases.append(_quiet_phase(load))
            say(line(report.phases[-1]))
            for fault in faults:
                report.phases.append(_phase(cluster, load, fault))
                say(line(report.phases[-1]))
        if load.failure is not None:
            raise load.failure
    report.problems += [f"{each.client} {each.verb} {each.name}: {each.error}" for each in _failures(record)]
    report.s3_calls = {str(fate): count for fate, count in cluster.storage.fates.items()}
    _look_at_remains(cluster, record, report)
    return report


def _quiet_phase(load: Load) -> Phase:
    began = time.monotonic()
    _await_all(load, began)
    time.sleep(max(0.0, began + _QUIET_SECONDS - time.monotonic()))
    return Phase("no fault", time.monotonic() - began, 0.0, load.record.overlapping(began, time.monotonic()))


def _phase(cluster: Cluster, load: Load, fault: Fault) -> Phase:
    began = time.monotonic()
    fault.begin(cluster)
    time.sleep(fault.seconds)
    fault.mend(cluster)
    mended = time.monotonic()
    _await_all(load, mended)
    recovered = time.monotonic()
    return Phase(fault.title, mended - began, recovered - mended, load.record.overlapping(began, recovered))


def _await_all(load: Load, since: float) -> None:
    """Return when every client has begun something after ``since`` and ended it well, or enough time has passed."""
    while load.titles - load.record.begun_after(since) and time.monotonic() < since + _RECOVERY_SECONDS:
        if load.failure is not None:
            return
        time.sleep(0.05)


def _failures(record: Record) -> list[Done]:
    """Of the three clients; a probe may meet a broken connection, because it never tries again."""
    return [each for each in record.done if each.error and each.verb != "probe"]


def _look_at_remains(cluster: Cluster, record: Record, report: Report) -> None:
    for image in record.acknowledged:
        try:
            report.bytes += read_back(image)
            report.pushes += 1
        except (AssertionError, OSError, http.client.HTTPException) as error:
            report.problems.append(f"acknowledged {image.name}@{image.digest} does not come back: {error}")
    check = cluster.check()
    report.check = check.text.strip().rpartition("\n")[2]
    if check.status:
        report.problems.append(f"admin check: {check.text}")
    report.problems += leftovers(cluster)


def read_back(image: Acknowledged) -> int:
    """Pull an image byte for byte, by its tag; returns how many bytes. Raises AssertionError when they differ."""
    host, _, path = image.name.rpartition(":")[0].partition("/")
    with closing(http.client.HTTPConnection(host, timeout=60)) as connection:
        manifest = _get(connection, f"/v2/{path}/manifests/v1", image.digest)
        document = json.loads(manifest)
        parts = [document["config"], *document["layers"]]
        return len(manifest) + sum(
            len(_get(connection, f"/v2/{path}/blobs/{part['digest']}", part["digest"])) for part in parts
        )


def _get(connection: http.client.HTTPConnection, path: str, digest: str) -> bytes:
    connection.request("GET", path, headers={"Accept": _MANIFEST_TYPES})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, f"{path} is answered with {answer.status}: {body[:500]!r}"
    assert f"sha256:{hashlib.sha256(body).hexdigest()}" == digest, f"{path} has other bytes"
    return body


def leftovers(cluster: Cluster) -> list[str]:
    """What is still temporary when a replica has had time to expire it all; nothing else may run."""
    for replica in cluster.replicas:
        replica.stop()
    # a writer that was killed is given two and a half minutes: let them have passed
    older = "UPDATE leases SET expires_at = expires_at - 150 WHERE name LIKE 'upload:%'"
    cluster.postgresql.sql(older, cluster.database)
    soon = {"ENTREPOT_UPLOADS__EXPIRE_AFTER_SECONDS": "1", "ENTREPOT_UPLOADS__EXPIRE_INTERVAL_SECONDS": "1"}
    with cluster.new_replica("expiring", cluster.networks[0].port, soon):
        deadline = time.monotonic() + _EXPIRY_SECONDS
        while (left := _temporary(cluster)) and time.monotonic() < deadline:
            time.sleep(0.5)
    return left


def _temporary(cluster: Cluster) -> list[str]:
    rows = cluster.postgresql.sql("SELECT count(*) FROM uploads", cluster.database)
    left = [f"{rows} rows of uploads are left"] if rows != "0" else []
    left += [f"the multipart upload {key} is left" for key in cluster.place.open_uploads()]
    return left + [f"{key} is left" for key in nameless(cluster.place.keys())]


def nameless(keys: Collection[str]) -> list[str]:
    """Of the keys in a bucket those of remainders, and of bytes that came in parts and of which no blob tells."""
    blobs = {key.rpartition("/")[2].partition(".")[0] for key in keys if key.startswith("blobs/")}
    parts = {key for key in keys if key.startswith("data/") and key.rpartition("/")[2] not in blobs}
    return sorted(parts | {key for key in keys if key.startswith("tails/")})


HEADER = (
    f"{'fault':<50} {'fault s':>7} {'back s':>6} {'done':>5} {'retried':>7} {'failed':>6} {'longest s':>9}   probes"
)


def line(phase: Phase) -> str:
    """A row of the table."""
    commands = [each for each in phase.done if each.verb != "probe"]
    probes = [each for each in phase.done if each.verb == "probe"]
    longest = max((each.seconds for each in commands), default=0.0)
    return (
        f"{phase.title:<50} {phase.seconds:7.1f} {phase.recovery_seconds:6.1f} "
        f"{sum(not each.error for each in commands):5} {sum(each.is_retried for each in commands):7} "
        f"{sum(bool(each.error) for each in commands):6} {longest:9.1f}   {_probe_words(probes)}"
    )


def _probe_words(probes: Sequence[Done]) -> str:
    errors = [each.error for each in probes if each.error]
    words = ", ".join(f"{errors.count(error)} x {error}" for error in sorted(set(errors)))
    longest = max((each.seconds for each in probes), default=0.0)
    return f"{len(probes)}, longest {longest:.1f} s{f', failed: {words}' if words else ''}"


def summary(report: Report) -> str:
    """The end of the report."""
    lines = [
        f"{report.pushes} acknowledged pushes came back byte for byte ({report.bytes / 1e6:.0f} MB)",
        f"S3 calls: {', '.join(f'{count} {fate}' for fate, count in sorted(report.s3_calls.items()))}",
        f"admin check: {report.check}",
    ]
    return "\n".join([*lines, *(f"PROBLEM: {problem}" for problem in report.problems)])
