"""The figures of a run as docs/scaling.md has them, and the sums for a site of a hundred million pulls a day."""

from __future__ import annotations

import math
import statistics
import textwrap
from typing import Any

from bench.content import MIB
from bench.replicas import ENTREPOT_REDIRECT, ENTREPOT_S3, TWO_REPLICAS, scaled
from bench.report import table

_GIGABYTE = 1e9

# The site of the example; docs/scaling.md says where the numbers come from.
_PULLS = 100_000_000 / 86_400 * 3
_INDEXES, _WITHOUT_ALL, _LAYERS, _LAYER_GB = 1.25, 0.6, 5, 7.6e6 / 1e9
_PUSHES, _PUSHED_LAYERS, _NEW_LAYERS = 0.01, 8, 3
_BUSY, _WORKERS, _POOL = 0.6, 4, 10


class Results:
    """What ``python -m bench --scale`` has written into its JSON file, by name."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._costs = {cost["request"]: cost for cost in document["operations"]}
        self._measures = {measure["name"]: measure for measure in document["measures"]}

    def cost(self, request: str, key: str = "statements") -> float:
        return float(self._costs[request][key])

    def value(self, measure: str, contender: str) -> float:
        return float(self._contender(measure, contender)["medians"]["value"])

    def peak_mib(self) -> float:
        """Of a worker, in any sample of entrepot's that pushed."""
        pushes = [measure for name, measure in self._measures.items() if "push" in name or "close" in name]
        peaks = [measure["contenders"][ENTREPOT_S3]["medians"]["peak_rss"] for measure in pushes]
        return float(max(peaks)) / MIB

    def cpu(self, measure: str, contender: str, *, per_gigabyte: bool = False) -> tuple[float, float, float]:
        """Of server, PostgreSQL and S3, in seconds per 1000 requests or per gigabyte: medians."""
        samples = self._contender(measure, contender)["samples"]
        units = [
            sample["load"]["size"] / _GIGABYTE if per_gigabyte else sample["load"]["requests"] / 1000
            for sample in samples
        ]
        columns = (
            [sample["cpu_seconds"] for sample in samples],
            *([sample["load"]["extra"][key] for sample in samples] for key in ("postgresql_seconds", "s3_seconds")),
        )
        server, postgresql, s3 = (
            statistics.median(seconds / unit for seconds, unit in zip(column, units, strict=True)) for column in columns
        )
        return server, postgresql, s3

    def extra(self, measure: str, contender: str, key: str) -> float:
        samples = self._contender(measure, contender)["samples"]
        return float(statistics.median(sample["load"]["extra"][key] for sample in samples))

    def _contender(self, measure: str, contender: str) -> dict[str, Any]:
        found: dict[str, Any] = self._measures[measure]["contenders"][contender]
        return found


def operations(found: Results) -> str:
    """What each request costs."""
    titles = {
        "HEAD manifest by tag": "HEAD manifest by tag",
        "GET manifest by tag": "GET manifest by tag",
        "GET manifest by digest": "GET manifest by digest",
        "HEAD blob": "HEAD blob",
        "GET blob, in memory": "GET 1 KiB blob, again",
        "GET blob, streamed": "GET 10 MiB blob, streamed",
        "GET blob, redirected": "GET blob, redirected",
        "POST upload": "POST upload",
        "PATCH of 1 KiB": "PATCH of 1 KiB",
        "PATCH of 100 MiB": "PATCH of 100 MiB",
        "PUT that closes 1 KiB": "PUT that closes 1 KiB",
        "PUT that closes 100 MiB": "PUT that closes 100 MiB",
        "POST with mount": "POST with mount",
        "PUT manifest of 8 layers": "PUT manifest of 8 layers",
        "`docker push` of 10 new layers": "docker push, 10 layers",
        "`docker pull` of 10 layers": "docker pull, 10 layers",
    }
    keys = ("statements", "round_trips", "s3_requests", "peer_s3_requests")
    rows = [[title, *(f"{found.cost(name, key):.0f}" for key in keys)] for title, name in titles.items()]
    header = ("request", "database: statements", "round trips", "S3 requests", "distribution on S3: S3 requests")
    return table(header, rows)


