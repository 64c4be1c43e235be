"""RegistryProcess with a small server of its own behind it, so that each way of ending can be had."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from entrepot.testing.server import RegistryProcess, free_port

# Answers everything with 200, and with the environment variable asked for; a second process stands for a worker.
SERVER = """
import http.server, os, signal, subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
def stop(*_):
    worker.kill()
    worker.wait()
    print("stopped", flush=True)
    os._exit(0)
if os.environ.get("DEAF") != "1":
    signal.signal(signal.SIGTERM, stop)
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ.get(self.path.strip("/"), "").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
host, port = sys.argv[sys.argv.index("--listen") + 1].split(":")
print("started with", sys.argv[1:], flush=True)
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""

Make = Callable[..., RegistryProcess]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[RegistryProcess] = []

    def build(script: str = SERVER, **arguments: object) -> RegistryProcess:
        made.append(RegistryProcess(tmp_path / "registry", command=("-c", script), **arguments))  # type: ignore[arg-type]  # passed on
        return made[-1]

    yield build
    for process in made:
        if process.is_running:
            process.kill()


def ask(process: RegistryProcess, variable: str) -> str:
    connection = http.client.HTTPConnection(process.host, timeout=60)
    connection.request("GET", f"/{variable}")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def test_start_returns_when_the_server_answers(make: Make) -> None:
    process = make().start()
    assert process.is_running
    assert ask(process, "nothing") == ""
    assert process.url == f"http://127.0.0.1:{process.port}"


def test_start_passes_root_workers_and_flags(make: Make) -> None:
    process = make(workers=3, flags=["--read-only"]).start()
    expected = ["--root", str(process.root), "--listen", process.host, "--workers", "3", "--read-only"]
    assert f"started with {expected}" in process.log_text()


def test_start_passes_the_given_environment_and_nothing_of_ours(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTREPOT_LOG__LEVEL", "debug")
    process = make(environment={"ENTREPOT_LOG__FORMAT": "json"}).start()
    assert ask(process, "ENTREPOT_LOG__FORMAT") == "json"
    assert ask(process, "ENTREPOT_LOG__LEVEL") == ""


def test_start_that_fails_raises_with_the_log(make: Make) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3:\n.*no luck"):
        make("import sys; print('no luck', flush=True); sys.exit(3)").start()


def test_start_twice_is_refused(make: Make) -> None:
    process = make().start()
    with pytest.raises(RuntimeError, match="running already"):
        process.start()


def test_stop_ends_it_and_returns_the_exit_code(make: Make) -> None:
    process = make().start()
    assert process.stop() == 0
    assert not process.is_running
    assert process.log_text().endswith("stopped\n")


def test_stop_of_a_server_that_does_not_listen_kills_it(make: Make) -> None:
    process = make(environment={"DEAF": "1"}).start()
    with pytest.raises(TimeoutError, match="did not stop within"):
        process.stop(timeout=0.1)
    assert not process.is_running


def test_kill_ends_the_workers_too(make: Make) -> None:
    process = make().start()
    [worker] = process.worker_pids()
    os.kill(worker, 0)
    process.kill()
    assert not process.is_running
    assert process.worker_pids() == []


def test_start_after_kill_keeps_port_and_log(make: Make) -> None:
    process = make().start()
    host = process.host
    process.kill()
    assert process.start().host == host
    assert process.log_text().count("started with") == 2


def test_context_manager_starts_and_stops(make: Make) -> None:
    with make() as process:
        assert process.is_running
    assert not process.is_running


def test_pid_before_start_is_refused(make: Make) -> None:
    with pytest.raises(RuntimeError, match="was not started"):
        _ = make().pid


def test_free_port_is_given_to_nobody_else_in_any_process() -> None:
    """Nobody listens on it yet, so that looking whether it is free is not enough."""
    command = [
        sys.executable,
        "-c",
        "from entrepot.testing.server import free_port as f; print(*(f() for _ in range(500)))",
    ]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    ports = [port for each in running for port in each.communicate()[0].split()]
    assert len(set(ports)) == len(ports) == 2000


def test_free_port_can_be_bound() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        listener.bind(("127.0.0.1", free_port()))
