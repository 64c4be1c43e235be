"""A certificate authority for one test run, and clients that trust it."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Files for the server, and the authority behind them."""

    authority: trustme.CA
    chain: Path
    key: Path

    @property
    def flags(self) -> tuple[str, ...]:
        return "--tls-certificate", str(self.chain), "--tls-key", str(self.key)

    def client(self, *, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """What a client needs; with ``version`` it speaks no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context

    def connect(self, port: int, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """Raises ssl.SSLError when one side refuses the other."""
        connection = socket.create_connection(("127.0.0.1", port), timeout=100)
        try:
            return (context or self.client()).wrap_socket(connection, server_hostname="localhost")
        except BaseException:
            connection.close()
            raise


def make_certificates(folder: Path) -> Certificates:
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    chain, key = folder / "chain.pem", folder / "key.pem"
    for pem in leaf.cert_chain_pems:
        pem.write_to_path(chain, append=True)
    leaf.private_key_pem.write_to_path(key)
    return Certificates(authority, chain, key)
