"""The server process: worker processes under Granian, all on one address."""

from __future__ import annotations

import ctypes
import math
import os
import resource
import shutil
import signal
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from granian.constants import Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels

from entrepot.config import Settings, without_password
from entrepot.errors import ConfigInvalid, Unavailable
from entrepot.server.app import RegistryApp
from entrepot.server.draining import Draining, DrainingServer

_READ_BUFFER_BYTES = 512 * 1024  # what is read from a socket at once, and the most a request's head may have
_MOST_HEADER_BYTES = 64 * 1024  # of a request by HTTP/2
_READ_BUFFER_BYTES_FOR_S3 = 384 * 1024  # 512 would take 10 MiB more for 30 pushes at once, 256 more of the processor
_TLS = {"1.2": SSLProtocols.tls12, "1.3": SSLProtocols.tls13}
_COUNTERS = "entrepot-metrics-"
_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_SECONDS_BETWEEN_LOOKS_AT_PARENT = 1.0
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_HEAPS, _HEAPS_FOR_S3 = 2, 1  # that all threads of a worker share
_REQUESTS_AT_ONCE = 1024  # in each worker; more wait in the kernel

CreateApp = Callable[[Callable[[], bool]], RegistryApp]


def run(settings: Settings, create_app: CreateApp) -> None:
    """Serve until SIGTERM or SIGINT; then running transfers get their time to finish. Before that, on SIGTERM and if
    ``server.drain_seconds`` says so, load balancers get time to look for another replica.

    ``create_app`` is called once in each worker process, with a function that tells whether the server is about to
    leave, and has to survive pickling. Raises Unavailable when the address cannot be had, ConfigInvalid when the
    files for TLS do not fit.
    """
    _require_matching(settings.server.tls_certificate, settings.server.tls_key)
    address = _resolve(settings.server.host)
    _require_free(address, settings.server.port)
    _raise_file_limit()
    _hold_signals_back_in_workers()
    counters = _make_counters_folder()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = counters  # read when a worker counts for the first time
    try:
        print(_greeting(settings), flush=True)  # noqa: T201
        draining = Draining(settings.server.drain_seconds)
        create = partial(create_app, draining.has_begun)
        heaps = _HEAPS if settings.bucket is None else _HEAPS_FOR_S3
        start = partial(_start_worker, create, os.getpid(), settings.server.graceful_stop_seconds, heaps)
        _granian(settings, address, draining).serve(target_loader=start, wrap_loader=False)
    finally:
        shutil.rmtree(counters, ignore_errors=True)


def _make_counters_folder() -> str:
    for left in Path(tempfile.gettempdir()).glob(f"{_COUNTERS}*"):  # by a server that was killed
        if not _is_running(left.name.removeprefix(_COUNTERS).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{_COUNTERS}{os.getpid()}-")


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _start_worker(create_app: Callable[[], RegistryApp], parent: int, grace_seconds: float, heaps: int) -> RegistryApp:
    _keep_freed_memory(heaps)
    threading.Thread(target=_stop_with_parent, args=(parent, grace_seconds), daemon=True).start()
    return create_app()


def _keep_freed_memory(heaps: int) -> None:
    # By default glibc gives the megabyte of each piece back to the kernel, which then clears a new one for the
    # next. Keeping it costs some 10 MiB and saves 4 to 10 % of the time a push takes. But each thread would keep some
    # for itself: with one heap instead of one for each thread, 30 pushes at once to S3 need 55 MiB less.
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, 256 * 1024 * 1024)
        mallopt(_M_MMAP_THRESHOLD, 32 * 1024 * 1024)
        mallopt(_M_ARENA_MAX, heaps)


def _stop_with_parent(parent: int, grace_seconds: float) -> None:
    # A worker whose main process was killed would hold the port for ever, and nobody could stop it any more.
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS_AT_PARENT)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_seconds)
    os._exit(1)


def _hold_signals_back_in_workers() -> None:
    # A forked worker has its parent's handlers until Granian sets the worker's own, so a SIGTERM in that time
    # would be swallowed, and the parent would wait in vain for the worker to end. Held back, it is delivered
    # as soon as the worker says that it is ready for it.
    os.register_at_fork(
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, _STOP_SIGNALS),
        after_in_parent=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, _STOP_SIGNALS),
    )


def let_signals_in() -> None:
    """To be called in a worker as soon as it serves."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)


def _granian(settings: Settings, address: str, draining: Draining) -> DrainingServer:
    server = settings.server
    return DrainingServer(
        draining,
        address=address,
        port=server.port,
        interface=Interfaces.ASGI,
        loop=Loops.auto,
        workers=server.worker_count,
        websockets=False,
        backlog=2048,
        backpressure=_REQUESTS_AT_ONCE,
        http1_settings=HTTP1Settings(
            header_read_timeout=math.ceil(server.header_timeout_seconds * 1000),
            max_buffer_size=_read_buffer_bytes(settings),
        ),
        http2_settings=HTTP2Settings(max_headers_size=_MOST_HEADER_BYTES),
        log_level=LogLevels.warning,
        ssl_cert=server.tls_certificate,
        ssl_key=server.tls_key,
        ssl_protocol_min=_TLS[server.tls_minimum],
        respawn_failed_workers=True,
        workers_kill_timeout=max(1, math.ceil(server.graceful_stop_seconds)),
    )


def _read_buffer_bytes(settings: Settings) -> int:
    return _READ_BUFFER_BYTES if settings.bucket is None else _READ_BUFFER_BYTES_FOR_S3


def _require_matching(certificate: Path | None, key: Path | None) -> None:
    if certificate is None or key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:
        raise ConfigInvalid(
            f"expected a certificate and its private key as PEM, without a password, in {certificate} and {key}, "
            f"got {getattr(error, 'reason', None) or error.strerror or error}",
            key="server.tls_certificate",
        ) from error


def _resolve(host: str) -> str:
    """The IP address to listen on. That of localhost is not looked up: it is never another computer's."""
    if host.lower() == "localhost":
        return "127.0.0.1"
    try:
        addresses = {found[0]: found[4][0] for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise Unavailable(f"cannot listen on {host}: {error.strerror}", host=host) from error
    return str(addresses.get(socket.AF_INET) or addresses[socket.AF_INET6])


def _require_free(host: str, port: int) -> None:
    # The workers share the port, and the kernel would let a second server share it too.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror}. Is another registry running there? "
            "Choose another port with --listen HOST:PORT",
            host=host,
            port=port,
        ) from error


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _places(settings: Settings) -> str:
    """Where names and content are kept, for people."""
    if settings.postgresql_url is None and settings.bucket is None:
        return str(settings.root)
    names = without_password(settings.database) or settings.database_path
    return f"{names} and {settings.store or settings.store_path}"


def _greeting(settings: Settings) -> str:
    server = settings.server
    scheme = "https" if server.tls_certificate else "http"
    shown = "localhost" if server.host in ("127.0.0.1", "::1") else server.host
    workers = f"{server.worker_count} worker{'s' if server.worker_count > 1 else ''}"
    lines = [
        f"entrepot listens on {scheme}://{server.listen} ({workers}) and stores in {_places(settings)}",
        f"push with: docker push {shown}:{server.port}/NAME:TAG    stop with: Ctrl-C",
    ]
    if server.read_only:
        lines.append("read-only mode: every write is refused")
    return "\n".join(lines)
