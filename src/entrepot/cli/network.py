"""What commands share that talk to registries: the flags, and the client they make."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from entrepot.byte_size import parse_byte_size
from entrepot.cli.local import root_option
from entrepot.cli.output import print_warning
from entrepot.cli.progress import Progress
from entrepot.client import Access, Client, only
from entrepot.errors import ParameterInvalid
from entrepot.platforms import Platform, host_platform
from entrepot.progress import Listener, ignore
from entrepot.transfer.copy import PARALLEL, SPLIT_ABOVE
from entrepot.transfer.graph import Choice, everything

T = TypeVar("T")
_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_FILE = click.Path(path_type=Path, dir_okay=False)

_NETWORK: tuple[_Decorator, ...] = (
    click.option("--insecure", is_flag=True, help="Take any certificate, and plain HTTP where there is no TLS."),
    click.option("--plain-http", is_flag=True, help="Speak HTTP without TLS."),
    click.option("--ca-file", metavar="FILE", type=_FILE, help="Trust these authorities too (PEM)."),
    click.option("--cert-file", "certificate", metavar="FILE", type=_FILE, help="Show this certificate (PEM)."),
    click.option("--key-file", "key", metavar="FILE", type=_FILE, help="The certificate's key, if it is elsewhere."),
    click.option("--authfile", metavar="FILE", type=_FILE, help="Logins, instead of docker's and podman's files."),
    click.option("--retries", metavar="N", type=click.IntRange(0, 100), default=5, help="Tries after a failure; 5."),
    root_option,
)

parallel_option: _Decorator = click.option(
    "--parallel", metavar="N", type=click.IntRange(1, 64), default=PARALLEL, help="Transfers at a time; 4."
)


def _byte_size(ctx: click.Context, param: click.Parameter, value: str) -> int:
    try:
        return parse_byte_size(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}, got {value!r}", ctx, param) from error


split_option: _Decorator = click.option(
    "--split-above",
    metavar="SIZE",
    default="64MiB",
    callback=_byte_size,
    help="Fetch layers of at least so many bytes in parts side by side; 64MiB.",
)


unpacked_option: _Decorator = click.option(
    "--max-unpacked",
    metavar="SIZE",
    default="0",
    callback=_byte_size,
    help="What a layer may unpack to, e.g. 500GiB; by default 16GiB and 1100 times its compressed size.",
)


@dataclass(frozen=True, slots=True)
class Reach:
    """What the flags say about how registries are reached."""

    root: Path
    options: dict[str, Any] = field(default_factory=dict)
    parallel: int = PARALLEL
    split_above: int = SPLIT_ABOVE
    max_unpacked: int = 0

    def run(self, work: Callable[[Client], Awaitable[T]], *, listener: Listener = ignore) -> T:
        """Make a client, do the work, close it."""

        async def run() -> T:
            async with Client(self.root, self._access(listener)) as client:
                return await work(client)

        return run_loop(run())

    def _access(self, listener: Listener) -> Access:
        retries = self.options.get("retries", 5)
        given = {name: value for name, value in self.options.items() if name != "retries"}
        return Access(
            environment=os.environ,
            listener=listener,
            warn=listener.warn if isinstance(listener, Progress) else print_warning,
            attempts=retries + 1,
            parallel=self.parallel,
            split_above=self.split_above,
            max_unpacked=self.max_unpacked,
            **given,
        )


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, on uvloop where there is one: it takes large bodies off the socket faster."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_quietly(work))
    return uvloop.run(_quietly(work))


async def _quietly(work: Coroutine[Any, Any, T]) -> T:
    asyncio.get_running_loop().set_exception_handler(_pass_over_connections)
    return await work


def _pass_over_connections(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A connection that nobody waits for any more, because another one has failed before, may fail as it likes."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags; the command gets them as ``reach``."""

    @wraps(command)
    def with_reach(**values: Any) -> Any:
        options = {name: values.pop(name) for name in _NAMES}
        how = {name: values.pop(name) for name in ("parallel", "split_above", "max_unpacked") if name in values}
        return command(reach=Reach(values.pop("root"), options, **how), **values)

    decorated: Callable[..., Any] = with_reach
    for option in reversed(_NETWORK):
        decorated = option(decorated)
    return decorated


_NAMES = ("insecure", "plain_http", "ca_file", "certificate", "key", "authfile", "retries")


def platform_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --platform and --all-platforms; the command gets them as ``platforms`` and ``all_platforms``."""
    command = click.option("--all-platforms", is_flag=True, help="All platforms, not only this computer's.")(command)
    return click.option(
        "--platform", "platforms", metavar="OS/ARCH[/VARIANT]", multiple=True, help="This platform; may be repeated."
    )(command)


def choice_of(platforms: Sequence[str], *, all_platforms: bool, default: Choice | None = None) -> Choice:
    """Which entries of an index are meant; this computer's when nothing is said. Raises ParameterInvalid."""
    if platforms and all_platforms:
        raise ParameterInvalid("expected --platform or --all-platforms, got both", platforms=list(platforms))
    if all_platforms:
        return everything
    if platforms:
        return only(*(Platform.parse(platform) for platform in platforms))
    return default or only(host_platform())
