"""nginx with TLS in front of a registry, as people have it, mistakes included."""

from __future__ import annotations

import socket
from pathlib import Path

from entrepot.testing.server import free_port

from .programs import Daemon, require_program

_CONFIG = """\
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {host} ssl;
        ssl_certificate {authority}/server.pem;
        ssl_certificate_key {authority}/server-key.pem;
        {settings}
        location / {{
            proxy_pass http://{upstream};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_request_buffering off;
            proxy_buffering off;
        }}
    }}
}}
"""
WANTS_CLIENT_CERTIFICATE = "ssl_verify_client on; ssl_client_certificate {authority}/ca.crt;"


class Nginx(Daemon):
    """Ends TLS at ``host`` and hands requests to ``upstream`` (HOST:PORT) without a word about the scheme.

    ``settings`` are nginx's own, for the server; ``{authority}`` in them is replaced.
    """

    def __init__(self, folder: Path, upstream: str, authority: Path, settings: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host = f"127.0.0.1:{free_port()}"
        config = folder / "nginx.conf"
        settings = settings.format(authority=authority)
        config.write_text(
            _CONFIG.format(folder=folder, host=self.host, authority=authority, upstream=upstream, settings=settings)
        )
        command = [require_program("nginx"), "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(config)]
        super().__init__(command, log=folder / "log", is_ready=self._listens)

    def _listens(self) -> bool:
        address, _, port = self.host.partition(":")
        try:
            socket.create_connection((address, int(port)), timeout=1).close()
        except OSError:
            return False
        return True
