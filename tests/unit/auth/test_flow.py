from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import pytest

from entrepot.auth.challenge import Challenge, parse_challenges
from entrepot.auth.flow import MAX_TOKENS, Authorizer, Login, log_in
from entrepot.auth.scope import Scope
from entrepot.auth.secret import Credentials, Secret, basic
from entrepot.auth.token import MAX_TOKEN_RESPONSE, TokenRequest, TokenResponse
from entrepot.errors import AccessDenied, RegistryError, Unauthenticated, Unavailable

REGISTRY = "https://registry.example.com"
REALM = "https://auth.example.com/token"
BOB = Credentials("bob", Secret("hunter2"))
BOB_S_TOKEN = Credentials("", Secret(""), Secret("identity-token"))
PULL = frozenset({Scope.pull("team/app")})
PUSH = frozenset({Scope.push("team/app")})
BEARER = parse_challenges(f'Bearer realm="{REALM}",service="registry",scope="repository:team/app:pull"')
BASIC = parse_challenges('Basic realm="registry"')

Result = TypeVar("Result")
Answer = Callable[[TokenRequest], TokenResponse]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class TokenService:
    """Answers by a script, and remembers what it was asked."""

    def __init__(self, *answers: TokenResponse) -> None:
        self.answers = list(answers)
        self.asked: list[TokenRequest] = []

    def drive(self, flow: Generator[TokenRequest, TokenResponse, Result]) -> Result:
        try:
            request = next(flow)
            while True:
                self.asked.append(request)
                request = flow.send(self.answers.pop(0))
        except StopIteration as done:
            result: Result = done.value
            return result

    def query(self, number: int = -1) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.asked[number].url).query)


def answer(status: int = 200, **fields: Any) -> TokenResponse:
    return TokenResponse(status, json.dumps(fields).encode(), "application/json")


def authorizer(credentials: Credentials | None = None, clock: Clock | None = None, **options: Any) -> Authorizer:
    options.setdefault("endpoint", REGISTRY)
    return Authorizer(lambda: credentials, clock=clock or Clock(), **options)


class TestBasic:
    def test_challenged_with_basic_gives_the_password(self) -> None:
        subject = authorizer(BOB)
        assert TokenService().drive(subject.challenged(BASIC, PULL, sent=None)) == basic(BOB)
        assert subject.header(PUSH) == basic(BOB)

    @pytest.mark.parametrize("credentials", [None, BOB_S_TOKEN], ids=["nobody", "identity token"])
    def test_challenged_with_basic_without_password_is_refused(self, credentials: Credentials | None) -> None:
        with pytest.raises(Unauthenticated, match=r"^no basic auth credentials$"):
            TokenService().drive(authorizer(credentials).challenged(BASIC, PULL, sent=None))

    def test_challenged_with_basic_again_says_that_the_password_is_wrong(self) -> None:
        subject = authorizer(BOB)
        TokenService().drive(subject.challenged(BASIC, PULL, sent=None))
        with pytest.raises(Unauthenticated, match=r"^unauthorized: incorrect username or password$"):
            TokenService().drive(subject.challenged(BASIC, PULL, sent=basic(BOB)))
        assert subject.header(PULL) is None

    def test_challenged_with_basic_over_plain_http_keeps_the_password(self) -> None:
        subject = authorizer(BOB, endpoint="http://registry.example.com")
        with pytest.raises(AccessDenied, match="is not sent over plain HTTP"):
            TokenService().drive(subject.challenged(BASIC, PULL, sent=None))
        assert subject.header(PULL) is None

    @pytest.mark.parametrize(
        "challenges", [[], parse_challenges("Negotiate"), [Challenge("bearer")]], ids=["none", "unknown", "no realm"]
    )
    def test_challenged_with_nothing_we_speak_is_refused(self, challenges: list[Challenge]) -> None:
        with pytest.raises(Unauthenticated, match=r"^unauthorized: authentication required$"):
            TokenService().drive(authorizer(BOB).challenged(challenges, PULL, sent=None))

    def test_challenged_with_both_prefers_bearer(self) -> None:
        service = TokenService(answer(token="T"))
        assert service.drive(authorizer(BOB).challenged([*BASIC, *BEARER], PULL, sent=None)) == "Bearer T"