def one_replica(found: Results) -> str:
    """Requests a second, and processor time."""
    curve = {
        "GET manifest by tag": "curve-get-manifest",
        "GET blob of 1 KiB, in memory": "curve-get-blob-1k",
        "PUT manifest of 8 layers": "curve-put-manifest",
    }
    setups = (*map(scaled, (1, 2, 4)), TWO_REPLICAS)
    rows = [
        [title, *(f"{found.value(name, setup):,.0f}/s" for setup in setups), *_digits(found.cpu(name, scaled(2)))]
        for title, name in curve.items()
    ]
    redirect = f"{found.value('s3-redirect', ENTREPOT_REDIRECT):,.0f}/s"
    rows.append(
        ["GET blob, redirected", "–", redirect, "–", "–", *_digits(found.cpu("s3-redirect", ENTREPOT_REDIRECT))]
    )
    for title, name, factor in (
        ("GET 100 MiB, streamed, per GB", "s3-get-blob-100mi-c4", 1000),
        ("push of 1 GiB, per GB", "s3-push-image", 1),
    ):
        speed = f"{found.value(name, ENTREPOT_S3) * factor:,.0f} MB/s"
        spent = _digits(found.cpu(name, ENTREPOT_S3, per_gigabyte=True))
        rows.append([title, "–", speed, "–", "–", *spent])
    header = ("request", "1 worker", "2 workers", "4 workers", "two replicas of 1", "CPU: entrepot", "PostgreSQL", "S3")
    return table(header, rows)


def memory(found: Results) -> str:
    """Of a worker, and rows."""
    rows = found.extra("s3-put-manifest", ENTREPOT_S3, "database_bytes_per_manifest")
    return (
        f"**Memory**: {found.peak_mib():,.0f} MiB for a worker at most, under 30 pushes at once; it does not grow with "
        "the size of blobs.\n\n"
        f"**Rows**: {rows:,.0f} bytes of PostgreSQL for each manifest with its 8 layers and its tag, indexes included."
    )


def site(found: Results) -> str:
    """A hundred million pulls a day."""
    head, manifest = _PULLS, _PULLS * _WITHOUT_ALL * _INDEXES
    config, layer = _PULLS * _WITHOUT_ALL, _PULLS * _WITHOUT_ALL * _LAYERS
    pushes = _PULLS * _PUSHES
    asked, uploads = pushes * _PUSHED_LAYERS, pushes * _NEW_LAYERS
    parts = ("POST upload", "PATCH of 100 MiB", "PUT that closes 100 MiB")
    small = ("POST upload", "PATCH of 1 KiB", "PUT that closes 1 KiB")
    upload = sum(found.cost(name) for name in small)
    upload_s3 = sum(found.cost(name, "s3_requests") for name in small)
    reads = (
        ("HEAD manifest by tag", "1", head, "HEAD manifest by tag"),
        ("GET manifest by digest", "0.6 × 1.25 = 0.75", manifest, "GET manifest by digest"),
        ("GET config", "0.6", config, "GET 1 KiB blob, first time"),
        ("GET layer", "0.6 × 5 = 3", layer, "GET blob, redirected"),
    )
    s3 = (
        ("0", "0"),
        ("0", "0"),
        (f"{config:,.0f} at most", "the same"),
        (f"0; clients: {layer:,.0f}", f"{layer:,.0f}"),
    )
    rows = [
        [title, each, f"{rate:,.0f}/s", f"{rate * found.cost(name):,.0f}", *places]
        for (title, each, rate, name), places in zip(reads, s3, strict=True)
    ]
    pulls = sum(rate for _, _, rate, _ in reads)
    statements = sum(rate * found.cost(name) for _, _, rate, name in reads)
    rows += [
        ["*all of a pull*", "5.35", f"**{pulls:,.0f}/s**", f"**{statements:,.0f}**", "", ""],
        ["HEAD blob (push)", "0.01 × 8", f"{asked:,.0f}/s", f"{asked * found.cost('HEAD blob'):,.0f}", "0", ""],
        [
            "POST, PATCH, PUT (push)",
            "0.01 × 3 each",
            f"{uploads:,.0f}/s each",
            f"{uploads:,.0f} × {upload:.0f} = {uploads * upload:,.0f}",
            f"{uploads:,.0f} × {upload_s3:.0f} to {sum(found.cost(name, 's3_requests') for name in parts):.0f}",
            "the same",
        ],
        [
            "PUT manifest (push)",
            "0.01",
            f"{pushes:,.0f}/s",
            f"{pushes * found.cost('PUT manifest of 8 layers'):,.0f}",
            "0",
            "0",
        ],
    ]
    header = (
        "request",
        "each pull",
        "at the peak",
        "PostgreSQL: statements/s",
        "S3 requests/s, redirected",
        "streamed",
    )
    loads = (
        (head, "s3-head-manifest-tag", ENTREPOT_S3),
        (manifest, "s3-get-manifest-digest", ENTREPOT_S3),
        (config, "s3-get-blob-1k", ENTREPOT_S3),
        (layer, "s3-redirect", ENTREPOT_REDIRECT),
    )
    return f"{table(header, rows)}\n\n{_sums(found, loads, pulls, uploads, pushes)}"


