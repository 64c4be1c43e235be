"""Uploads that nobody finishes, by the thousand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess

from .conftest import PATIENT, assert_sound
from .raw import Reply, Wire, ask, assert_refused, request
from .stored import look
from .waiting import eventually

LIMIT = 1000
MANY = 10_000
AT_ONCE = 50


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[RegistryProcess]:
    """A registry that looks for old uploads all the time."""
    environment = {**PATIENT, "ENTREPOT_UPLOADS__EXPIRE_INTERVAL_SECONDS": "1"}
    with RegistryProcess(tmp_path / "registry", workers=2, environment=environment) as process:
        yield process
        assert_sound(process)


def begin(port: int, names: list[str]) -> list[Reply]:
    """Begin one upload for each name, many requests on the way at a time."""
    replies: list[Reply] = []
    with Wire(port) as wire:
        for first in range(0, len(names), AT_ONCE):
            part = names[first : first + AT_ONCE]
            wire.send(b"".join(request("POST", f"/v2/{name}/blobs/uploads/") for name in part))
            replies += [wire.reply() for _ in part]
    return replies


def test_begin_one_upload_too_many_is_429_and_others_go_on(port: int, server: RegistryProcess, name: str) -> None:
    before = look(server.root).count("uploads")
    replies = begin(port, [name] * LIMIT)
    assert {reply.status for reply in replies} == {202}
    refused = ask(port, "POST", f"/v2/{name}/blobs/uploads/")
    assert_refused(refused, 429, "TOOMANYREQUESTS", f"{name} has {LIMIT} uploads open", "finish or cancel")
    assert int(refused.headers["retry-after"]) > 0
    assert look(server.root).count("uploads") == before + LIMIT
    assert ask(port, "POST", f"/v2/{name}-2/blobs/uploads/").status == 202
    one = replies[0].headers["location"]
    assert ask(port, "PUT", f"{one}?digest={Digest.of(b'x')}", body=b"x").status == 201
    assert ask(port, "POST", f"/v2/{name}/blobs/uploads/").status == 202


def test_push_blob_in_one_request_needs_no_open_upload(port: int, name: str) -> None:
    """Also in a repository that has as many as it may."""
    begin(port, [name] * LIMIT)
    digest = Digest.of(b"whole")
    assert ask(port, "POST", f"/v2/{name}/blobs/uploads/?digest={digest}", body=b"whole").status == 201


@pytest.mark.slow
def test_ten_thousand_uploads_in_many_repositories_are_served_and_expire(forgetful: RegistryProcess) -> None:
    replies = begin(forgetful.port, [f"many/{number % 500}" for number in range(MANY)])
    assert {reply.status for reply in replies} == {202}
    assert len({reply.headers["location"] for reply in replies}) == MANY
    last = replies[-1].headers["location"]
    assert ask(forgetful.port, "PATCH", last, body=b"late").status == 202
    with closing(sqlite3.connect(forgetful.root / "entrepot.db", timeout=100)) as database, database:
        database.execute("UPDATE uploads SET updated_at = 0")
    eventually(lambda: look(forgetful.root).count("uploads") == 0)
    eventually(lambda: look(forgetful.root).files == frozenset())
    assert_refused(ask(forgetful.port, "GET", last), 404, "BLOB_UPLOAD_UNKNOWN", "has expired")