class TestAsking:
    def test_challenged_without_login_asks_as_nobody(self) -> None:
        service = TokenService(answer(token="T"))
        assert service.drive(authorizer().challenged(BEARER, PULL, sent=None)) == "Bearer T"
        [request] = service.asked
        assert (request.method, dict(request.headers), request.form) == ("GET", {}, None)
        assert request.url.startswith(f"{REALM}?")
        assert service.query() == [("service", "registry"), ("scope", "repository:team/app:pull")]

    def test_challenged_with_login_sends_account_and_password(self) -> None:
        service = TokenService(answer(token="T"))
        service.drive(authorizer(BOB).challenged(BEARER, PUSH, sent=None))
        assert dict(service.asked[0].headers) == {"authorization": basic(BOB)}
        assert service.query() == [
            ("account", "bob"),
            ("service", "registry"),
            ("scope", "repository:team/app:pull,push"),
        ]

    def test_challenged_for_several_repositories_sends_several_scopes(self) -> None:
        service = TokenService(answer(token="T"))
        service.drive(authorizer().challenged(BEARER, PUSH | {Scope.pull("other")}, sent=None))
        scopes = [value for name, value in service.query() if name == "scope"]
        assert scopes == ["repository:other:pull", "repository:team/app:pull,push"]

    def test_challenged_with_a_query_in_the_realm_keeps_it(self) -> None:
        service = TokenService(answer(token="T"))
        challenges = [Challenge("bearer", {"realm": f"{REALM}?tenant=a#part"})]
        service.drive(authorizer().challenged(challenges, PULL, sent=None))
        assert service.asked[0].url == f"{REALM}?tenant=a&scope=repository%3Ateam%2Fapp%3Apull"

    def test_challenged_looks_for_credentials_once(self) -> None:
        looked: list[bool] = []
        subject = Authorizer(lambda: looked.append(True), clock=Clock(), endpoint=REGISTRY)
        service = TokenService(answer(token="A"), answer(token="B"))
        service.drive(subject.challenged(BEARER, PULL, sent=None))
        service.drive(subject.challenged(BEARER, PUSH, sent=None))
        assert looked == [True]

    @pytest.mark.parametrize("realm", ["http://auth.example.com/token", "https://10.0.0.1/t", "ftp://x/"])
    def test_challenged_with_a_forbidden_realm_asks_nobody(self, realm: str) -> None:
        service = TokenService()
        with pytest.raises(AccessDenied, match=r"registry\.example\.com wants a login at"):
            service.drive(authorizer(BOB).challenged([Challenge("bearer", {"realm": realm})], PULL, sent=None))
        assert service.asked == []

    def test_challenged_with_a_login_over_plain_http_asks_nobody(self) -> None:
        subject = authorizer(BOB, endpoint="http://registry.example.com")
        with pytest.raises(AccessDenied, match="is not sent over plain HTTP"):
            TokenService().drive(subject.challenged(BEARER, PULL, sent=None))

    def test_challenged_as_nobody_over_plain_http_asks_for_a_token(self) -> None:
        subject = authorizer(endpoint="http://registry.example.com")
        assert TokenService(answer(token="T")).drive(subject.challenged(BEARER, PULL, sent=None)) == "Bearer T"

    def test_challenged_with_a_realm_the_caller_refuses_asks_nobody(self) -> None:
        subject = authorizer(BOB, allow_realm=lambda realm: realm != REALM)
        with pytest.raises(AccessDenied, match=r"a login at auth\.example\.com, which is not allowed"):
            TokenService().drive(subject.challenged(BEARER, PULL, sent=None))


