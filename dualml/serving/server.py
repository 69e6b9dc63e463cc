"""Listening, answering and stopping."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from dualml.errors import ServingError
from dualml.serving.application import application
from dualml.serving.connection import connection_class
from dualml.serving.model import Model
from dualml.serving.settings import Settings
from dualml.serving.telemetry import Telemetry

BACKLOG = 1024
"""Connections that wait to be accepted."""


class Server(uvicorn.Server):
    """A server that a signal stops without ending the process, so that its caller decides the exit code.

    Attributes:
        when_ready: Called when requests are answered and signals are heeded.
    """

    when_ready: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self.when_ready is not None:
            self.when_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def make_server(model: Model, settings: Settings) -> Server:
    """A server that is not listening yet.

    Raises:
        ServingError: The model cannot be served with these settings.
    """
    telemetry = Telemetry()
    app = application(model, settings, telemetry)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a client's mistake is no event of the server
    config = uvicorn.Config(
        app,
        http=connection_class(settings, telemetry),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=settings.idle_seconds,  # type: ignore[arg-type]  # it goes to call_later, which takes any
        timeout_graceful_shutdown=settings.stop_seconds,  # type: ignore[arg-type]  # and so does wait_for
    )
    server = Server(config)
    telemetry.gauges["dualml_connections"] = ("Open connections.", lambda: len(server.server_state.connections))
    return server


def listen(settings: Settings) -> socket.socket:
    """A socket bound to the settings' address.

    Raises:
        ServingError: The address is in use, not this machine's or not allowed.
    """
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ServingError(f"--host {host}: must be an address of this machine, but: {error.strerror}") from None
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        reasons = {
            errno.EADDRINUSE: f"port {port} of {host} is in use; choose another with --port, or 0 for a free one",
            errno.EACCES: f"port {port} may be used by privileged users only; choose one above 1023 with --port",
            errno.EADDRNOTAVAIL: f"--host {host}: is no address of this machine; 127.0.0.1 is, and 0.0.0.0 is all",
        }
        raise ServingError(
            reasons.get(error.errno or 0, f"{host}:{port}: cannot be listened on: {error.strerror}")
        ) from None
    return bound


def address_of(bound: socket.socket) -> str:
    """The address of a listening socket as a browser takes it."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(model: Model, settings: Settings, ready: Callable[[str], None] | None = None) -> None:
    """Serve a model until a signal comes; then answer what is in progress and return.

    Args:
        model: What is served.
        settings: Limits, access and address.
        ready: Called with the server's address when it answers requests.

    Raises:
        ServingError: The model cannot be served, or the address cannot be listened on.
    """
    server = make_server(model, settings)
    bound = listen(settings)
    try:
        if ready is not None:
            server.when_ready = partial(ready, address_of(bound))
        server.run(sockets=[bound])
    finally:
        bound.close()