def _sums(
    found: Results, loads: tuple[tuple[float, str, str], ...], pulls: float, uploads: float, pushes: float
) -> str:
    spent = [(rate, found.cpu(measure, contender)) for rate, measure, contender in loads]
    server, postgresql = (sum(rate * cpu[place] / 1000 for rate, cpu in spent) for place in (0, 1))
    pushed = uploads * _LAYER_GB
    push = found.cpu("s3-push-image", ENTREPOT_S3, per_gigabyte=True)
    manifest = found.cpu("s3-put-manifest", ENTREPOT_S3)
    writes = pushed * push[0] + pushes * manifest[0] / 1000
    cores = (server + writes) / _BUSY
    replicas = math.ceil(cores / _WORKERS)
    bytes_out = _PULLS * _WITHOUT_ALL * _LAYERS * _LAYER_GB
    stream = found.cpu("s3-get-blob-100mi-c4", ENTREPOT_S3, per_gigabyte=True)[0]
    all_replicas = replicas + 1
    bullets = [
        f"**Workers**: each of the four kinds at its own cost, {_products(spent, 0)} = {server:.1f} cores busy with "
        f"pulls. Pushes: {uploads:,.0f} layers/s × 7.6 MB = {pushed:.2f} GB/s × {push[0]:.1f} CPU s per GB = "
        f"{pushed * push[0]:.1f} cores, and {pushes:,.0f} manifests/s × {manifest[0]:.2f} ms = "
        f"{pushes * manifest[0] / 1000:.1f}. Planned at 60 %: {cores:.0f} cores, which is {replicas} replicas of "
        f"{_WORKERS} workers; one more, so that one may be away: {all_replicas}.",
        f"**PostgreSQL**: {_products(spent, 1)} = {postgresql:.1f} cores busy with pulls, all for reads of a few rows "
        f"by index, all in memory. One server. Writes: {pushes:,.0f} + 3 × {uploads:,.0f} = "
        f"{pushes + 3 * uploads:,.0f} requests/s, of which {pushes + uploads:,.0f} wait for a sync of the log.",
        f"**Connections**: {all_replicas} replicas × {_WORKERS} workers × {_POOL} = "
        f"{all_replicas * _WORKERS * _POOL:,} at most; set `postgresql.pool_size` and `max_connections` to match.",
        f"**Bytes**: 0.6 × 5 × 7.6 MB = 22.8 MB for a pull; at the peak {bytes_out:.0f} GB/s or {bytes_out * 8:.0f} "
        f"Gbit/s, 2.3 PB a day. That decides everything else. Streamed through replicas it is {bytes_out:.0f} × "
        f"{stream:.2f} CPU s per GB = {bytes_out * stream:.0f} cores and {bytes_out * 8:.0f} Gbit/s of network twice, "
        'in and out. So at this size `s3.redirect = "large"`, and something between clients and bucket that keeps '
        "what many ask for: a content delivery network as `s3.redirect_endpoint`, mirrors in the clusters.",
        f"**Load balancer**: {pulls:,.0f} small requests/s are one HAProxy on a few cores, two of them for safety.",
    ]
    return "From these:\n\n" + "\n".join(textwrap.fill(f"- {each}", 150, subsequent_indent="  ") for each in bullets)


def _products(spent: list[tuple[float, tuple[float, float, float]]], place: int) -> str:
    return " + ".join(f"{rate:,.0f} × {cpu[place]:.3f} ms" for rate, cpu in spent)


def _digits(cpu: tuple[float, float, float]) -> list[str]:
    return [f"{seconds:.2f}" for seconds in cpu]