class TestAnswers:
    @pytest.mark.parametrize("name", ["token", "access_token"])
    def test_read_token_by_either_name(self, name: str) -> None:
        service = TokenService(TokenResponse(200, json.dumps({name: "T"}).encode()))
        assert service.drive(authorizer().challenged(BEARER, PULL, sent=None)) == "Bearer T"

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"[]",
            b"{}",
            b"<html>",
            b'{"token": 5}',
            b'{"token": ""}',
            b'{"token": "a b"}',
            b'{"token": "a\\r\\nx: y"}',
            b"[" * 100_000,
            b'{"token": "T", "x": "' + b"x" * MAX_TOKEN_RESPONSE + b'"}',
        ],
        ids=["empty", "list", "no token", "html", "number", "empty token", "blank", "line end", "deep", "large"],
    )
    def test_read_answer_without_token_is_refused(self, content: bytes) -> None:
        with pytest.raises(Unauthenticated, match=r"auth\.example\.com sent an answer that is of no use"):
            TokenService(TokenResponse(200, content)).drive(authorizer(BOB).challenged(BEARER, PULL, sent=None))

    @pytest.mark.parametrize(
        ("credentials", "status", "text"),
        [
            (BOB, 401, "unauthorized: incorrect username or password"),
            (BOB, 403, "unauthorized: incorrect username or password"),
            (None, 401, "unauthorized: authentication required"),
            (BOB, 418, "the token service auth.example.com answered 418: a teapot"),
        ],
    )
    def test_read_refusal_speaks_as_docker(self, credentials: Credentials | None, status: int, text: str) -> None:
        service = TokenService(answer(status, details="a teapot"))
        with pytest.raises(Unauthenticated) as caught:
            service.drive(authorizer(credentials).challenged(BEARER, PULL, sent=None))
        assert caught.value.message == text
        assert caught.value.detail == {"token_service": "auth.example.com", "status": status}

    def test_read_answer_of_an_overloaded_service_may_be_tried_again(self) -> None:
        service = TokenService(answer(503, errors=[{"message": "later"}]))
        with pytest.raises(Unavailable, match="answered 503: later"):
            service.drive(authorizer(BOB).challenged(BEARER, PULL, sent=None))

    @pytest.mark.parametrize(
        ("fields", "good_for"),
        [
            ({}, 60),
            ({"expires_in": 300}, 300),
            ({"expires_in": "300"}, 300),
            ({"expires_in": 5}, 5),
            ({"expires_in": 300, "issued_at": "1999-01-01T00:00:00Z"}, 300),
            ({"expires_in": 300, "issued_at": "2999-01-01T00:00:00Z"}, 300),
            ({"expires_in": None}, 60),
            ({"expires_in": True}, 60),
            ({"expires_in": float("nan")}, 60),
            ({"expires_in": 10**30}, 24 * 3600),
        ],
        ids=str,
    )
    def test_keep_token_for_its_lifetime_by_our_own_clock(self, fields: dict[str, Any], good_for: float) -> None:
        clock = Clock()
        subject = authorizer(clock=clock)
        TokenService(answer(token="T", **fields)).drive(subject.challenged(BEARER, PULL, sent=None))
        margin = min(10, good_for / 10)
        clock.now = 1000 + good_for - margin - 0.001
        assert subject.header(PULL) == "Bearer T"
        clock.now = 1000 + good_for - margin
        assert subject.header(PULL) is None

    @pytest.mark.parametrize("seconds", [0, -5])
    def test_use_token_without_lifetime_once(self, seconds: int) -> None:
        subject = authorizer()
        service = TokenService(answer(token="T", expires_in=seconds))
        assert service.drive(subject.challenged(BEARER, PULL, sent=None)) == "Bearer T"
        assert subject.header(PULL) is None


