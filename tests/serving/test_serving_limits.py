"""Limits on body, time, queue and connections; batching; stopping."""

import concurrent.futures
import contextlib
import json
import re
import socket
import threading
import time

import numpy as np
import pytest
from serving_support import document, made_model, read_answer, request_bytes, running, wait_until

from dualml.errors import ServingError

INFER = "/v2/models/double/infer"
ASKED = json.dumps(document([[1, 2, 3, 4]])).encode()


class Held:
    """A model that stands still until it is let go, and says what it was given."""

    def __init__(self):
        self.go, self.batches = threading.Event(), []
        self.lock = threading.Lock()
        self.started = False  # the engine measures the model first

    def __call__(self, arrays):
        if not self.started:
            time.sleep(0.001)  # so that no pass is quick enough for the event loop's thread
            return {"y": arrays["x"] * np.float32(2)}
        with self.lock:
            self.batches.append(len(arrays["x"]))
        assert self.go.wait(20)
        if (arrays["x"] == 13).any():
            raise ValueError("unlucky")
        return {"y": arrays["x"] * np.float32(2)}


@pytest.fixture
def held():
    found = Held()
    yield found
    found.go.set()


def asked(server, count, rows=None):
    """That many requests in flight, each on its own connection."""
    pool = concurrent.futures.ThreadPoolExecutor(count)
    body = rows or [[[number] * 4] for number in range(1, count + 1)]
    return [pool.submit(server.infer, document(body[number])) for number in range(count)]


def test_a_full_queue_answers_503_and_recovers(held):
    with running(made_model(held), threads=1, queue=2) as server:
        held.started = True
        waiting = []
        for number in range(3):  # one in the engine, two in the queue
            waiting += asked(server, 1)
            wait_until(lambda number=number: server.metric("dualml_queue_length") == number)
        refused = server.infer(document([[1, 2, 3, 4]]))
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert "2 requests are waiting" in refused.json["error"]
        assert server.get("/v2/health/live").status == 200
        held.go.set()
        assert [item.result().status for item in waiting] == [200] * 3
        assert server.infer(document([[1, 2, 3, 4]])).json["outputs"][0]["data"] == [2, 4, 6, 8]


def test_an_answer_that_takes_too_long_is_503(held):
    with running(made_model(held), answer_seconds=0.2) as server:
        held.started = True
        answer = server.infer(document([[1, 2, 3, 4]]))
        assert answer.status == 503
        assert "longer than 0.2 s" in answer.json["error"]
        held.go.set()
        assert server.infer(document([[1, 2, 3, 4]])).status == 200


def test_what_waits_is_computed_together(held):
    with running(made_model(held), threads=1, batching="on") as server:
        held.started = True
        first = asked(server, 1)
        wait_until(lambda: held.batches == [1])
        rest = asked(server, 5, [[[number] * 4] * number for number in range(1, 6)])
        wait_until(lambda: server.metric("dualml_queue_length") == 5)
        held.go.set()
        assert first[0].result().status == 200
        for number, item in enumerate(rest, 1):
            assert item.result().json["outputs"][0] == {
                "name": "y", "datatype": "FP32", "shape": [number, 4], "data": [2 * number] * 4 * number,
            }  # fmt: skip
        assert held.batches == [1, 15]


def test_no_batch_is_larger_than_a_request_may_be(held):
    with running(made_model(held), threads=1, batching="on", rows=6) as server:
        held.started = True
        asked(server, 1)
        wait_until(lambda: held.batches == [1])
        rest = asked(server, 4, [[[1] * 4] * 3] * 4)
        wait_until(lambda: server.metric("dualml_queue_length") == 4)
        held.go.set()
        assert [item.result().status for item in rest] == [200] * 4
        assert held.batches == [1, 6, 6]


