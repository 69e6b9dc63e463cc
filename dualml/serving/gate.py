"""What every request passes first: who may ask, under which name, and from where. Counts what is answered."""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dualml.serving.bodies import WHOLE
from dualml.serving.refusals import DisconnectedError, RefusedError, failed, shown, wrong
from dualml.serving.settings import Settings
from dualml.serving.telemetry import Telemetry

LABEL = "dualml.endpoint"
"""Key of a request's scope: what its endpoint is called in the counts."""
OPEN = frozenset({"/", "/v2/health/live", "/v2/health/ready"})
"""Paths that need no token: what a load balancer asks, and the page, which asks its reader for it."""
NOSNIFF = (b"x-content-type-options", b"nosniff")
_HOST = re.compile(rb"^(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?$")
_ONCE = frozenset({b"host", b"content-type", b"content-encoding", b"authorization", b"inference-header-content-length"})
_log = logging.getLogger("dualml.serving")

Headers = dict[bytes, bytes]
HEADERS = "dualml.headers"
"""Key of a request's scope: its headers by name, those of ``_ONCE`` checked to stand there once."""


def error_response(error: RefusedError) -> Response:
    """An error as the protocol wants it: an object with the key ``error``."""
    body = msgspec.json.encode({"error": str(error)})
    return Response(body, error.status, error.headers, media_type="application/json")


Direct = Callable[[Scope, Receive], Awaitable[tuple[bytes, list[tuple[bytes, bytes]]]]]
"""An endpoint that is asked without the application: gives the body of the answer and its headers."""


class Gate:
    """Around the application: refuses what must not get further, answers what went wrong, counts.

    Args:
        app: The application.
        direct: By path, the label and endpoint of POST requests that go straight there: routing and the layers of an
            application would take as long as a small model does.
        settings: Limits and access.
        telemetry: Where answers are counted.
    """

    def __init__(
        self, app: ASGIApp, direct: Mapping[str, tuple[str, Direct]], settings: Settings, telemetry: Telemetry
    ) -> None:
        self._app, self._direct, self._settings, self._telemetry = app, direct, settings, telemetry
        self._token = None if settings.token is None else settings.token.encode()
        known = settings.known_hosts
        self._hosts = None if known is None else {name.encode() for name in known}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], NOSNIFF]}
                if _has_body(scope) and not scope.get(WHOLE):  # the rest of its body is not worth reading
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            self._check(scope)
            direct = self._direct.get(scope["path"]) if scope["method"] == "POST" else None
            if direct is None:
                await self._app(scope, receive, counted)
                return
            scope[LABEL], ask = direct
            body, headers = await ask(scope, receive)
            headers += (NOSNIFF, (b"content-length", b"%d" % len(body)))
            status = 200
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        except RefusedError as error:
            await error_response(error)(scope, receive, counted)
        except DisconnectedError:
            return
        except Exception:
            _log.exception("%s %s: failed", scope["method"], scope["path"])
            if not status:
                await error_response(failed())(scope, receive, counted)
        finally:
            if status:
                self._telemetry.answered(scope.get(LABEL, "other"), status, time.perf_counter() - begun)

    def _check(self, scope: Scope) -> None:
        headers: Headers = {}
        for name, value in scope["headers"]:
            if name in headers and name in _ONCE:
                raise wrong(f"the header {name.decode('latin-1')} must stand once, but stands twice")
            headers[name] = value
        scope[HEADERS] = headers
        host = self._check_host(headers.get(b"host"), scope)
        origin = headers.get(b"origin")
        foreign = origin is not None and origin.lower() not in (b"http://" + host, b"https://" + host)
        if foreign and scope["method"] not in ("GET", "HEAD"):
            # A page of another site must not reach a server on its reader's machine through the reader's browser.
            raise RefusedError(403, "requests from pages of other sites are refused")
        if self._token is not None and scope["path"] not in OPEN:
            kind, _, given = headers.get(b"authorization", b"").partition(b" ")
            if kind.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
                message = "the header 'Authorization: Bearer TOKEN' must hold the server's token"
                raise RefusedError(401, message, {"www-authenticate": "Bearer"})

    def _check_host(self, host: bytes | None, scope: Scope) -> bytes:
        if host is None and scope["http_version"] == "1.0":
            return b""
        found = _HOST.match(host or b"")
        if found is None:
            raise wrong("the header Host must name this server")
        name = found.group(1).lower().strip(b"[]")
        if self._hosts is not None and name not in self._hosts:
            known = shown(name.decode("latin-1"))
            raise RefusedError(421, f"this server is not known as {known}; allow the name with --allow-host")
        return found.group(0).lower()


def _has_body(scope: Scope) -> bool:
    headers = scope.get(HEADERS)
    if headers is None:
        return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
