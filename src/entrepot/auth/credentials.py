"""Where a user's logins are kept: what docker and podman use, in docker's order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from entrepot.auth.auth_file import (
    changing,
    decode_entry,
    encode_entry,
    find_entry,
    helper_names,
    keys_of,
    parse_auth_file,
    read_auth_file,
    section,
    server_key,
)
from entrepot.auth.credential_helper import CredentialHelper, CredentialHelperFailed
from entrepot.auth.secret import Credentials, Secret
from entrepot.errors import ConfigInvalid

__all__ = ["CredentialStore", "Credentials", "Secret"]

ENVIRONMENT_VARIABLE = "DOCKER_AUTH_CONFIG"


class CredentialStore:
    """The logins of one user. All methods block: they read files and run credential helpers.

    Several threads may look for logins at a time.
    Looked through in this order: ``DOCKER_AUTH_CONFIG``; the helper in ``credHelpers``, the one in ``credsStore``, and
    ``auths`` of docker's ``config.json``; the same of podman's ``auth.json``. ``authfile`` stands for all of them.
    """

    def __init__(
        self, environment: Mapping[str, str], home: Path, warn: Callable[[str], None], authfile: Path | None = None
    ) -> None:
        """``warn`` is told, once each, what could not be used; a lookup goes on without it."""
        self._environment = environment
        self._home = home
        self._warn = warn
        self._warned: set[str] = set()
        self._authfile = authfile
        self._asking = threading.Lock()
        self._answers: dict[tuple[str, str], Credentials | None] = {}  # of helpers

    def find(self, domain: str, path: str = "") -> Credentials | None:
        """The login for a repository ``path`` of the registry ``domain``, or for the registry; None for nobody."""
        return next((credentials for credentials, _ in self._logins(domain, path)), None)

    def source(self, domain: str) -> str | None:
        """Where the registry's login comes from: a file, or the name of a variable. None when there is no login."""
        return next((source for _, source in self._logins(domain, "")), None)

    def save(self, domain: str, credentials: Credentials) -> Path | None:
        """Keep a login, in place of the one that was there. The file it is in if that is plain text, None if not.

        Raises ConfigInvalid when the file cannot be understood, and CredentialHelperFailed.
        """
        key = server_key(domain)
        self._answers.clear()
        with changing(self.file) as settings:
            entries = settings.setdefault("auths", {})
            if not isinstance(entries, dict):
                raise ConfigInvalid(f'{self.file}: expected "auths" to be an object', source=str(self.file))
            for old in keys_of(settings, domain):
                del entries[old]
            helper = self._helper(settings, domain)
            if helper is None:
                entries[key] = encode_entry(credentials)
                return self.file
            helper.store(key, credentials)
            entries[key] = {}  # that there is a login; docker writes this as well
            return None

    def erase(self, domain: str) -> bool:
        """Forget a login; whether there was one. Raises ConfigInvalid and CredentialHelperFailed."""
        if not self.file.exists():
            return False
        self._answers.clear()
        with changing(self.file) as settings:
            helper = self._helper(settings, domain)
            was_kept = helper is not None and helper.get(server_key(domain)) is not None
            if helper is not None and was_kept:
                helper.erase(server_key(domain))
            keys = keys_of(settings, domain)
            for key in keys:
                del settings["auths"][key]
            return was_kept or bool(keys)

    @property
    def file(self) -> Path:
        """The file that logins are written to."""
        if self._authfile is not None:
            return self._authfile
        folder = self._environment.get("DOCKER_CONFIG")
        return (Path(folder) if folder else self._home / ".docker") / "config.json"

    def _logins(self, domain: str, path: str) -> Iterator[tuple[Credentials, str]]:
        for settings, source, is_docker in self._sources():
            found = self._from_helpers(settings, domain)
            if found is None:
                found = self._from_entries(settings, source, domain, path, any_path=is_docker)
            if found is not None:
                yield found, source

    def _sources(self) -> Iterator[tuple[dict[str, Any], str, bool]]:
        """Settings, what to call them, and whether docker's rules hold for their keys."""
        if self._authfile is not None:
            yield self._read(self._authfile), str(self._authfile), False
            return
        text = self._environment.get(ENVIRONMENT_VARIABLE)
        if text:
            yield self._parsed(text), ENVIRONMENT_VARIABLE, True
        yield self._read(self.file), str(self.file), True
        for file in self._podman_files():
            yield self._read(file), str(file), False

    def _podman_files(self) -> list[Path]:
        explicit = self._environment.get("REGISTRY_AUTH_FILE")
        if explicit:
            return [Path(explicit)]
        runtime = self._environment.get("XDG_RUNTIME_DIR")
        settings = self._environment.get("XDG_CONFIG_HOME")
        folders = [Path(runtime)] if runtime else []
        folders.append(Path(settings) if settings else self._home / ".config")
        return [folder / "containers" / "auth.json" for folder in folders]

    def _parsed(self, text: str) -> dict[str, Any]:
        try:
            settings = parse_auth_file(text.encode("utf-8", "surrogateescape"), ENVIRONMENT_VARIABLE)
        except ConfigInvalid as error:
            self._warn_once(error.message)
            return {}
        return {"auths": section(settings, "auths")}  # docker takes nothing else from there

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            return read_auth_file(file)
        except ConfigInvalid as error:
            self._warn_once(error.message)
            return {}

    def _from_helpers(self, settings: dict[str, Any], domain: str) -> Credentials | None:
        answers = (self._ask_helper(name, server_key(domain)) for name in helper_names(settings, domain))
        return next((found for found in answers if found is not None), None)

    def _ask_helper(self, name: str, server: str) -> Credentials | None:
        """Once for each registry: a run over many repositories is not to ask its user for permission each time."""
        with self._asking:
            if (name, server) not in self._answers:
                try:
                    self._answers[name, server] = CredentialHelper(name, self._environment).get(server)
                except CredentialHelperFailed as error:
                    self._answers[name, server] = None
                    self._warn_once(error.message)
            return self._answers[name, server]

    def _from_entries(
        self, settings: dict[str, Any], source: str, domain: str, path: str, *, any_path: bool
    ) -> Credentials | None:
        entry = find_entry(settings, domain, path, any_path=any_path)
        if entry is None:
            return None
        try:
            return decode_entry(entry, source)
        except ConfigInvalid as error:
            self._warn_once(error.message)
            return None

    def _helper(self, settings: dict[str, Any], domain: str) -> CredentialHelper | None:
        names = helper_names(settings, domain)
        return CredentialHelper(names[0], self._environment) if names else None

    def _warn_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            self._warn(message)
