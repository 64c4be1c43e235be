"""A certificate authority, with files named as clients' ``certs.d`` wants them."""

from __future__ import annotations

from pathlib import Path

import trustme


def write_authority(folder: Path) -> Path:
    """``ca.crt``; ``server.pem`` and ``server-key.pem`` for loopback; ``client.cert`` and ``client.key``."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    _write(authority.issue_cert("127.0.0.1", "localhost"), folder / "server.pem", folder / "server-key.pem")
    _write(authority.issue_cert("ada@example.com"), folder / "client.cert", folder / "client.key")
    return folder


def _write(issued: trustme.LeafCert, certificate: Path, key: Path) -> None:
    issued.private_key_pem.write_to_path(key)
    for pem in issued.cert_chain_pems:
        pem.write_to_path(certificate, append=True)
