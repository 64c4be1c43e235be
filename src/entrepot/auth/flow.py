"""The way from a challenge to the value of ``Authorization``, as generators of the requests that it takes.

A generator yields TokenRequests, is sent a TokenResponse for each, and returns. Who drives it does the I/O::

    flow = authorizer.challenged(challenges, scopes, sent=header)
    try:
        wanted = next(flow)
        while True:
            wanted = flow.send(await ask(wanted))
    except StopIteration as done:
        header = done.value
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from entrepot.auth.challenge import Challenge
from entrepot.auth.realm import require_allowed_realm, require_secret_transport
from entrepot.auth.scope import Scope, merge, parse_scopes
from entrepot.auth.secret import Credentials, Secret, basic
from entrepot.auth.token import Grant, TokenRequest, TokenResponse, TokenService, read_grant, read_refusal, refusal
from entrepot.errors import AccessDenied, Unauthenticated

__all__ = ["Authorizer", "Login", "TokenRequest", "TokenResponse", "log_in"]

MAX_TOKENS = 256
EXPIRY_MARGIN_SECONDS = 10.0  # a request takes its time to arrive

_NO_REFRESH = frozenset({400, 401, 404, 405})  # the service knows no refresh tokens, or not this one

Flow = Generator[TokenRequest, TokenResponse, str]
GrantFlow = Generator[TokenRequest, TokenResponse, Grant]


@dataclass(frozen=True, slots=True)
class _Token:
    header: str = field(repr=False)
    scopes: frozenset[Scope]
    good_until: float

    def does_for(self, scopes: Iterable[Scope]) -> bool:
        return all(any(own.covers(asked) for own in self.scopes) for asked in scopes)


@dataclass(frozen=True, slots=True)
class Login:
    """A login that the token service took. ``identity_token`` stands for the password from now on, if there is one."""

    header: str = field(repr=False)
    identity_token: Secret | None = None


class Authorizer:
    """Logs in to one registry endpoint with one user's credentials, and remembers the tokens."""

    def __init__(
        self,
        find: Callable[[], Credentials | None],
        *,
        clock: Callable[[], float],
        endpoint: str,
        allow_realm: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """``find`` looks for credentials: once, when they are wanted, and it may block. ``clock`` gives seconds.
        ``endpoint`` is ``SCHEME://HOST:PORT``. ``allow_realm`` may refuse token services that our own rules allow."""
        self._find = find
        self._clock = clock
        self._endpoint = endpoint
        self._allow_realm = allow_realm
        self._found: tuple[Credentials | None] | None = None
        self._basic: str | None = None
        self._tokens: dict[frozenset[Scope], _Token] = {}
        self._refresh_tokens: dict[TokenService, Secret] = {}
        self._without_refresh: set[TokenService] = set()

    def header(self, scopes: frozenset[Scope]) -> str | None:
        """What to send for ``scopes`` now, as far as it is known; None sends the request without."""
        if self._basic is not None:
            return self._basic
        now = self._clock()
        for token in self._tokens.values():
            if now < token.good_until and token.does_for(scopes):
                return token.header
        return None

    def challenged(self, challenges: list[Challenge], scopes: frozenset[Scope], *, sent: str | None) -> Flow:
        """What to send for ``scopes`` after a 401 with ``challenges``; ``sent`` is what the refused request carried.

        When another request has got a new token since, it is that one, with nothing asked.
        Raises Unauthenticated when a login is missing or wrong, and AccessDenied when the token service may not be
        asked, or when what was sent is all that this user can get.
        """
        bearer = _bearer(challenges)
        if bearer is None:
            return self._basic_header(challenges, sent)
        wanted = merge(scopes | parse_scopes(bearer.parameters.get("scope", "")))
        known = self.header(wanted)
        if known is not None and known != sent:
            return known
        self._require_hope(bearer, wanted, sent)
        self._forget(sent)
        asked_at = self._clock()
        grant = yield from self._ask(TokenService.of(bearer), wanted)
        return self._remember(grant, wanted, asked_at)

    @property
    def credentials(self) -> Credentials | None:
        """Whose credentials are used, looked up at the first time; this may block."""
        if self._found is None:
            self._found = (self._find(),)
        return self._found[0]

    @property
    def _registry(self) -> str:
        return urlsplit(self._endpoint).netloc

    def _basic_header(self, challenges: list[Challenge], sent: str | None) -> str:
        if not any(challenge.scheme == "basic" for challenge in challenges):
            raise refusal(with_credentials=False, registry=self._registry)
        credentials = self.credentials
        if credentials is None or not credentials.password:
            raise Unauthenticated("no basic auth credentials", registry=self._registry)
        require_secret_transport(self._endpoint)
        header = basic(credentials)
        if sent == header:
            self._basic = None
            raise refusal(with_credentials=True, registry=self._registry)
        self._basic = header
        return header

    def _require_hope(self, bearer: Challenge, wanted: frozenset[Scope], sent: str | None) -> None:
        """A token that was asked for with all these scopes and has not got them: to ask again changes nothing."""
        if sent is None or bearer.parameters.get("error") != "insufficient_scope":
            return
        if not any(token.header == sent and token.does_for(wanted) for token in self._tokens.values()):
            return
        if self.credentials is None:
            raise refusal(with_credentials=False, registry=self._registry)
        scopes = " ".join(sorted(map(str, wanted)))
        message = "denied: requested access to the resource is denied"
        raise AccessDenied(message, registry=self._registry, scope=scopes, username=self.credentials.username)

    def _forget(self, header: str | None) -> None:
        self._basic = None
        self._tokens = {scopes: token for scopes, token in self._tokens.items() if token.header != header}

    def _ask(self, service: TokenService, scopes: frozenset[Scope]) -> GrantFlow:
        credentials = self.credentials
        if credentials is not None:
            require_secret_transport(self._endpoint)  # a token is as good as a password
        _require_allowed(service, self._endpoint, self._allow_realm, with_credentials=credentials is not None)
        refresh_token = self._refresh_tokens.get(service) or (credentials.identity_token if credentials else None)
        if refresh_token is not None and service not in self._without_refresh:
            response = yield service.post(scopes, refresh_token)
            if response.status == 200:
                return self._kept(service, read_grant(response, service.host))
            if response.status not in _NO_REFRESH or credentials is None or not credentials.password:
                raise read_refusal(response, service.host, with_credentials=True)
            self._without_refresh.add(service)
        grant = yield from _ask_with_password(service, scopes, credentials)
        return self._kept(service, grant)

    def _kept(self, service: TokenService, grant: Grant) -> Grant:
        is_usable = self.credentials is not None and service not in self._without_refresh
        if grant.refresh_token is not None and is_usable:
            self._refresh_tokens[service] = grant.refresh_token
        return grant

    def _remember(self, grant: Grant, scopes: frozenset[Scope], asked_at: float) -> str:
        header = f"Bearer {grant.token.reveal()}"
        margin = min(EXPIRY_MARGIN_SECONDS, grant.lifetime_seconds / 10)
        while len(self._tokens) >= MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[scopes] = _Token(header, scopes, asked_at + grant.lifetime_seconds - margin)
        return header


def log_in(
    challenges: list[Challenge],
    credentials: Credentials,
    *,
    endpoint: str,
    allow_realm: Callable[[str], bool] = lambda _: True,
) -> Generator[TokenRequest, TokenResponse, Login]:
    """What a login has to send to ``/v2/`` next, after it was answered with ``challenges``, and what it may keep.

    Asks for no scope, and for a refresh token, as docker does. Raises Unauthenticated or AccessDenied.
    """
    registry = urlsplit(endpoint).netloc
    require_secret_transport(endpoint)
    bearer = _bearer(challenges)
    if bearer is None:
        if not any(challenge.scheme == "basic" for challenge in challenges):
            raise refusal(with_credentials=False, registry=registry)
        return Login(basic(credentials))
    service = TokenService.of(bearer)
    _require_allowed(service, endpoint, allow_realm, with_credentials=True)
    if credentials.identity_token is not None:
        response = yield service.post(frozenset(), credentials.identity_token)
        if response.status != 200:
            raise read_refusal(response, service.host, with_credentials=True)
        grant = read_grant(response, service.host)
    else:
        grant = yield from _ask_with_password(service, frozenset(), credentials, offline=True)
    return Login(f"Bearer {grant.token.reveal()}", grant.refresh_token or credentials.identity_token)


def _ask_with_password(
    service: TokenService, scopes: frozenset[Scope], credentials: Credentials | None, *, offline: bool = False
) -> GrantFlow:
    response = yield service.get(scopes, credentials, offline=offline)
    if response.status == 200:
        return read_grant(response, service.host)
    raise read_refusal(response, service.host, with_credentials=credentials is not None)


def _require_allowed(
    service: TokenService, endpoint: str, allow_realm: Callable[[str], bool], *, with_credentials: bool
) -> None:
    require_allowed_realm(service.realm, endpoint, with_credentials=with_credentials)
    if not allow_realm(service.realm):
        registry = urlsplit(endpoint).netloc
        raise AccessDenied(f"{registry} wants a login at {service.host}, which is not allowed", registry=registry)


def _bearer(challenges: list[Challenge]) -> Challenge | None:
    """The first Bearer challenge that names a token service; such a one is taken rather than Basic."""
    usable = (each for each in challenges if each.scheme == "bearer" and each.parameters.get("realm"))
    return next(usable, None)
