"""What a registry offers to these tests; Debian's docker-registry in that shape, to compare behaviour."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from entrepot.testing.server import free_port

from .programs import Daemon, require_program
from .wire import ask

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "{host}"}}
"""


# bob:hunter2, by `htpasswd -nbB`
_HTPASSWD = "bob:$2b$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.\n"


class Registry(Protocol):
    """A running registry: ``host`` is what users type before the repository."""

    @property
    def host(self) -> str: ...

    @property
    def url(self) -> str: ...


class DockerRegistry(Daemon):
    """CNCF distribution as Debian ships it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.host}"
        root.mkdir(parents=True, exist_ok=True)
        config = root / "config.yml"
        config.write_text(_CONFIG.format(root=root / "data", host=self.host))
        command = [require_program("docker-registry"), "serve", str(config)]
        super().__init__(command, log=root / "log", is_ready=self._answers)

    def _answers(self) -> bool:
        try:
            return ask("GET", self.host, "/v2/").status == 200
        except OSError:
            return False


class PasswordRegistry(DockerRegistry):
    """Debian's docker-registry with bob's password."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        passwords = root / "htpasswd"
        passwords.write_text(_HTPASSWD)
        with (root / "config.yml").open("a") as config:
            config.write(f'auth: {{htpasswd: {{realm: registry, path: "{passwords}"}}}}\n')

    def _answers(self) -> bool:
        try:
            return ask("GET", self.host, "/v2/").status == 401
        except OSError:
            return False
