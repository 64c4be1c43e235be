"""Files with logins: docker's ``config.json`` and podman's ``auth.json``, which have the same form.

``{"auths": {KEY: {"auth": base64("user:password"), "identitytoken": ...}}, "credHelpers": {HOST: NAME},
"credsStore": NAME}``. All functions block.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entrepot.auth.secret import Credentials, Secret, encode_basic
from entrepot.errors import ConfigInvalid

MAX_FILE_SIZE = 4 * 1024 * 1024
DOCKER_HUB = "docker.io"
DOCKER_HUB_KEY = "https://index.docker.io/v1/"

_DOCKER_HUB_HOSTS = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
_API_PATHS = frozenset({"", "v1", "v2"})  # of keys that are addresses, as old versions of docker wrote them


def server_key(domain: str) -> str:
    """What docker calls a registry in its file and towards credential helpers."""
    return DOCKER_HUB_KEY if domain in _DOCKER_HUB_HOSTS else domain


def parse_auth_file(content: bytes, source: str) -> dict[str, Any]:
    """The settings in ``content``. Raises ConfigInvalid, naming ``source``."""
    try:
        value = json.loads(content) if content.strip() else {}
    except (ValueError, RecursionError) as error:
        raise ConfigInvalid(f"{source} is not valid JSON: {str(error)[:200]}", source=source) from None
    if not isinstance(value, dict):
        raise ConfigInvalid(f"{source}: expected a JSON object, got {type(value).__name__}", source=source)
    return value


def read_auth_file(file: Path) -> dict[str, Any]:
    """The settings in ``file``; none when it is not there. Raises ConfigInvalid."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_SIZE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigInvalid(f"{file} cannot be read: {error.strerror}", source=str(file)) from error
    if len(content) > MAX_FILE_SIZE:
        raise ConfigInvalid(f"{file}: expected at most {MAX_FILE_SIZE} bytes", source=str(file))
    return parse_auth_file(content, str(file))


def find_entry(settings: dict[str, Any], domain: str, path: str, *, any_path: bool) -> Any:
    """What ``auths`` holds for a repository: the key with the longest part of its path, then that of the registry.

    ``any_path``: a key of the registry with any other path does as well, which is how docker reads its file.
    """
    entries = section(settings, "auths")
    known = [(_split_key(key), entry) for key, entry in entries.items() if entry]
    parts = path.split("/") if path else []
    wanted = [(_canonical(domain), "/".join(parts[:count])) for count in range(len(parts), -1, -1)]
    exact = [entry for place in wanted for key, entry in known if key == place]
    if not exact and any_path:
        exact = [entry for (host, _), entry in known if host == _canonical(domain)]
    return exact[0] if exact else None


def keys_of(settings: dict[str, Any], domain: str) -> list[str]:
    """The keys of ``auths`` that stand for the whole registry."""
    return [key for key in section(settings, "auths") if _split_key(key) == (_canonical(domain), "")]


def helper_names(settings: dict[str, Any], domain: str) -> list[str]:
    """The credential helpers to ask for the registry, the most particular first."""
    by_host = {_split_key(key): name for key, name in section(settings, "credHelpers").items()}
    names = [by_host.get((_canonical(domain), "")), settings.get("credsStore")]
    return [name for name in names if isinstance(name, str) and name]


def section(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """An object in the settings; an empty one when it is missing or of another kind."""
    value = settings.get(name)
    return value if isinstance(value, dict) else {}


def decode_entry(entry: Any, source: str) -> Credentials | None:
    """The login in an entry of ``auths``, if it holds one. Raises ConfigInvalid."""
    if not isinstance(entry, dict):
        raise ConfigInvalid(f"{source}: expected an object for each registry below auths", source=source)
    username, password = _text(entry.get("username")), _text(entry.get("password"))
    encoded = _text(entry.get("auth"))
    if encoded:
        username, password = _decode(encoded, source)
    token = _text(entry.get("identitytoken"))
    if not token and not password:
        return None
    return Credentials(username, Secret(password), Secret(token) if token else None)


def encode_entry(credentials: Credentials) -> dict[str, str]:
    """The entry of ``auths`` for a login. With an identity token the password is not kept, as docker has it."""
    token = credentials.identity_token
    if token is None:
        return {"auth": encode_basic(credentials.username, credentials.password.reveal())}
    return {"auth": encode_basic(credentials.username, ""), "identitytoken": token.reveal()}


@contextlib.contextmanager
def changing(file: Path) -> Iterator[dict[str, Any]]:
    """The settings in ``file``, to be changed in place; they are written if the block ends well.

    One process at a time; the others wait. The file behind a link is changed, and keeps its owner and mode.
    Raises ConfigInvalid when the file cannot be understood: then it is left alone.
    """
    target = Path(os.path.realpath(file))
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        settings = read_auth_file(target)
        before = json.dumps(settings)
        yield settings
        if json.dumps(settings) != before:
            _replace(target, (json.dumps(settings, indent="\t", ensure_ascii=False) + "\n").encode())
    finally:
        os.close(folder)


def _replace(target: Path, content: bytes) -> None:
    fd, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 0600
    temporary = Path(name)
    try:
        with open(fd, "wb") as opened:
            opened.write(content)
            opened.flush()
            _keep_owner_and_mode(fd, target)
            os.fsync(fd)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _keep_owner_and_mode(fd: int, target: Path) -> None:
    with contextlib.suppress(FileNotFoundError, PermissionError):
        old = target.stat()
        os.fchmod(fd, old.st_mode & 0o777)
        os.fchown(fd, old.st_uid, old.st_gid)


def _split_key(key: str) -> tuple[str, str]:
    """Host and path of a key: ``https://index.docker.io/v1/`` is all of docker.io."""
    _, scheme, rest = key.rpartition("://")
    host, _, path = (rest if scheme else key).partition("/")
    path = path.strip("/")
    return _canonical(host), "" if path in _API_PATHS else path


def _canonical(host: str) -> str:
    host = host.lower()
    return DOCKER_HUB if host in _DOCKER_HUB_HOSTS else host


def _decode(encoded: str, source: str) -> tuple[str, str]:
    try:
        username, colon, password = base64.b64decode(encoded).decode("utf-8").partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise ConfigInvalid(f'{source}: expected "auth" to be the Base64 of USER:PASSWORD', source=source)
    return username, password.strip("\0")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
