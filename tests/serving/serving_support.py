"""A server in a thread of the test, and a client that sends exactly the bytes it is given."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass

import numpy as np

from dualml.serving.model import Model
from dualml.serving.server import listen, make_server
from dualml.serving.settings import Settings
from dualml.serving.tensors import Tensor

PATIENCE = 20.0


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Running:
    """A server that answers."""

    host: str
    port: int
    model: Model
    server: object

    def connect(self, timeout=PATIENCE):
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def exchange(self, data, *, finish=False):
        """The answers to some bytes: all that come until the server closes or has nothing more to say."""
        with self.connect() as connection:
            connection.sendall(data)
            if finish:
                connection.shutdown(socket.SHUT_WR)
            return read_answer(connection)

    def request(self, method, path, body=None, **headers):
        return self.exchange(request_bytes(method, path, body, **headers))

    def get(self, path, **headers):
        return self.request("GET", path, **headers)

    def post(self, path, document, **headers):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.request("POST", path, body, **{"content_type": "application/json", **headers})

    def infer(self, document, **headers):
        return self.post(f"/v2/models/{self.model.name}/infer", document, **headers)

    def metric(self, name):
        lines = self.get("/metrics").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def request_bytes(method, path, body=None, **headers):
    """A request; a header's underscores are dashes, and ``None`` leaves it out."""
    wanted = {"host": "127.0.0.1", **({} if body is None else {"content_length": len(body)}), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in wanted.items() if value is not None]
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""])
    return head.encode("latin-1") + (body or b"")


def read_answer(connection):
    """One answer; ``None`` if the server closes without any."""
    with connection.makefile("rb") as stream:
        try:
            first = stream.readline()
        except ConnectionResetError:
            return None
        if not first:
            return None
        status = int(first.split()[1])
        if status == 100:
            stream.readline()
            status = int(stream.readline().split()[1])
        headers = {}
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return Answer(status, headers, stream.read(int(headers["content-length"])))


@contextlib.contextmanager
def running(model, **settings):
    """A server of a model in a thread."""
    chosen = Settings(**{"port": 0, "threads": 2, "read_seconds": 1.0, **settings})
    server = make_server(model, chosen)
    bound = listen(chosen)
    host, port = bound.getsockname()[:2]
    failures = []

    def run():
        try:
            asyncio.run(server.serve(sockets=[bound]))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_until(lambda: server.started or failures)
    try:
        yield Running(host, port, model, server)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        bound.close()
        assert not thread.is_alive()
        assert not failures, failures


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.005)


def made_model(run=None, *, width=4, batch_invariant=True, **changes):
    """A model whose output is its input times two, or what ``run`` makes of it."""
    return Model(
        **{
            "name": "double",
            "version": "1",
            "inputs": (Tensor("x", "FP32", (width,)),),
            "outputs": (Tensor("y", "FP32", (width,)),),
            "prepare": lambda arrays: arrays,
            "run": run or (lambda arrays: {"y": arrays["x"] * np.float32(2)}),
            "example": {"x": np.zeros((1, width), dtype=np.float32)},
            "batch_invariant": batch_invariant,
            **changes,
        }
    )


def document(rows, name="x", datatype="FP32"):
    """An inference request for a matrix."""
    rows = np.asarray(rows)
    return {"inputs": [{"name": name, "shape": list(rows.shape), "datatype": datatype, "data": rows.ravel().tolist()}]}
