"""What a request can get wrong, as one exception that carries its status."""

from __future__ import annotations


class RefusedError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: HTTP status.
        headers: Headers of the answer besides the usual ones.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class DisconnectedError(Exception):
    """The client went away before its request was whole: there is nobody to answer."""


def wrong(message: str) -> RefusedError:
    """A request that does not say what it must: status 400."""
    return RefusedError(400, message)


def busy(message: str, seconds: float = 1.0) -> RefusedError:
    """A server that cannot take more at present: status 503, and when to come back."""
    return RefusedError(503, message, {"retry-after": str(max(1, round(seconds)))})


def failed() -> RefusedError:
    """A mistake of the server's own: status 500, and nothing about what it was."""
    return RefusedError(500, "the server failed; its log says why")


def shown(text: str) -> str:
    """A name from a request, short enough for a message.

    Example:
        >>> shown("a" * 100)
        "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…'"
    """
    return repr(text if len(text) <= 60 else text[:60] + "…")
