"""``entrepot login`` and ``entrepot logout``. Logins are kept where docker keeps them, and docker finds them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

from entrepot.auth.auth_file import DOCKER_HUB, server_key
from entrepot.auth.credentials import Credentials, CredentialStore, Secret
from entrepot.cli.network import Reach, network_options
from entrepot.cli.output import print_warning
from entrepot.errors import NameInvalid, Unauthenticated
from entrepot.reference import ImageReference
from entrepot.transport.login import check_login

_MAX_PASSWORD = 64 * 1024  # bytes; tokens of clouds have some thousands

_UNENCRYPTED = """
WARNING! Your credentials are stored unencrypted in '{file}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/
"""


@click.command()
@click.argument("server", default=DOCKER_HUB)
@click.option("-u", "--username", metavar="NAME", help="Who to log in as; asked for by default.")
@click.option("-p", "--password", metavar="TEXT", help="The password; others may see it in the list of processes.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--get-login", is_flag=True, help="Print who is logged in, and do no more.")
@network_options
def login(
    reach: Reach,
    server: str,
    username: str | None,
    password: str | None,
    password_stdin: bool,
    get_login: bool,
) -> None:
    """Log in to a registry.

    That is docker.io when no SERVER is given. The registry is asked whether it takes the login, which is then kept
    in docker's config.json, or by the credential helper named there. Docker and podman use it as well.

    \b
    Example:
      entrepot login registry.example.com
      entrepot login --username bob --password-stdin registry.example.com < password.txt
      entrepot login --get-login registry.example.com
    """
    domain = _domain(server)
    store = _store(reach.options["authfile"])
    if get_login:
        _print_login(store, domain)
        return
    if password_stdin:
        password = _password_from_stdin(username, password)
    elif password is not None:
        click.echo("WARNING! Using --password via the CLI is insecure. Use --password-stdin.", err=True)
    known = store.find(domain)
    is_done = username is None and password is None and known is not None and _take_known(reach, domain, known)
    if not is_done:
        _log_in(reach, store, domain, _asked(known, username, password))
    click.echo("Login Succeeded")


@click.command()
@click.argument("server", default=DOCKER_HUB)
@click.option("--authfile", metavar="FILE", type=click.Path(path_type=Path), help="Forget the login in this file.")
def logout(server: str, authfile: Path | None) -> None:
    """Forget the login to a registry.

    That is docker.io when no SERVER is given.

    \b
    Example:
      entrepot logout registry.example.com
    """
    domain = _domain(server)
    store = _store(authfile)
    if store.erase(domain):
        click.echo(f"Removing login credentials for {server_key(domain)}")
    else:
        click.echo(f"Not logged in to {server_key(domain)}")
    left = store.source(domain)
    if left is not None:
        print_warning(f"there still is a login for {domain} in {left}, which is used from now on")


def _store(authfile: Path | None) -> CredentialStore:
    return CredentialStore(os.environ, Path.home(), print_warning, authfile)


def _domain(server: str) -> str:
    """The registry in what people type, which may be an address. Raises NameInvalid."""
    host = re.sub(r"^https?://", "", server).partition("/")[0]
    try:
        return ImageReference.parse(f"{host}/name").domain if "." in host or ":" in host else _local(host)
    except NameInvalid:
        raise NameInvalid(f"invalid registry: expected HOST[:PORT], got {server[:200]!r}", name=server[:200]) from None


def _local(host: str) -> str:
    """A host's name without dots, which could be taken for that of a repository."""
    return ImageReference.parse(f"{host}:443/name").domain.removesuffix(":443")


def _print_login(store: CredentialStore, domain: str) -> None:
    credentials = store.find(domain)
    if credentials is None:
        raise Unauthenticated(f"not logged in to {domain}", registry=domain)
    click.echo(credentials.username or "<token>")


def _password_from_stdin(username: str | None, password: str | None) -> str:
    if password is not None:
        raise click.UsageError("--password and --password-stdin are mutually exclusive")
    if not username:
        raise click.UsageError("the --password-stdin option requires --username to be set")
    content = sys.stdin.buffer.read(_MAX_PASSWORD + 1)
    if len(content) > _MAX_PASSWORD:
        raise click.UsageError(f"expected a password of at most {_MAX_PASSWORD} bytes on standard input")
    return os.fsdecode(content).removesuffix("\n").removesuffix("\r")


def _take_known(reach: Reach, domain: str, known: Credentials) -> bool:
    """Whether the registry still takes the login that there is."""
    who = f" [Username: {known.username}]" if known.username else ""
    click.echo(f"Authenticating with existing credentials...{who}", err=True)
    try:
        _check(reach, domain, known)
    except Unauthenticated as error:
        click.echo(f"Login did not succeed, error: {error.message}", err=True)
        return False
    return True


def _asked(known: Credentials | None, username: str | None, password: str | None) -> Credentials:
    """The login that was given, the rest of it asked for."""
    if username is None:
        username = _prompt_username(known.username if known else "")
    if not username:
        raise click.ClickException("username is required")
    if ":" in username:
        raise click.ClickException("a username has no colon")
    if password is None:
        _require_terminal()
        password = str(click.prompt("Password", hide_input=True, default="", show_default=False, err=True))
    if not password:
        raise click.ClickException("password is required")
    return Credentials(username, Secret(password))


def _prompt_username(known: str) -> str:
    _require_terminal()
    question = f"Username ({known})" if known else "Username"
    return str(click.prompt(question, default=known, show_default=False, err=True)).strip()


def _require_terminal() -> None:
    if not sys.stdin.isatty():
        raise click.ClickException("cannot perform an interactive login from a non TTY device")


def _log_in(reach: Reach, store: CredentialStore, domain: str, credentials: Credentials) -> None:
    token = _check(reach, domain, credentials)
    file = store.save(domain, Credentials(credentials.username, credentials.password, token))
    if file is not None:
        click.echo(_UNENCRYPTED.format(file=file), err=True)


def _check(reach: Reach, domain: str, credentials: Credentials) -> Secret | None:
    """The identity token that the registry gives, if any. Raises Unauthenticated."""
    return reach.run(lambda client: check_login(client.transport, domain, credentials))
