"""Thousands of random requests: no 5xx, no broken promise about the form of answers, nothing damaged.

A seed is a test of its own. To look for more: ``FUZZ_SEEDS=100-200 pytest tests/hostile/test_fuzz.py``.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from entrepot.testing.server import RegistryProcess
from entrepot.wire.errors import STATUS_AND_CODE

from .conftest import PATIENT, check_stored, faults
from .fuzz import Call, Fuzzer
from .inprocess import registry
from .raw import Reply, Wire, chunked, request

CODES = {code for _, code in STATUS_AND_CODE.values()} - {"UNAVAILABLE", "UNKNOWN"}
CALLS_IN_PROCESS = 4000
CALLS_BY_WIRE = 1000


def seeds() -> list[Any]:
    asked = os.environ.get("FUZZ_SEEDS")
    first, _, last = (asked or "0-4").partition("-")
    every = range(int(first), int(last or first) + 1)
    return [pytest.param(seed, marks=() if asked or seed == 0 else pytest.mark.slow) for seed in every]


def assert_well_formed(call: Call, reply: Reply) -> None:
    assert reply.status < 500, (call, reply)
    if call.method == "HEAD" or reply.status in (204, 304):
        assert reply.body == b"", (call, reply)
    else:
        assert int(reply.headers["content-length"]) == len(reply.body), (call, reply)
        if reply.status >= 400:
            assert_refusal(call, reply)
    for value in reply.headers.values():
        assert value.isprintable(), (call, reply)
    assert ("allow" in reply.headers) == (reply.status == 405), (call, reply)
    assert reply.status != 416 or {"range", "content-range"} & set(reply.headers), (call, reply)


def assert_refusal(call: Call, reply: Reply) -> None:
    assert reply.headers["content-type"] == "application/json", (call, reply)
    assert reply.errors, (call, reply)
    for error in reply.errors:
        assert error["code"] in CODES, (call, reply)
        assert error["message"], (call, reply)
        assert error["detail"], (call, reply)


@pytest.mark.parametrize("seed", seeds())
async def test_random_calls_in_process_are_answered(tmp_path: Path, seed: int) -> None:
    fuzzer = Fuzzer(seed)
    statuses = set()
    async with registry(tmp_path / "registry") as app:
        for _ in range(CALLS_IN_PROCESS):
            call = fuzzer.next_call()
            reply = await app.ask(call.method, call.target, call.fields, *call.pieces, hangs_up=call.hangs_up)
            assert_well_formed(call, reply)
            fuzzer.learn(call, reply)
            statuses.add(reply.status)
    await asyncio.to_thread(check_stored, tmp_path / "registry", may_lack_children=True)
    assert {200, 201, 202, 204, 400, 404, 405, 416} <= statuses, "the generator has become dull"


@pytest.mark.parametrize("seed", seeds())
def test_random_calls_by_wire_are_answered(tmp_path: Path, seed: int) -> None:
    fuzzer = Fuzzer(seed + 1_000_000)
    statuses = set()
    with RegistryProcess(tmp_path / "registry", workers=2, environment=PATIENT) as process:
        for _ in range(CALLS_BY_WIRE):
            call = fuzzer.next_call()
            reply = send(process.port, call)
            if reply is not None:
                assert reply.status < 500, (call, reply)
                if "docker-distribution-api-version" in reply.headers:  # else it never came to us
                    assert_well_formed(call, reply)
                fuzzer.learn(call, reply)
                statuses.add(reply.status)
        assert process.is_running
    assert faults(process) == []
    check_stored(tmp_path / "registry", may_lack_children=True)
    assert {200, 201, 202, 204, 400, 404, 405, 416} <= statuses, "the generator has become dull"


def send(port: int, call: Call) -> Reply | None:
    """The answer; None when the server hung up, as it may on those who hang up first."""
    names = {name for name, _ in call.fields}
    fields = [pair for pair in call.fields if pair[0] != "expect"]
    body = b"".join(call.pieces)
    if call.pieces and "content-length" not in names:
        fields.append(("transfer-encoding", "chunked"))
        body = chunked(*filter(None, call.pieces))
    with Wire(port) as wire:
        wire.send(request(call.method, call.target, fields, body[: len(body) // 2] if call.hangs_up else body))
        if call.hangs_up:
            wire.stop_sending()
        try:
            return wire.reply(head=call.method == "HEAD")
        except EOFError:
            assert call.hangs_up, call
            return None
