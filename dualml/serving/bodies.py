"""Reading the body of a request, within limits of size and memory; the connection limits its time."""

from __future__ import annotations

from starlette.types import Receive, Scope

from dualml.serving.refusals import DisconnectedError, RefusedError, busy
from dualml.serving.settings import Settings

WHOLE = "dualml.body_read"
"""Key of a request's scope: its body was read to the end, so the connection can take another request."""


class BodyReader:
    """Reads bodies; knows how many bytes all connections hold together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.held = 0

    async def read(self, scope: Scope, receive: Receive, length: bytes | None) -> bytes:
        """A request's body.

        Args:
            scope: The request.
            receive: Where its parts come from.
            length: Its ``Content-Length``, if it was sent; the HTTP parser has checked that it is a number.

        Raises:
            RefusedError: It is too long (413), or the server holds too many (503).
            DisconnectedError: The client went away, or was too slow and has its answer.
        """
        most = self._settings.body_bytes
        if length is not None and int(length) > most:
            raise _too_long(most)
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise DisconnectedError
                part = message.get("body", b"")
                size += len(part)
                self.held += len(part)
                if size > most:
                    raise _too_long(most)
                if self.held > self._settings.buffered_bytes:
                    raise busy("the server holds as many requests as its memory allows; try again later")
                parts.append(part)
                if not message.get("more_body", False):
                    scope[WHOLE] = True
                    return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            self.held -= size


def _too_long(most: int) -> RefusedError:
    return RefusedError(413, f"a body may have {most:,} bytes, but has more; send the examples in several requests")