def test_one_bad_request_does_not_spoil_its_batch(held, caplog):
    with running(made_model(held), threads=1, batching="on") as server:
        held.started = True
        asked(server, 1)
        wait_until(lambda: held.batches == [1])
        rest = asked(server, 3, [[[1] * 4], [[13] * 4], [[2] * 4]])
        wait_until(lambda: server.metric("dualml_queue_length") == 3)
        held.go.set()
        answers = [item.result() for item in rest]
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert answers[1].json == {"error": "the server failed; its log says why"}
    assert "unlucky" in caplog.text


@pytest.mark.parametrize(("batching", "invariant"), [("auto", False), ("off", True), ("off", False)])
def test_nothing_is_put_together_where_it_must_not(held, batching, invariant):
    """Each client's rows go through the engine alone."""
    with running(made_model(held, batch_invariant=invariant), threads=1, batching=batching) as server:
        held.started = True
        asked(server, 1)
        wait_until(lambda: held.batches == [1])
        rest = asked(server, 3)
        wait_until(lambda: server.metric("dualml_queue_length") == 3)
        held.go.set()
        assert [item.result().status for item in rest] == [200] * 3
        assert held.batches == [1] * 4


def test_batching_is_refused_for_a_model_that_mixes_rows():
    with (
        pytest.raises(ServingError, match="batch_invariant is false"),
        running(made_model(batch_invariant=False), batching="on"),
    ):
        pass


def slow(seconds_a_row, seconds_a_pass):
    def run(arrays):
        time.sleep(seconds_a_pass + seconds_a_row * len(arrays["x"]))
        return {"y": arrays["x"]}

    return run


@pytest.mark.parametrize(
    ("run", "wanted"),
    [(slow(0, 0.005), True), (slow(0.005, 0), False), (None, False)],
    ids=["shared", "by row", "quick"],
)
def test_auto_batches_only_where_it_pays(run, wanted):
    """A pass that costs the same however many rows: yes. Rows that cost each: no. A pass quicker than a thread: no."""
    from dualml.serving.engine import Engine
    from dualml.serving.settings import Settings
    from dualml.serving.telemetry import Telemetry

    assert Engine(made_model(run), Settings(threads=1), Telemetry()).batching is wanted


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_too_long_is_413(declared):
    with running(made_model(), body_bytes=2000) as server:
        body = ASKED + b" " * 3000
        if declared:
            data = request_bytes("POST", INFER, content_length=3_000_000_000) + body
        else:
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:1500], body[1500:]))
            data = request_bytes("POST", INFER, transfer_encoding="chunked") + chunks
        answer = server.exchange(data)
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert "2,000 bytes" in answer.json["error"]
        fits = server.infer(ASKED + b" " * (2000 - len(ASKED)))
        assert fits.status == 200


def test_the_answer_to_a_body_too_long_reaches_who_is_still_sending():
    """Closing with unread bytes would reset the connection, and the client would see no status."""
    with running(made_model(), body_bytes=2000) as server, server.connect() as connection:
        connection.sendall(request_bytes("POST", INFER, content_length=20_000_000))
        for _ in range(20):
            connection.sendall(b" " * 100_000)
        assert read_answer(connection).status == 413


def test_bodies_of_all_connections_together_are_bounded():
    part = request_bytes("POST", INFER, content_length=1950) + b" " * 1900
    with running(made_model(), body_bytes=2000, read_seconds=5) as server, contextlib.ExitStack() as stack:
        for _ in range(8):  # 15,200 bytes of the 16,000 that are allowed
            stack.enter_context(server.connect()).sendall(part)
        wait_until(lambda: server.metric("dualml_body_bytes_held") == 15_200)
        last = server.exchange(part)
        assert (last.status, last.headers["retry-after"]) == (503, "1")
        assert "memory" in last.json["error"]
        stack.close()
        wait_until(lambda: server.metric("dualml_body_bytes_held") == 0)
        assert server.infer(ASKED).status == 200


