"""What a server costs: requests a second beside FastAPI with pydantic, start, memory after bad requests, overload.

The model is that of ``configs/mlp.yaml`` with its first weights; a request holds one row of 1,024 numbers. Both servers
run the same ONNX file behind uvicorn in a process of their own, and take turns; the client is a third process. What
decides is how many requests one processor that a server has for itself would answer: the ratio of the processor times
that the servers took for a request. Requests a second on the wall clock are printed beside it; where the client and
whatever else runs share the processors, they differ less.

Run: python benchmarks/serve.py [turns]        (needs fastapi beside dualml[serve])
"""

import asyncio
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np

CONFIG = Path(__file__).parents[1] / "configs" / "mlp.yaml"
LEAST_RATIO, LEAST_BINARY = 1.7, 1.2
MOST_START, MOST_GROWTH = 1.5, 30.0
CONNECTIONS, REQUESTS = 32, 3000
CROWD, CROWD_REQUESTS, CROWD_ROWS = 300, 3000, 64


def fastapi_server(path: str, port: int) -> None:
    """The same model as FastAPI's documentation would have it served."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    from dualml.artefact import open_artefact

    artefact = open_artefact(path)
    session = artefact.open_session(threads=1)
    given = artefact.manifest.inputs[0].name

    class Input(BaseModel):
        name: str
        shape: list[int]
        datatype: str
        data: list[float]

    class Request(BaseModel):
        inputs: list[Input]

    class Output(BaseModel):
        name: str
        shape: list[int]
        datatype: str
        data: list[float]

    class Answer(BaseModel):
        model_name: str
        outputs: list[Output]

    app = FastAPI()

    @app.post("/v2/models/mlp/infer")
    async def infer(request: Request) -> Answer:
        array = np.array(request.inputs[0].data, np.float32).reshape(request.inputs[0].shape)
        found = session.run(artefact.prepare({given: array}))
        outputs = [
            Output(name=name, shape=list(item.shape), datatype="FP32", data=item.ravel().tolist())
            for name, item in found.items()
        ]
        return Answer(model_name="mlp", outputs=outputs)

    uvicorn.run(app, port=port, log_level="error", access_log=False, http="httptools")


class Client(asyncio.Protocol):
    """Sends a request again as soon as it is answered; connects again when the server closes after an answer."""

    def __init__(self, load: "Load") -> None:
        self.load, self.data, self.waiting = load, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        if self.load.left == 0:
            self.transport.close()
            return
        self.load.left -= 1
        self.data, self.waiting = b"", True
        self.transport.write(self.load.request)

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end:
            return
        head = head.lower()
        if len(body) < int(re.search(rb"content-length: (\d+)", head)[1]):
            return
        self.waiting = False
        status = int(head.split(b" ", 2)[1])
        self.load.statuses[status] += 1
        self.load.without_hint += status == 503 and b"retry-after: " not in head
        if b"connection: close" in head:
            self.transport.close()
        else:
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        self.load.unanswered += self.waiting
        self.load.closed(self.waiting)


class Load:
    """A number of requests over some connections, each sent when the one before is answered."""

    def __init__(self, port: int, request: bytes, connections: int, requests: int) -> None:
        self.port, self.request, self.connections, self.left = port, request, connections, requests
        self.statuses: Counter[int] = Counter()
        self.without_hint = self.unanswered = 0

    def closed(self, unanswered: bool) -> None:
        """A connection has ended: open another, or note that all are done."""
        if self.left and not unanswered:
            self.tasks.append(asyncio.ensure_future(self.connect()))
        else:
            self.open -= 1
            if self.open == 0:
                self.done.set()

    async def connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: Client(self), "127.0.0.1", self.port)

    async def run(self) -> float:
        """Requests a second."""
        self.done, self.open, self.tasks = asyncio.Event(), self.connections, []
        begun = time.perf_counter()
        wanted = self.left
        await asyncio.gather(*(self.connect() for _ in range(self.connections)))
        await asyncio.wait_for(self.done.wait(), 300)
        return wanted / (time.perf_counter() - begun)


def post(path: str, body: bytes, headers: str = "") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{headers}\r\n"
    ).encode() + body


def json_request(rows: np.ndarray) -> bytes:
    tensor = {"name": "input", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()}
    return post("/v2/models/mlp/infer", json.dumps({"inputs": [tensor]}).encode())


def binary_request(rows: np.ndarray) -> bytes:
    data = rows.astype("<f4").tobytes()
    tensor = {"name": "input", "shape": list(rows.shape), "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": len(data)}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return post("/v2/models/mlp/infer", head + data, f"Inference-Header-Content-Length: {len(head)}\r\n")


def answers(port: int, path: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return answer.status == 200
    return False


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def process(command: list[str], port: int, path: str):
    """A server, with the seconds it took until it answered."""
    begun = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not answers(port, path):
            if child.poll() is not None or time.perf_counter() - begun > 60:
                sys.exit(f"{' '.join(command)}: does not answer")
            time.sleep(0.01)
        yield child, time.perf_counter() - begun
    finally:
        child.terminate()
        child.wait(20)


def dualml_server(path: Path, *options: str):
    port = free_port()
    command = [sys.executable, "-m", "dualml", "serve", str(path), "--port", str(port), "--quiet", *options]
    return port, process(command, port, "/v2/health/ready")


def mebibytes(child: subprocess.Popen) -> float:
    text = Path(f"/proc/{child.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def processor_seconds(child: subprocess.Popen) -> float:
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def throughput(path: Path, turns: int) -> bool:
    row = np.random.default_rng(0).random((1, 1024), np.float32)
    other = free_port()
    command = [sys.executable, str(Path(__file__).resolve()), "fastapi", str(path), str(other)]
    port, server = dualml_server(path)
    with server as (own, _), process(command, other, "/openapi.json") as (rival, _):
        ways = {
            "dualml, JSON": (own, port, json_request(row)),
            "dualml, binary": (own, port, binary_request(row)),
            "FastAPI, JSON": (rival, other, json_request(row)),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        costs: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(turns + 1):
            for name, (child, where, request) in ways.items():
                load = Load(where, request, CONNECTIONS, REQUESTS)
                before = processor_seconds(child)
                rate = asyncio.run(load.run())
                assert load.statuses == {200: REQUESTS}, (name, load.statuses)
                if turn:  # the first one warms up
                    rates[name].append(rate)
                    costs[name].append((processor_seconds(child) - before) / REQUESTS)
        print(f"memory: dualml {mebibytes(own):.0f} MiB, FastAPI {mebibytes(rival):.0f} MiB")
    for name in ways:
        print(
            f"{name:15} {statistics.median(rates[name]):6.0f} requests/s, {1e6 * min(costs[name]):4.0f} µs of the "
            f"server's processor each; x {ratio(rates[name], rates['FastAPI, JSON']):.2f} of FastAPI with pydantic, by "
            f"processor x {min(costs['FastAPI, JSON']) / min(costs[name]):.2f}"
        )
    json_ratio = min(costs["FastAPI, JSON"]) / min(costs["dualml, JSON"])
    binary = min(costs["dualml, JSON"]) / min(costs["dualml, binary"])
    print(f"JSON x {json_ratio:.2f} (at least {LEAST_RATIO}), binary x {binary:.2f} of JSON (at least {LEAST_BINARY})")
    return json_ratio >= LEAST_RATIO and binary >= LEAST_BINARY


def ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def start(path: Path, turns: int) -> bool:
    seconds = []
    for _ in range(turns):
        _, server = dualml_server(path)
        with server as (_, found):
            seconds.append(found)
    print(f"start: quickest {min(seconds):.2f} s, median {statistics.median(seconds):.2f} s (limit {MOST_START})")
    return min(seconds) <= MOST_START


def bad_requests() -> list[bytes]:
    path = "/v2/models/mlp/infer"
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    return [
        post(path, b'{"inputs":' + b"[" * 1_000_000),
        post(path, b"{" + b",".join(b'"k%d":1' % number for number in range(200_000)) + b"}"),
        post(path, b"\xff" * 4_000_000),
        post(path, b"[" + b"0," * 2_000_000 + b"0]"),
        post(path, json.dumps({"inputs": [{"name": "input", "shape": [1, 1024], "datatype": "FP32",
                                           "data": [0] * 1_000_000}]}).encode()),
        post(path, b" " * 9_000_000),
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunk * 20,
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    ]  # fmt: skip


def memory(path: Path, turns: int) -> bool:
    port, server = dualml_server(path)
    with server as (child, _):
        asyncio.run(Load(port, json_request(np.zeros((1, 1024), np.float32)), 8, 500).run())
        before = mebibytes(child)
        most = before
        for _ in range(turns):
            for request in bad_requests():
                load = Load(port, request, 4, 8)
                asyncio.run(load.run())
                assert set(load.statuses) <= {400, 413, 431}, load.statuses
                assert load.unanswered == 0
            most = max(most, mebibytes(child))
        print(f"memory: {before:.0f} MiB before bad requests, at most {most:.0f} after, limit +{MOST_GROWTH:.0f}")
    return most - before <= MOST_GROWTH


def overload(path: Path) -> bool:
    """Requests that take the queue, from more connections than it holds."""
    rows = np.random.default_rng(0).random((CROWD_ROWS, 1024), np.float32)
    port, server = dualml_server(path, "--threads", "1", "--max-queue", "4")
    with server as (child, _):
        before = mebibytes(child)
        load = Load(port, binary_request(rows), CROWD, CROWD_REQUESTS)
        asyncio.run(load.run())
        after = Load(port, binary_request(rows), 1, 20)
        asyncio.run(after.run())
        print(
            f"{CROWD} connections: {dict(load.statuses)}, {load.unanswered} without an answer, "
            f"{load.without_hint} of 503 without Retry-After; then {dict(after.statuses)}; "
            f"memory {before:.0f} -> {mebibytes(child):.0f} MiB"
        )
    right = set(load.statuses) == {200, 503} and not load.unanswered and not load.without_hint
    return right and after.statuses == {200: 20}


def main(turns: int = 7) -> int:
    import dualml
    from dualml.artefact import create
    from dualml.weights import initial_weights

    spec = dualml.load(CONFIG)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "mlp"
        create((spec, initial_weights(spec.graph, 0)), path, name="mlp", backends=())
        right = [throughput(path, turns), start(path, turns), memory(path, turns), overload(path)]
    return 0 if all(right) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["fastapi"]:
        fastapi_server(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main(*map(int, sys.argv[1:])))
