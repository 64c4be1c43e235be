"""A scrape of /metrics, read."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from entrepot.testing.server import RegistryProcess
from tests.hostile.raw import ask

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Scrape:
    """Values by name of the sample and labels."""

    samples: dict[tuple[str, Labels], float]

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name that have these labels, at least."""
        wanted = set(labels.items())
        return sum(value for (key, found), value in self.samples.items() if key == name and wanted <= found)

    def series(self) -> set[tuple[str, Labels]]:
        return set(self.samples)

    def values_of(self, label: str) -> set[str]:
        """Everything that stands in that label, in any sample."""
        return {value for _, labels in self.samples for name, value in labels if name == label}


def scrape(process: RegistryProcess) -> Scrape:
    reply = ask(process.port, "GET", "/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=")
    return Scrape(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(reply.body.decode())
            for sample in family.samples
        }
    )
