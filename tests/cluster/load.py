"""Pushes and pulls by three clients at once, for as long as it takes, and a record of what became of each."""

from __future__ import annotations

import http.client
import itertools
import random
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from entrepot.testing.images import build_image
from tests.interop.clients import ImageClient
from tests.interop.commands import Outcome

_RETRY = re.compile(r"retrying", re.IGNORECASE)
_LARGE_EVERY = 4  # pushes
_SMALL_BYTES, _LARGE_BYTES = 1_000_000, 20_000_000
_SECONDS_BETWEEN_PROBES = 0.05
_PROBE_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """One command of a client, from its start to its end; ``error`` is what it printed when it failed."""

    client: str
    verb: Literal["push", "pull", "probe"]
    name: str
    began: float
    ended: float
    is_retried: bool = False
    error: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A push that a client reported as done: the tag and what it stands for."""

    name: str
    digest: str


@dataclass(slots=True)
class Record:
    """What the clients have done. Several threads write to it."""

    done: list[Done] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)

    def overlapping(self, began: float, ended: float) -> list[Done]:
        """Everything that was going on between two moments."""
        return [each for each in list(self.done) if each.ended >= began and each.began <= ended]

    def begun_after(self, moment: float) -> set[str]:
        """The clients that have since begun a command and ended it well."""
        return {each.client for each in list(self.done) if each.began >= moment and not each.error}


class Load:
    """``clients`` push new images to ``host`` and pull what others have pushed, each in a thread of its own."""

    def __init__(self, host: str, clients: Sequence[ImageClient], record: Record, *, seed: int) -> None:
        self.record = record
        self._host = host
        self._clients = clients
        self._seeds = itertools.count(seed * 1_000_000)
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self.failure: BaseException | None = None

    @property
    def titles(self) -> set[str]:
        return {client.title for client in self._clients}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ends when every client has ended what it was doing."""
        threads = [threading.Thread(target=self._work, args=(client,)) for client in self._clients]
        threads.append(threading.Thread(target=self._probe))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _work(self, client: ImageClient) -> None:
        try:
            for number in itertools.count():
                if self._stop.is_set():
                    return
                self._push(client, f"{self._host}/load/{client.title}-{number}:v1", number)
                self._pull(client)
        except BaseException as failure:
            self.failure = failure  # of the test itself: the faults' loop looks at it
            raise

    def _push(self, client: ImageClient, name: str, number: int) -> None:
        size = _LARGE_BYTES if number % _LARGE_EVERY == _LARGE_EVERY - 1 else _SMALL_BYTES
        client.load(build_image(2, seed=next(self._seeds), size=size), name)
        if self._run(client, "push", name):
            self.record.acknowledged.append(Acknowledged(name, client.digest(name)))
        client.remove(name)

    def _pull(self, client: ImageClient) -> None:
        if not self.record.acknowledged:
            return
        chosen = self._random.choice(self.record.acknowledged)
        if self._run(client, "pull", chosen.name):
            assert client.digest(chosen.name) == chosen.digest, f"{client.title} got something else for {chosen.name}"
            client.remove(chosen.name)

    def _run(self, client: ImageClient, verb: Literal["push", "pull"], name: str) -> bool:
        began = time.monotonic()
        outcome = _outcome(client, verb, name)
        error = "" if outcome.status == 0 else outcome.text[-1500:]
        is_retried = _RETRY.search(outcome.text) is not None
        self.record.done.append(Done(client.title, verb, name, began, time.monotonic(), is_retried, error))
        return not error

    def _probe(self) -> None:
        """Ask for one manifest by its digest, again and again, without ever trying a second time."""
        while not self._stop.wait(_SECONDS_BETWEEN_PROBES):
            if self.record.acknowledged:
                began, first = time.monotonic(), self.record.acknowledged[0]
                error = probe(first)
                self.record.done.append(Done("probe", "probe", first.name, began, time.monotonic(), error=error))


def probe(image: Acknowledged) -> str:
    """Why the manifest does not come when it is asked for once; empty when it does."""
    host, _, path = image.name.rpartition(":")[0].partition("/")
    connection = http.client.HTTPConnection(host, timeout=_PROBE_TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"/v2/{path}/manifests/{image.digest}")
        answer = connection.getresponse()
        answer.read()
        return "" if answer.status == 200 else str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def _outcome(client: ImageClient, verb: Literal["push", "pull"], name: str) -> Outcome:
    try:
        return client.push(name) if verb == "push" else client.pull(name)
    except subprocess.TimeoutExpired as expired:
        return Outcome(tuple(expired.cmd), -1, "", f"not done after {expired.timeout} s: {expired.stderr!r}")
