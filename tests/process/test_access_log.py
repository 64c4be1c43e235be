"""One line for each request, in the form that was asked for, whatever a peer puts into it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from entrepot.digest import Digest
from entrepot.testing.server import RegistryProcess, free_port
from tests.hostile.raw import answers, ask
from tests.hostile.waiting import eventually

from .conftest import Starter
from .pushing import push_blob

CONTENT = bytes(1234)
BLOB = f"/v2/log/blobs/{Digest.of(CONTENT)}"
HOSTILE = {
    "fields": b'x status=200 path=/admin client="10.0.0.1"',
    "quotes": b"\"quoted\" 'twice' \\n \\",
    "line_break_of_latin_1": b"a\x85b",
    "escape_sequence_of_latin_1": b"a\x9b31mred",
    "tab": b"a\tb",
    "json": b'"}\t{"event":"request","status":200',
    "not_utf_8": b"\xff\xfe",
    "very_long": b"a" * 60_000,
}


@pytest.fixture(scope="module")
def text(start_for_all: Starter) -> RegistryProcess:
    return filled(start_for_all("--access-log", "text", workers=2))


@pytest.fixture(scope="module")
def as_json(start_for_all: Starter) -> RegistryProcess:
    return filled(start_for_all("--access-log", "json", workers=2))


@pytest.fixture(scope="module")
def off(start_for_all: Starter) -> RegistryProcess:
    return filled(start_for_all("--access-log", "off", workers=2))


def filled(process: RegistryProcess) -> RegistryProcess:
    push_blob(process.port, "log", CONTENT)
    return process


def lines_of(process: RegistryProcess, mark: str) -> list[str]:
    *whole, _ = process.log_text().split("\n")  # the last one may still be written
    return [line for line in whole if mark in line]


def the_line(process: RegistryProcess, mark: str) -> str:
    eventually(lambda: lines_of(process, mark))
    [line] = lines_of(process, mark)
    return line


def test_text_has_one_line_with_everything(text: RegistryProcess) -> None:
    assert ask(text.port, "GET", BLOB, {"User-Agent": "test-of-text/1.0"}).status == 200
    line = the_line(text, "test-of-text/1.0")
    time, rest = line.split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", time)
    pattern = (
        rf"\[info *\] request client=127\.0\.0\.1 method=GET path={re.escape(BLOB)} status=200 "
        r"bytes_in=0 bytes_out=1234 seconds=(\d+\.\d+|[\d.]+e-\d+) agent=test-of-text/1\.0"
    )
    match = re.fullmatch(pattern, rest)
    assert match is not None, rest
    assert 0 < float(match[1]) < 300


def test_json_has_one_object_with_everything(as_json: RegistryProcess) -> None:
    target = f"/v2/log/blobs/uploads/?digest={Digest.of(b'sent')}"
    assert ask(as_json.port, "POST", target, {"User-Agent": "test-of-json/1.0"}, b"sent").status == 201
    found: dict[str, Any] = json.loads(the_line(as_json, "test-of-json/1.0"))
    assert 0 < found.pop("seconds") < 300
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", found.pop("timestamp"))
    assert found == {
        "event": "request",
        "level": "info",
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/v2/log/blobs/uploads/",
        "status": 201,
        "bytes_in": 4,
        "bytes_out": 0,
        "agent": "test-of-json/1.0",
    }


def test_off_writes_nothing_about_requests(off: RegistryProcess) -> None:
    before = off.log_text()
    for path in (BLOB, "/v2/log/manifests/absent", "/nowhere", "/v2/UPPER/tags/list"):
        ask(off.port, "GET", path)
    assert off.log_text() == before


@pytest.mark.parametrize("value", [pytest.param(value, id=key) for key, value in HOSTILE.items()])
def test_hostile_value_stays_within_its_field_in_text(text: RegistryProcess, value: bytes) -> None:
    mark = f"/text-{crc32(value)}"
    assert ask(text.port, "GET", mark, {"User-Agent": value}).status == 404
    line = the_line(text, mark)
    assert line.isprintable()
    assert len(line) < 5000
    head, agent = line.split(" agent=", 1)
    assert re.search(rf" path={mark} status=404 ", head)
    assert " " not in agent or (agent[0] == agent[-1] and agent[0] in "'\""), agent


@pytest.mark.parametrize("value", [pytest.param(value, id=key) for key, value in HOSTILE.items()])
def test_hostile_value_stays_within_its_field_in_json(as_json: RegistryProcess, value: bytes) -> None:
    mark = f"/json-{crc32(value)}"
    assert ask(as_json.port, "GET", mark, {"User-Agent": value}).status == 404
    line = the_line(as_json, mark)
    assert line.isprintable()
    assert len(line) < 5000
    found = json.loads(line)
    assert (found["path"], found["status"], found["event"]) == (mark, 404, "request")


@pytest.mark.parametrize("path", ["/v2/%0A%0Dforged/tags/list", "/a\x85b", "/%1b[2J", "/x%20status=200"])
def test_hostile_path_stays_within_its_line(text: RegistryProcess, path: str) -> None:
    mark = f"agent-for-{crc32(path.encode())}"
    ask(text.port, "GET", path.encode(), {"User-Agent": mark})
    line = the_line(text, mark)
    assert line.isprintable()
    assert re.search(r"status=4\d\d bytes_in=0", line)


def test_log_goes_to_standard_error_and_the_greeting_to_standard_output(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "entrepot", "serve", "--root", str(tmp_path), "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        eventually(lambda: answers(port))
        process.terminate()
        greeting, log = process.communicate()
    assert len(greeting.splitlines()) == 2
    assert "path=/v2/ status=200" in log
    assert all(" [info" in line for line in log.splitlines())