@pytest.mark.parametrize(
    "data",
    [
        request_bytes("POST", INFER, content_length=100) + b'{"inputs"',
        request_bytes("POST", INFER, transfer_encoding="chunked") + b"5\r\n{\"inp",
        b"POST /v2/models/double/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow:",
        b"GET",
    ],
    ids=["body", "chunk", "head", "word"],
)  # fmt: skip
def test_a_request_that_stops_is_408(double, data):
    begun = time.monotonic()
    answer = double.exchange(data)
    assert answer.status == 408
    assert 0.9 < time.monotonic() - begun < 6


def test_a_request_that_trickles_is_408(double):
    with double.connect() as connection:
        connection.sendall(request_bytes("POST", INFER, content_length=1000))
        stop = threading.Event()

        def trickle():
            while not stop.wait(0.05):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert read_answer(connection).status == 408
        finally:
            stop.set()
            thread.join()


def test_a_connection_that_says_nothing_is_closed(double):
    with double.connect() as connection:
        assert read_answer(connection) is None


def test_a_client_that_reads_no_answers_is_cut_off():
    """It asks and asks; what it would have to read must not pile up."""
    body = json.dumps(document(np.full((1, 4096), 0.123456))).encode()
    with running(made_model(width=4096), write_seconds=0.5) as server, server.connect(timeout=2) as connection:
        with contextlib.suppress(OSError):
            for _ in range(400):
                connection.sendall(request_bytes("POST", INFER, body))
        wait_until(lambda: server.metric("dualml_connections") == 1)
        assert server.metric('dualml_requests_total{endpoint="infer",status="200"}') < 400
        assert server.infer(body).status == 200


def test_a_request_that_has_to_wait_for_an_earlier_one_is_not_slow(held):
    """A client may send the next request before the answer; only so much of it is read until then."""
    body = ASKED + b" " * 400_000
    with running(made_model(held), read_seconds=0.3) as server, server.connect() as connection:
        held.started = True
        threading.Timer(1.0, held.go.set).start()
        connection.sendall(request_bytes("POST", INFER, ASKED) + request_bytes("POST", INFER, body, connection="close"))
        data = b""
        while part := connection.recv(65536):
            data += part
    assert re.findall(rb"HTTP/1.1 (\d+)", data) == [b"200", b"200"]


def test_a_client_that_goes_away_does_no_harm(double):
    for data in (request_bytes("POST", INFER, content_length=100) + b"{", request_bytes("POST", INFER, ASKED)):
        with double.connect() as connection:
            connection.sendall(data)
    wait_until(lambda: double.metric("dualml_connections") == 1)
    assert double.infer(ASKED).status == 200
    assert double.metric('dualml_requests_total{endpoint="infer",status="500"}') == 0


def test_connections_beyond_the_limit_get_503():
    with running(made_model(), connections=3) as server:
        open_ones = [server.connect() for _ in range(3)]
        try:
            answers = [server.get("/v2/health/live") for _ in range(4)]
            assert [answer.status for answer in answers] == [503] * 4
            assert all(answer.headers["retry-after"] == "1" for answer in answers)
        finally:
            for connection in open_ones:
                connection.close()
        wait_until(lambda: server.get("/v2/health/live").status == 200)


def test_a_stop_answers_what_is_in_progress(held):
    with running(made_model(held), threads=1, batching="off") as server:
        held.started = True
        waiting = asked(server, 2)
        wait_until(lambda: server.metric("dualml_queue_length") == 1)
        server.server.should_exit = True

        def closed():
            with socket.socket() as probe:
                return probe.connect_ex((server.host, server.port)) != 0

        wait_until(closed)
        held.go.set()
        assert [item.result().status for item in waiting] == [200, 200]


def test_a_stop_does_not_wait_for_ever(held):
    with running(made_model(held), threads=1, stop_seconds=0.3) as server:
        held.started = True
        waiting = asked(server, 1)
        wait_until(lambda: held.batches == [1])
        begun = time.monotonic()
        threading.Timer(2, held.go.set).start()
    assert time.monotonic() - begun < 8
    assert waiting[0].exception() is not None or waiting[0].result() is None or waiting[0].result().status == 500
