"""Counts and times of a server in Prometheus' text format."""

from __future__ import annotations

import bisect
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """How often values fell at or below each of some bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: str = "") -> Iterator[str]:
        """As Prometheus reads it: cumulative counts, sum and count."""
        before = 0
        comma = "," if labels else ""
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            before += count
            yield f'{name}_bucket{{{labels}{comma}le="{bound}"}} {before}'
        inside = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{inside} {self.total!r}"
        yield f"{name}_count{inside} {before}"


class Telemetry:
    """What a server counts. Only the event loop's thread writes it."""

    def __init__(self) -> None:
        self.started = time.time()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: dict[str, Histogram] = {}
        self.rows = 0
        self.engine = Histogram(SECONDS)
        self.batches = Histogram(ROWS)
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self.requests[endpoint, status] += 1
        histogram = self.seconds.get(endpoint)
        if histogram is None:
            histogram = self.seconds[endpoint] = Histogram(SECONDS)
        histogram.add(seconds)

    def refused(self, status: int) -> None:
        """Count a request that was refused before it was one."""
        self.requests["connection", status] += 1

    def computed(self, rows: int, seconds: float) -> None:
        """Count a pass of the engine."""
        self.rows += rows
        self.engine.add(seconds)
        self.batches.add(rows)

    def text(self, name: str, version: str) -> str:
        """Everything, for a model of that name."""
        return "".join(f"{line}\n" for line in self._lines(name, version))

    def _lines(self, name: str, version: str) -> Iterator[str]:
        yield from _head("dualml_model_info", "gauge", "The model that is served.")
        yield f'dualml_model_info{{model="{name}",version="{version}"}} 1'
        yield from _head("dualml_requests_total", "counter", "Answers by endpoint and HTTP status.")
        for (endpoint, status), count in sorted(self.requests.items()):
            yield f'dualml_requests_total{{endpoint="{endpoint}",status="{status}"}} {count}'
        yield from _head("dualml_request_seconds", "histogram", "Time from a request's head to its answer.")
        for endpoint, histogram in sorted(self.seconds.items()):
            yield from histogram.lines("dualml_request_seconds", f'endpoint="{endpoint}"')
        yield from _head("dualml_rows_total", "counter", "Examples that were predicted.")
        yield f"dualml_rows_total {self.rows}"
        yield from _head("dualml_engine_seconds", "histogram", "Time of one pass of the engine.")
        yield from self.engine.lines("dualml_engine_seconds")
        yield from _head("dualml_batch_rows", "histogram", "Examples in one pass of the engine.")
        yield from self.batches.lines("dualml_batch_rows")
        for gauge, (text, value) in self.gauges.items():
            yield from _head(gauge, "gauge", text)
            yield f"{gauge} {value()}"
        yield from _head("process_start_time_seconds", "gauge", "When the server was started, in seconds since 1970.")
        yield f"process_start_time_seconds {self.started!r}"
        memory = resident_bytes()
        if memory is not None:
            yield from _head("process_resident_memory_bytes", "gauge", "Memory in use.")
            yield f"process_resident_memory_bytes {memory}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def resident_bytes() -> int | None:
    """Memory of this process; ``None`` where the system does not say it in a file."""
    if not sys.platform.startswith("linux"):
        return None
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
