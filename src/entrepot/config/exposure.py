"""The registry does not let strangers in by accident."""

from __future__ import annotations

from entrepot.config.model import Settings
from entrepot.config.values import is_loopback
from entrepot.errors import ConfigInvalid


def check_exposure(settings: Settings) -> None:
    """Raise ConfigInvalid if other computers could reach the server and nobody said that they may."""
    server = settings.server
    if is_loopback(server.host) or server.behind_proxy or server.allow_anonymous_push:
        return
    raise ConfigInvalid(
        f"refusing to listen on {server.listen}: other computers can reach this address, and as this version "
        "has no logins, everybody who reaches it could pull, push and delete",
        key="server.listen",
        got=server.listen,
        hint=_WHAT_TO_WRITE,
    )


_WHAT_TO_WRITE = """write one of these:
  --listen 127.0.0.1:5000    server.listen = "127.0.0.1:5000"       only this computer
  --behind-proxy             server.behind_proxy = true             a proxy in front asks for logins
  --allow-anonymous-push     server.allow_anonymous_push = true     everybody may do everything
TLS alone is not enough: it hides the traffic, but asks nobody who they are."""
