"""What a server allows: where it listens, who may ask, how much and for how long."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Literal

from dualml.errors import ServingError

Batching = Literal["auto", "on", "off"]
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_TOKEN = re.compile(r"^[\x21-\x7e]{16,512}$")


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """Limits and access of one server.

    Attributes:
        host: Address to listen on.
        port: Port; 0 takes a free one.
        token: What a client must send as ``Authorization: Bearer``; ``None`` asks for nothing.
        hosts: Names a client may call the server by, besides the loopback ones; empty on an address that is not
            loopback allows every name.
        body_bytes: Longest body of a request.
        rows: Most examples in one request, and in one batch.
        queue: Most requests that wait for the engine; one more is answered 503.
        connections: Most open connections; one more is answered 503.
        head_bytes: Longest request line and headers together.
        read_seconds: Longest time a client may take for the head of a request, and again for its body.
        answer_seconds: Longest time a request may wait for the engine and in it.
        write_seconds: Longest time a client may leave an answer unread.
        idle_seconds: How long a connection stays open between two requests.
        stop_seconds: Longest time that requests in progress get when the server is stopped.
        threads: Most batches that are computed at the same time, each on one core.
        batching: Whether requests that wait are computed together: ``auto`` where it was measured to pay.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    body_bytes: int = 8 * 2**20
    rows: int = 1024
    queue: int = 64
    connections: int = 512
    head_bytes: int = 16 * 2**10
    read_seconds: float = 5.0
    answer_seconds: float = 30.0
    write_seconds: float = 30.0
    idle_seconds: float = 60.0
    stop_seconds: float = 10.0
    threads: int = field(default_factory=usable_cores)
    batching: Batching = "auto"

    def __post_init__(self) -> None:
        least = {"body_bytes": 1024, "rows": 1, "queue": 1, "connections": 1, "head_bytes": 1024, "threads": 1}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ServingError(f"{name} must be at least {smallest}, but is {getattr(self, name)}")
        for name in ("read_seconds", "answer_seconds", "write_seconds", "idle_seconds", "stop_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ServingError(f"{name} must be a number of seconds above 0, but is {getattr(self, name)}")
        if not 0 <= self.port <= 65535:
            raise ServingError(f"port must be from 0 to 65535, but is {self.port}")
        if self.token is not None and not _TOKEN.match(self.token):
            raise ServingError(
                "the token must be 16 to 512 visible ASCII characters without spaces; "
                "make one with: openssl rand -hex 32"
            )

    @property
    def buffered_bytes(self) -> int:
        """Most bytes of bodies held at one time, over all connections."""
        return 8 * self.body_bytes

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK or self.host.startswith("127.")

    @property
    def known_hosts(self) -> frozenset[str] | None:
        """Names a client may use in ``Host``, in lower case; ``None``: every one."""
        if not self.loopback and not self.hosts:
            return None
        return LOOPBACK | {self.host.lower(), *(name.lower() for name in self.hosts)}