class TestRemembering:
    def test_header_for_less_than_the_token_allows_is_that_token(self) -> None:
        subject = authorizer(BOB)
        TokenService(answer(token="T")).drive(subject.challenged(BEARER, PUSH, sent=None))
        assert subject.header(PUSH) == subject.header(PULL) == subject.header(frozenset()) == "Bearer T"
        assert subject.header(frozenset({Scope.pull("other")})) is None
        assert subject.header(PUSH | {Scope.pull("other")}) is None

    def test_challenged_after_another_request_has_got_a_token_gives_that_one(self) -> None:
        subject = authorizer(BOB)
        TokenService(answer(token="T")).drive(subject.challenged(BEARER, PULL, sent=None))
        service = TokenService()
        assert service.drive(subject.challenged(BEARER, PULL, sent=None)) == "Bearer T"
        assert service.drive(subject.challenged(BEARER, PULL, sent="Bearer OLD")) == "Bearer T"

    def test_challenged_with_the_token_that_was_sent_asks_for_a_new_one(self) -> None:
        subject = authorizer(BOB)
        service = TokenService(answer(token="A"), answer(token="B"))
        first = service.drive(subject.challenged(BEARER, PULL, sent=None))
        assert service.drive(subject.challenged(BEARER, PULL, sent=first)) == "Bearer B"
        assert subject.header(PULL) == "Bearer B"

    def test_challenged_for_a_larger_scope_asks_for_it(self) -> None:
        subject = authorizer(BOB)
        service = TokenService(answer(token="A"), answer(token="B"))
        first = service.drive(subject.challenged(BEARER, PULL, sent=None))
        more = f'Bearer realm="{REALM}",scope="repository:team/app:delete",error="insufficient_scope"'
        assert service.drive(subject.challenged(parse_challenges(more), PULL, sent=first)) == "Bearer B"
        assert ("scope", "repository:team/app:delete,pull") in service.query()

    @pytest.mark.parametrize(
        ("credentials", "error", "text"),
        [
            (BOB, AccessDenied, "denied: requested access to the resource is denied"),
            (None, Unauthenticated, "unauthorized: authentication required"),
        ],
        ids=["logged in", "nobody"],
    )
    def test_challenged_for_a_scope_that_was_not_granted_gives_up(
        self, credentials: Credentials | None, error: type[RegistryError], text: str
    ) -> None:
        subject = authorizer(credentials)
        header = TokenService(answer(token="A")).drive(subject.challenged(BEARER, PUSH, sent=None))
        more = f'Bearer realm="{REALM}",scope="repository:team/app:push",error="insufficient_scope"'
        with pytest.raises(error) as caught:
            TokenService().drive(subject.challenged(parse_challenges(more), PUSH, sent=header))
        assert caught.value.message == text

    def test_remember_tokens_up_to_a_number(self) -> None:
        subject = authorizer()
        challenges = [Challenge("bearer", {"realm": REALM})]
        for number in range(MAX_TOKENS + 1):
            scopes = frozenset({Scope.pull(f"app{number}")})
            TokenService(answer(token=f"T{number}")).drive(subject.challenged(challenges, scopes, sent=None))
        assert subject.header(frozenset({Scope.pull("app0")})) is None
        assert subject.header(frozenset({Scope.pull(f"app{MAX_TOKENS}")})) == f"Bearer T{MAX_TOKENS}"


