"""Starting, and the reasons not to; what stands in the way is said in words."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from entrepot.metadata.versions import HEAD
from entrepot.testing.server import RegistryProcess, free_port
from tests.hostile.raw import ask, request
from tests.hostile.stored import look

from .conftest import Starter
from .pushing import INDEX, push_image, put_manifest


def serve(root: Path, *flags: str, listen: str = "") -> subprocess.CompletedProcess[str]:
    """Start a server that is to end by itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENTREPOT_")}
    listen = listen or f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "entrepot", "serve", "--root", str(root), "--listen", listen, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert [word for word in words if word not in done.stderr] == [], done.stderr


def test_start_on_a_port_in_use_is_refused(start: Starter, tmp_path: Path) -> None:
    process = start(workers=2)
    assert_refused(serve(tmp_path / "other", listen=process.host), process.host, "Address already in use", "--listen")
    assert ask(process.port, "GET", "/v2/").status == 200


def test_start_on_a_port_of_another_program_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        listen = f"127.0.0.1:{listener.getsockname()[1]}"
        assert_refused(serve(tmp_path / "root", listen=listen), listen, "Address already in use")


def test_start_on_an_address_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    done = serve(tmp_path / "root", "--behind-proxy", listen="192.0.2.1:5000")
    assert_refused(done, "192.0.2.1:5000", "Cannot assign requested address")


@pytest.mark.parametrize("address", ["0.0.0.0", "[::]", "192.0.2.1", "registry.test"])
def test_start_beyond_this_computer_without_rules_is_refused(tmp_path: Path, address: str) -> None:
    done = serve(tmp_path / "root", listen=f"{address}:{free_port()}")
    assert_refused(done, "refusing to listen on", address, "--behind-proxy", "--allow-anonymous-push", "127.0.0.1")
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("flag", ["--behind-proxy", "--allow-anonymous-push"])
def test_listening_beyond_this_computer_is_allowed_by_flags(flag: str) -> None:
    """Not started, as tests listen on the loopback address only."""
    done = subprocess.run(
        [sys.executable, "-m", "entrepot", "config", "check"],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "ENTREPOT_SERVER__LISTEN": "0.0.0.0:5000", f"ENTREPOT_SERVER__{variable(flag)}": "true"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def variable(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_").upper()


@pytest.mark.parametrize(
    ("host", "family"),
    [("localhost", socket.AF_INET), pytest.param("[::1]", socket.AF_INET6, marks=pytest.mark.slow)],
)
def test_start_on_other_names_of_this_computer_answers(tmp_path: Path, host: str, family: socket.AddressFamily) -> None:
    if family == socket.AF_INET6 and not has_ipv6():
        pytest.skip("this computer has no IPv6")
    port = free_port()
    command = [sys.executable, "-m", "entrepot", "serve", "--root", str(tmp_path), "--listen", f"{host}:{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            assert process.stdout is not None
            assert f"{host}:{port}".encode() in process.stdout.readline()
            answer = ask_when_it_listens(host.strip("[]"), port)
        finally:
            process.terminate()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert process.returncode == 0


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def ask_when_it_listens(host: str, port: int) -> bytes:
    deadline = time.monotonic() + 100
    while True:
        try:
            with socket.create_connection((host, port), timeout=100) as connection:
                connection.sendall(request("GET", "/v2/"))
                return connection.recv(1000)
        except OSError:
            assert time.monotonic() < deadline, "it does not listen"
            time.sleep(0.05)


def test_start_on_an_existing_folder_serves_what_is_there(start: Starter) -> None:
    first = start(workers=2)
    layer = push_image(first.port, "start/kept", "v1", b"a layer")
    assert first.stop() == 0
    before = look(first.root)
    second = start(workers=3, root=first.root)
    assert ask(second.port, "GET", f"/v2/start/kept/blobs/{layer}").body == b"a layer"
    assert ask(second.port, "GET", "/v2/start/kept/manifests/v1").status == 200
    assert look(first.root) == before


@pytest.mark.slow
def test_two_servers_share_a_folder(start: Starter) -> None:
    """On other ports. One writes, the other knows."""
    first = start(workers=2)
    second = start(workers=2, root=first.root)
    assert put_manifest(first.port, "start/shared", "v1", INDEX).status == 201
    assert ask(second.port, "GET", "/v2/start/shared/manifests/v1").body == INDEX
    assert put_manifest(second.port, "start/shared", "v2", INDEX).status == 201
    assert ask(first.port, "GET", "/v2/start/shared/tags/list").body.endswith(b'["v1","v2"]}')


def test_start_on_a_database_of_a_later_version_is_refused_and_leaves_it_alone(start: Starter) -> None:
    process = start()
    assert put_manifest(process.port, "start/later", "v1", INDEX).status == 201
    process.stop()
    database = process.root / "entrepot.db"
    set_revision(database, "9999")
    assert_refused(serve(process.root), str(database), "later version of entrepot", "9999", "install that version")
    set_revision(database, HEAD)
    process.start()
    assert ask(process.port, "GET", "/v2/start/later/manifests/v1").body == INDEX


def set_revision(database: Path, revision: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.execute("UPDATE compatibility SET least = ?", (revision,))


def test_start_on_something_that_is_no_database_is_refused_and_leaves_it_alone(tmp_path: Path) -> None:
    (tmp_path / "entrepot.db").write_bytes(b"precious notes" * 1000)
    assert_refused(serve(tmp_path), "entrepot.db")
    assert (tmp_path / "entrepot.db").read_bytes() == b"precious notes" * 1000


@pytest.mark.parametrize("root", ["a_file", "below_a_file"])
def test_start_where_no_folder_can_be_is_refused(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").write_text("here")
    folder = tmp_path / "file" if root == "a_file" else tmp_path / "file" / "below"
    assert_refused(serve(folder), "cannot write to", str(tmp_path / "file"))


def test_start_says_where_it_listens_and_how_to_push(start: Starter) -> None:
    process = start(workers=2)
    lines = process.log_text().splitlines()
    assert lines[0] == f"entrepot listens on http://{process.host} (2 workers) and stores in {process.root}"
    assert re.fullmatch(rf"push with: docker push localhost:{process.port}/NAME:TAG +stop with: Ctrl-C", lines[1])


@pytest.mark.slow
def test_many_servers_start_at_once_on_one_new_folder(tmp_path: Path) -> None:
    """Whoever comes first makes the tables; nobody stumbles over it."""
    processes = [RegistryProcess(tmp_path / "root", workers=2) for _ in range(3)]
    commands = [
        [sys.executable, "-m", "entrepot", "serve", "--root", str(tmp_path / "root"), "--listen", process.host]
        for process in processes
    ]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for command in commands]
    try:
        for process in processes:
            assert ask_when_it_listens("127.0.0.1", process.port).startswith(b"HTTP/1.1 200")
            assert put_manifest(process.port, "start/at_once", f"v{process.port}", INDEX).status == 201
    finally:
        for each in running:
            each.terminate()
        outputs = [each.communicate()[0].decode() for each in running]
    assert [each.returncode for each in running] == [0, 0, 0]
    assert not any("Traceback" in output or "[ERROR]" in output for output in outputs), outputs
