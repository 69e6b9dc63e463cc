"""HTTP connections with limits that the server library leaves out: on the head of a request, on time, on number.

What is refused here never became a request, so the answer is written by hand.
"""

from __future__ import annotations

import asyncio
import http
from typing import Any, ClassVar

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dualml.serving.settings import Settings
from dualml.serving.telemetry import Telemetry

HEADER_EXTRA = 4
"""Bytes of a header beside its name and value: a colon, a space and the end of the line."""
LINGER_SECONDS = 2.0
"""How long the rest of a refused request is read and dropped, so that its sender gets to read the answer."""


class HeadTooLargeError(ValueError):
    """Raised inside the parser's callbacks, which turn it into an error of the parser."""


class LingeringTransport:
    """A connection that is closed so that the other side can still read the answer.

    Closing a socket that holds unread bytes resets the connection, and the answer may be lost with it.
    """

    def __init__(self, transport: asyncio.Transport, connection: BoundedConnection) -> None:
        self._transport, self._connection = transport, connection
        self._lingering = False
        self.write = transport.write  # what is called most often

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether nothing is written any more."""
        return self._lingering or self._transport.is_closing()

    def close(self) -> None:
        """Close at once if everything was read, else stop writing and read on for a moment."""
        if self._lingering or self._transport.is_closing() or not self._connection.expects_more():
            self._transport.close()
            return
        self._lingering = True
        self._connection.drop_input()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)


class BoundedConnection(HttpToolsProtocol):
    """One connection."""

    settings: ClassVar[Settings]
    telemetry: ClassVar[Telemetry]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._in_head = True
        self._begun = False  # whether a byte of the request has come
        self._head_bytes = 0
        self._dropping = False
        self._too_large: tuple[int, str] | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        super().connection_made(LingeringTransport(transport, self))  # type: ignore[arg-type]
        if len(self.connections) > self.settings.connections:
            message = f"{self.settings.connections} connections are open already; try again later"
            self._begun = True  # its request is under way, and must not meet a closed door
            self._refuse(503, message, b"retry-after: 1\r\n")
        else:
            self._start_read_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._read_timer, self._write_timer, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._dropping:
            return
        if self._in_head:
            self._begun = True
        super().data_received(data)
        if self._dropping or self.transport.is_closing():
            return
        if self._in_head and self._begun:
            self._head_bytes += len(data)
            if self._head_bytes > self.settings.head_bytes:
                self._refuse(431, f"the head of a request may have {self.settings.head_bytes:,} bytes, but has more")
                return
        if self._read_timer is None and self.expects_more():
            self._start_read_timer()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        if self._dropping:
            return not self.transport.is_closing()  # an earlier request may still be without its answer
        if self._in_head and not self._begun:
            return None
        if self.expects_more():
            self._refuse(400, "the request ends before it is whole")
            return None
        if self.cycle is None or self.cycle.response_complete:
            return None
        self.cycle.keep_alive = False  # the other side only stopped writing: it still waits for the answer
        return True

    def on_message_begin(self) -> None:
        self._in_head, self._begun, self._head_bytes = True, True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.settings.head_bytes // 2:
            self._too_large = (414, f"an address may have {self.settings.head_bytes // 2:,} bytes, but has more")
            raise HeadTooLargeError

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + HEADER_EXTRA
        if self._head_bytes > self.settings.head_bytes:
            allowed = self.settings.head_bytes
            self._too_large = (431, f"the head of a request may have {allowed:,} bytes, but has more")
            raise HeadTooLargeError
        if self._in_head:  # what follows a body is not looked at
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_read_timer()
        super().on_headers_complete()
        self._in_head = False

    def on_message_complete(self) -> None:
        self._stop_read_timer()
        super().on_message_complete()
        self._in_head, self._begun, self._head_bytes = True, False, 0

    def send_400_response(self, msg: str) -> None:
        status, message = self._too_large or (400, "the request is not valid HTTP")
        self._refuse(status, message)

    def expects_more(self) -> bool:
        """Whether the request that is being read is not whole yet."""
        if self._in_head:
            return self._begun
        return True

    def drop_input(self) -> None:
        """Read on, but drop what comes."""
        self._dropping = True
        self.flow.resume_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.settings.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _start_read_timer(self) -> None:
        self._read_timer = self.loop.call_later(self.settings.read_seconds, self._too_slow)

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _too_slow(self) -> None:
        self._read_timer = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused:  # an earlier request is being answered, and this one may not go on yet
            self._start_read_timer()
        elif self.expects_more():
            part = "head of a request" if self._in_head else "body"
            self._refuse(408, f"the {part} must arrive within {self.settings.read_seconds:g} s, but did not")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str, headers: bytes = b"") -> None:
        """Answer what is no request, and close."""
        self.telemetry.refused(status)
        cycle = self.cycle
        unanswered = cycle is not None and not cycle.response_complete
        if self._in_head and (self.pipeline or unanswered):
            # An answer here would be taken for that to an earlier request. That one is answered, and comes last.
            cycle.keep_alive = False
            self.drop_input()
            return
        if self.pipeline or (unanswered and cycle.response_started):
            self.transport.abort()
            return
        body = msgspec.json.encode({"error": message})
        phrase = http.HTTPStatus(status).phrase.encode()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n%s"
            % (status, phrase, len(body), headers, body)
        )
        self._begun = self._begun or not self._in_head
        if unanswered:
            cycle.disconnected = True  # what the application still answers goes nowhere
            cycle.message_event.set()
        self.drop_input()
        self.transport.close()


def connection_class(settings: Settings, telemetry: Telemetry) -> type[BoundedConnection]:
    """The connections of one server."""
    return type("Connection", (BoundedConnection,), {"settings": settings, "telemetry": telemetry})