class TestRefreshTokens:
    def test_challenged_with_an_identity_token_posts_it(self) -> None:
        service = TokenService(answer(access_token="T"))
        scopes = PUSH | {Scope.pull("other")}
        assert service.drive(authorizer(BOB_S_TOKEN).challenged(BEARER, scopes, sent=None)) == "Bearer T"
        [request] = service.asked
        assert (request.method, request.url) == ("POST", REALM)
        assert dict(request.headers) == {"content-type": "application/x-www-form-urlencoded"}
        assert request.form == {
            "grant_type": "refresh_token",
            "refresh_token": "identity-token",
            "client_id": "entrepot",
            "service": "registry",
            "scope": "repository:other:pull repository:team/app:pull,push",
        }

    @pytest.mark.parametrize("status", [400, 401, 404, 405])
    def test_challenged_with_a_refused_identity_token_goes_on_with_the_password(self, status: int) -> None:
        service = TokenService(answer(status), answer(token="T"))
        credentials = Credentials("bob", Secret("hunter2"), Secret("identity-token"))
        assert service.drive(authorizer(credentials).challenged(BEARER, PULL, sent=None)) == "Bearer T"
        assert [request.method for request in service.asked] == ["POST", "GET"]
        assert dict(service.asked[1].headers) == {"authorization": basic(BOB)}

    def test_challenged_after_an_identity_token_was_refused_does_not_try_it_again(self) -> None:
        service = TokenService(answer(404), answer(token="A"), answer(token="B"))
        subject = authorizer(Credentials("bob", Secret("hunter2"), Secret("identity-token")))
        for header in (None, "Bearer A"):
            service.drive(subject.challenged(BEARER, PULL, sent=header))
        assert [request.method for request in service.asked] == ["POST", "GET", "GET"]

    def test_challenged_with_a_refused_identity_token_and_no_password_is_refused(self) -> None:
        with pytest.raises(Unauthenticated, match=r"^unauthorized: incorrect username or password$"):
            TokenService(answer(401)).drive(authorizer(BOB_S_TOKEN).challenged(BEARER, PULL, sent=None))

    def test_challenged_after_a_refresh_token_came_posts_that(self) -> None:
        subject = authorizer(BOB)
        service = TokenService(answer(token="A", refresh_token="R"), answer(token="B"))
        service.drive(subject.challenged(BEARER, PULL, sent=None))
        service.drive(subject.challenged(BEARER, PUSH, sent="Bearer A"))
        assert service.asked[1].form is not None
        assert service.asked[1].form["refresh_token"] == "R"

    def test_challenged_after_a_refresh_token_was_refused_forgets_it(self) -> None:
        subject = authorizer(BOB)
        got = answer(token="B", refresh_token="R2")
        service = TokenService(answer(token="A", refresh_token="R"), answer(401), got, answer(token="C"))
        for header in (None, "Bearer A", "Bearer B"):
            service.drive(subject.challenged(BEARER, PULL, sent=header))
        assert [request.method for request in service.asked] == ["GET", "POST", "GET", "GET"]


class TestLogin:
    def test_log_in_asks_for_a_refresh_token_and_no_scope(self) -> None:
        service = TokenService(answer(token="T", refresh_token="R"))
        assert service.drive(log_in(BEARER, BOB, endpoint=REGISTRY)) == Login("Bearer T", Secret("R"))
        assert dict(service.asked[0].headers) == {"authorization": basic(BOB)}
        assert service.query() == [
            ("account", "bob"),
            ("client_id", "entrepot"),
            ("offline_token", "true"),
            ("service", "registry"),
        ]

    def test_log_in_with_an_identity_token_keeps_it(self) -> None:
        service = TokenService(answer(access_token="T"))
        login = service.drive(log_in(BEARER, BOB_S_TOKEN, endpoint=REGISTRY))
        assert login == Login("Bearer T", Secret("identity-token"))
        assert [request.method for request in service.asked] == ["POST"]

    def test_log_in_with_basic_asks_nobody(self) -> None:
        assert TokenService().drive(log_in(BASIC, BOB, endpoint=REGISTRY)) == Login(basic(BOB))

    @pytest.mark.parametrize("credentials", [BOB, BOB_S_TOKEN], ids=["password", "identity token"])
    def test_log_in_with_a_wrong_password_is_refused(self, credentials: Credentials) -> None:
        with pytest.raises(Unauthenticated, match=r"^unauthorized: incorrect username or password$"):
            TokenService(answer(401)).drive(log_in(BEARER, credentials, endpoint=REGISTRY))

    @pytest.mark.parametrize("challenges", [BASIC, BEARER], ids=["basic", "bearer"])
    def test_log_in_over_plain_http_is_refused(self, challenges: list[Challenge]) -> None:
        plain = [Challenge(each.scheme, each.parameters | {"realm": "http://example.com/"}) for each in challenges]
        with pytest.raises(AccessDenied, match="not sent over plain HTTP"):
            TokenService().drive(log_in(plain, BOB, endpoint="http://example.com"))


def test_print_requests_and_logins_shows_no_secret() -> None:
    service = TokenService(answer(token="T-SECRET", refresh_token="R-SECRET"), answer(token="T-SECRET"))
    login = service.drive(log_in(BEARER, BOB, endpoint=REGISTRY))
    service.drive(log_in(BEARER, Credentials("", Secret(""), Secret("R-SECRET")), endpoint=REGISTRY))
    shown = f"{login!r} {service.asked!r} {answer(token='T-SECRET')!r}"
    for secret in ("T-SECRET", "R-SECRET", "hunter2", basic(BOB)):
        assert secret not in shown
