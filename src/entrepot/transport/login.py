"""Finds out whether a registry takes a login, as ``docker login`` does: by a request for ``/v2/``."""

from __future__ import annotations

from dataclasses import replace

from entrepot.auth.challenge import parse_challenges
from entrepot.auth.flow import log_in
from entrepot.auth.secret import Credentials, Secret
from entrepot.errors import Unauthenticated
from entrepot.transport.client import Call, Transport

_PING = "/v2/"


async def check_login(transport: Transport, domain: str, credentials: Credentials) -> Secret | None:
    """The identity token that the registry ``domain`` gives in place of the password, if it gives any.

    A registry that wants no login takes every one. Raises Unauthenticated when it refuses this one, AccessDenied when
    it could be read on its way there, ConnectionFailed.
    """
    call = Call(method="GET", domain=domain, accept=frozenset({200, 401}), login=False)
    async with transport.open(call) as answer:
        if answer.status == 200:
            return None
        challenges, url = parse_challenges(answer.headers.get("www-authenticate", "")), answer.url
    endpoint = url.partition("?")[0].removesuffix(_PING)
    try:
        login = await transport.drive(log_in(challenges, credentials, endpoint=endpoint))
    except Unauthenticated as error:
        raise Unauthenticated(f'Get "{endpoint}{_PING}": {error.message}', **error.detail) from error
    async with transport.open(replace(call, headers={"authorization": login.header})) as answer:
        if answer.status != 200:
            message = f"login attempt to {endpoint}{_PING} failed with status: 401 Unauthorized"
            raise Unauthenticated(message, registry=domain, status=answer.status)
    return login.identity_token
