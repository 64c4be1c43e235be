"""Ceph's S3 gateway on the smallest cluster there is: one monitor, one disk daemon, one gateway; no manager.

It differs from Amazon in a few things (release 16.2): ``If-None-Match`` is ignored by CompleteMultipartUpload, a wrong
``x-amz-checksum-sha256`` is accepted, and ``If-Match`` wants its ETag without quotation marks.
"""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

from entrepot.testing.server import free_port

from .program import Program, find_program
from .s3 import answers

_DISK_BYTES = 20 << 30  # sparse: what is deleted is given back after a minute or two only
_POOLS = ("default.rgw.buckets.index", "default.rgw.buckets.data", "default.rgw.buckets.non-ec")
_CONFIG = """
[global]
fsid = {cluster}
mon host = [v2:127.0.0.1:{monitor_port}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind msgr1 = false
# between the ports that tests give out and those of the system
ms bind port min = 32000
ms bind port max = 32700
auth allow insecure global id reclaim = false
keyring = {folder}/keyring
admin socket =
run dir = {folder}
crash dir = {folder}
log file =
log to stderr = true
err to stderr = true
mon cluster log file = {folder}/cluster.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
# the defaults make a start take twice as long
paxos propose interval = 0.05
paxos min wait = 0.01
[mon.a]
mon data = {folder}/mon
mon data avail warn = 1
mon data avail crit = 1
[osd.0]
osd data = {folder}/osd
osd objectstore = bluestore
bluestore block size = {disk_bytes}
osd memory target = 939524096
[client.rgw]
rgw data = {folder}/rgw
# without tcp_nodelay each small answer takes 40 ms
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw enable apis = s3, admin
rgw dynamic resharding = false
rgw gc obj min wait = 60
rgw gc processor period = 60
"""


class CephServer:
    """``folder`` is made. ``gateway`` is what S3 clients talk to: stop, kill or freeze it for an outage."""

    title = "ceph"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.access_key, self.secret_key = uuid.uuid4().hex[:20], uuid.uuid4().hex
        self._folder = folder
        self._config = folder / "ceph.conf"
        self._monitor = self._daemon("ceph-mon", "-i", "a")
        self._disk = self._daemon("ceph-osd", "-i", "0")
        self.gateway = self._daemon("radosgw", "-n", "client.rgw")
        self._admin = find_program("radosgw-admin")
        self._ceph = find_program("ceph")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pids(self) -> list[int]:
        return [program.pid for program in (self.gateway, self._disk, self._monitor)]

    def start(self) -> None:
        """Return when it answers, after about six seconds the first time."""
        is_new = not self._folder.exists()
        if is_new:
            self._make_monitor()
        self._monitor.start()
        if is_new:
            self._make_disk()
        self._disk.start(self._disk_is_up)
        if is_new:
            self._make_pools()
        self.start_gateway()
        if is_new:
            self._make_user()

    def stop(self) -> None:
        """Ends with SIGKILL, which loses nothing and is quicker."""
        for program in (self.gateway, self._disk, self._monitor):
            program.kill()

    def start_gateway(self) -> None:
        self.gateway.start(lambda: answers(self.port, "/"))

    def restart_gateway(self) -> None:
        self.gateway.stop()
        self.start_gateway()

    def admin(self, *arguments: str) -> str:
        """Run ``radosgw-admin``, for users and their rights."""
        return self._run(self._admin, "-n", "client.rgw", *arguments)

    def _daemon(self, program: str, *arguments: str) -> Program:
        command = [find_program(program), "-f", "-c", str(self._config), *arguments]
        return Program(command, log=self._folder / f"{program}.log")

    def _make_monitor(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True)
        for part in ("mon", "osd", "rgw"):
            (self._folder / part).mkdir()
        address = f"[v2:127.0.0.1:{(monitor_port := free_port())}]"
        cluster = str(uuid.uuid4())
        values = {"cluster": cluster, "monitor_port": monitor_port, "folder": self._folder, "port": self.port}
        self._config.write_text(_CONFIG.format(**values, disk_bytes=_DISK_BYTES))
        keys, monmap = str(self._folder / "keyring"), str(self._folder / "monmap")
        make_key = (find_program("ceph-authtool"), keys, "--gen-key")
        self._run(*make_key, "--create-keyring", "-n", "mon.", "--cap", "mon", "allow *")
        for name in ("client.admin", "client.rgw", "osd.0"):
            self._run(*make_key, "-n", name, "--cap", "mon", "allow *", "--cap", "osd", "allow *")
        self._run(find_program("monmaptool"), "--create", "--addv", "a", address, "--fsid", cluster, monmap)
        self._run(find_program("ceph-mon"), "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keys)

    def _make_disk(self) -> None:
        number = str(uuid.uuid4())
        self._run(self._ceph, "--connect-timeout", "60", "osd", "new", number)
        self._run(find_program("ceph-osd"), "-i", "0", "--mkfs", "--osd-uuid", number)

    def _disk_is_up(self) -> bool:
        return "1 up" in self._run(self._ceph, "--connect-timeout", "60", "osd", "stat")

    def _make_pools(self) -> None:
        """Else the gateway makes them at the first requests, which then take seconds."""
        commands = [f"osd pool create {pool} 4\nosd pool application enable {pool} rgw\n" for pool in _POOLS]
        self._run(self._ceph, "--connect-timeout", "60", stdin="".join(commands))

    def _make_user(self) -> None:
        keys = (f"--access-key={self.access_key}", f"--secret-key={self.secret_key}")
        self.admin("user", "create", "--uid=tests", "--display-name=tests", *keys, "--max-buckets=0")

    def _run(self, program: str, *arguments: str, stdin: str = "") -> str:
        command = [program, "-c", str(self._config), *arguments] if "tool" not in program else [program, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout
