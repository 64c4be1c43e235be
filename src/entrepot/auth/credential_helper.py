"""Programs that keep passwords for docker: ``docker-credential-NAME`` (docker-credential-helpers).

They are asked through standard input and answer in JSON. All functions block.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from entrepot.auth.secret import Credentials, Secret
from entrepot.errors import RegistryError

TIME_LIMIT_SECONDS = 60.0  # it may be asking its user for permission

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_IDENTITY_TOKEN = "<token>"  # noqa: S105 - in place of a user's name: the secret is an identity token
_NOT_FOUND = "credentials not found"
_MAX_ANSWER = 1024 * 1024
_MAX_SHOWN = 200


class CredentialHelperFailed(RegistryError):
    """The program is not there, took too long, or said no."""


class CredentialHelper:
    """One such program, by the name in ``credsStore`` or ``credHelpers``."""

    def __init__(
        self, name: str, environment: Mapping[str, str], *, time_limit_seconds: float = TIME_LIMIT_SECONDS
    ) -> None:
        self.program = f"docker-credential-{name}"
        self._name = name
        self._environment = environment
        self._time_limit_seconds = time_limit_seconds

    def get(self, server: str) -> Credentials | None:
        """What it keeps for ``server``. Raises CredentialHelperFailed."""
        code, output = self._run("get", server)
        if code != 0 and _NOT_FOUND in output:
            return None
        answer = _json_object(self._good(code, output))
        username, secret = answer.get("Username"), answer.get("Secret")
        if not isinstance(username, str) or not isinstance(secret, str):
            raise self._failed("its answer is not the JSON of a credential helper")
        if not secret:
            return None
        if username == _IDENTITY_TOKEN:
            return Credentials("", Secret(""), Secret(secret))
        return Credentials(username, Secret(secret))

    def store(self, server: str, credentials: Credentials) -> None:
        """Keep them, in place of those that were there. Raises CredentialHelperFailed."""
        token = credentials.identity_token
        message = {
            "ServerURL": server,
            "Username": _IDENTITY_TOKEN if token else credentials.username,
            "Secret": (token or credentials.password).reveal(),
        }
        self._good(*self._run("store", json.dumps(message)))

    def erase(self, server: str) -> None:
        """Forget them. Raises CredentialHelperFailed."""
        code, output = self._run("erase", server)
        if code == 0 or _NOT_FOUND not in output:
            self._good(code, output)

    def _run(self, action: str, message: str) -> tuple[int, str]:
        """Exit code and output: with code 0 the answer, otherwise the reason."""
        program = (
            shutil.which(self.program, path=self._environment.get("PATH")) if _NAME.fullmatch(self._name) else None
        )
        if program is None:
            raise self._failed("it is not installed, or not in the PATH")
        pipe = subprocess.PIPE
        try:
            # no run(): after a timeout it would wait for those that the program has started and left behind
            with subprocess.Popen(  # noqa: S603 - the user's own settings name it
                [program, action], stdin=pipe, stdout=pipe, stderr=pipe, env=dict(self._environment)
            ) as process:
                output, errors = self._communicate(process, message)
        except OSError as error:
            raise self._failed(str(error)) from error
        return process.returncode, (output or errors)[:_MAX_ANSWER].decode("utf-8", "replace")

    def _communicate(self, process: subprocess.Popen[bytes], message: str) -> tuple[bytes, bytes]:
        try:
            return process.communicate(message.encode(), self._time_limit_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise self._failed(f"it did not answer within {self._time_limit_seconds:g} s") from None

    def _good(self, code: int, output: str) -> str:
        if code == 0:
            return output
        shown = "".join(each if each.isprintable() else " " for each in output.strip()[:_MAX_SHOWN])
        raise self._failed(shown or f"it ended with {code}")

    def _failed(self, why: str) -> CredentialHelperFailed:
        return CredentialHelperFailed(f"the credential helper {self.program} failed: {why}", program=self.program)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
