"""The load balancers of ``deploy/``, run with the very files, in front of replicas on this computer."""

from __future__ import annotations

import csv
import socket
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from entrepot.testing.server import free_port
from tests.deploy.places import DEPLOY
from tests.services.program import Program, find_program

_NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/registry.conf;
}}
"""


class LoadBalancer:
    """Stands before three replicas, given as HOST:PORT."""

    def __init__(self, folder: Path, replicas: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.host = f"127.0.0.1:{free_port()}"
        self.environment = {"REGISTRY_LISTEN": self.host}
        self.environment |= {f"REGISTRY_REPLICA_{number}": host for number, host in enumerate(replicas, 1)}

    def command(self) -> list[str]:
        """To run in the foreground."""
        raise NotImplementedError

    def check_command(self) -> list[str]:
        """To check the configuration and end."""
        raise NotImplementedError

    def start(self) -> None:
        self._program = Program(self.command(), log=self.folder / "log", environment=self.environment)
        self._program.start(lambda: _listens(self.host))

    def stop(self) -> None:
        self._program.stop()

    def sees_all_replicas(self) -> bool:
        """Whether it would give a request to each of them."""
        return True


class Haproxy(LoadBalancer):
    def __init__(self, folder: Path, replicas: Sequence[str], more: Mapping[str, str] | None = None) -> None:
        """``more``: environment for haproxy-tls.cfg, which is left out without it."""
        super().__init__(folder, replicas)
        self.admin = f"127.0.0.1:{free_port()}"
        self._socket = str(folder / "s")
        self.environment |= {"REGISTRY_ADMIN": self.admin, "REGISTRY_SOCKET": self._socket, **(more or {})}
        self._files = [DEPLOY / "haproxy.cfg", *([DEPLOY / "haproxy-tls.cfg"] if more else [])]

    def command(self) -> list[str]:
        return [find_program("haproxy"), "-W", "-db", *(word for file in self._files for word in ("-f", str(file)))]

    def check_command(self) -> list[str]:
        return [*self.command(), "-c"]

    def sees_all_replicas(self) -> bool:
        states = self.states()
        return len(states) == 9 and set(states.values()) == {"UP"}

    def states(self) -> dict[str, str]:
        """Of each replica in each backend, as ``ready/replica1``, what HAProxy takes it for."""
        with urllib.request.urlopen(f"http://{self.admin}/;csv", timeout=30) as answer:
            rows = csv.DictReader(answer.read().decode().removeprefix("# ").splitlines())
        return {f"{row['pxname']}/{row['svname']}": row["status"] for row in rows if "replica" in row["svname"]}

    def order(self, command: str) -> None:
        """Give a command over the socket, as an operator does."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._socket)
            connection.sendall(f"{command}\n".encode())
            answer = connection.recv(4096).decode().strip()
        assert not answer, answer


class Nginx(LoadBalancer):
    def __init__(self, folder: Path, replicas: Sequence[str]) -> None:
        super().__init__(folder, replicas)
        template = Template((DEPLOY / "nginx.conf.template").read_text("utf-8"))
        (folder / "registry.conf").write_text(template.safe_substitute(self.environment))  # as envsubst does
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder))

    def command(self) -> list[str]:
        folder = str(self.folder)
        return [find_program("nginx"), "-e", f"{folder}/error.log", "-p", folder, "-c", f"{folder}/nginx.conf"]

    def check_command(self) -> list[str]:
        return [*self.command(), "-t"]


def _listens(host: str) -> bool:
    address, _, port = host.partition(":")
    try:
        socket.create_connection((address, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
