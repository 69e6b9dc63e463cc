"""Runs the model for requests: at once where that is quicker than a change of threads, else on worker threads.

Requests that wait while all workers are busy may be computed together. Nothing ever waits for others to arrive.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from dualml.errors import ServingError
from dualml.serving.model import Arrays, Model
from dualml.serving.refusals import busy
from dualml.serving.settings import Settings
from dualml.serving.telemetry import Telemetry

QUICK = 0.0005
"""Seconds: a pass that takes less is cheaper than handing it to another thread and back."""
PAYS = 0.7
"""A batch must take less than this share of the time of its examples one by one, or batching gains nothing."""
_TRIED_ROWS = 8
_PASSES, _ENOUGH = 5, 0.2


@dataclass
class _Job:
    inputs: Arrays
    rows: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Arrays] = field(repr=False)


class Engine:
    """The model with its queue and its workers.

    Attributes:
        seconds: Time of one pass with one example, measured at the start.
        batching: Whether requests that wait are computed together.

    Raises:
        ServingError: Batching is asked for, but the model's answers depend on what stands beside an example.
    """

    def __init__(self, model: Model, settings: Settings, telemetry: Telemetry) -> None:
        if settings.batching == "on" and not model.batch_invariant:
            raise ServingError(
                f"{model.name}: an example's answer depends on the others in its batch (batch_invariant is false in "
                "the manifest), so requests must not be computed together; use --batching auto or off"
            )
        self._model, self._settings, self._telemetry = model, settings, telemetry
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._busy = 0
        self._workers: list[threading.Thread] = []
        self.seconds, together = self._measure()
        pays = self.seconds > QUICK and together < PAYS * _TRIED_ROWS * self.seconds
        self.batching = settings.batching == "on" or (settings.batching == "auto" and model.batch_invariant and pays)
        telemetry.gauges["dualml_queue_length"] = ("Requests that wait for the engine.", lambda: len(self._waiting))
        telemetry.gauges["dualml_engine_busy"] = ("Passes of the engine in progress.", lambda: self._busy)

    def _measure(self) -> tuple[float, float]:
        """Time of a pass with one example and with several."""
        one = self._model.prepare(self._model.example)
        several = {name: np.repeat(array, _TRIED_ROWS, axis=0) for name, array in one.items()}
        self._model.run(one)  # the first pass also makes room for what the later ones use
        return self._fastest(one), self._fastest(several)

    def _fastest(self, inputs: Arrays) -> float:
        times: list[float] = []
        while len(times) < _PASSES and sum(times) < _ENOUGH:
            begun = time.perf_counter()
            self._model.run(inputs)
            times.append(time.perf_counter() - begun)
        return min(times)

    async def run(self, inputs: Arrays, rows: int) -> Arrays:
        """Outputs for prepared inputs.

        Raises:
            RefusedError: The queue is full, or the answer takes too long.
        """
        if rows * self.seconds <= QUICK:
            begun = time.perf_counter()
            outputs = self._model.run(inputs)
            self._telemetry.computed(rows, time.perf_counter() - begun)
            return outputs
        if len(self._waiting) >= self._settings.queue:
            raise busy(f"{self._settings.queue} requests are waiting already; try again later", self._wait())
        loop = asyncio.get_running_loop()
        job = _Job(inputs, rows, loop, loop.create_future())
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()
        try:
            async with asyncio.timeout(self._settings.answer_seconds):
                return await job.future
        except TimeoutError:
            job.future.cancel()
            most = self._settings.answer_seconds
            raise busy(f"the answer took longer than {most:g} s; try again later", self._wait()) from None

    def _wait(self) -> float:
        """Seconds until the queue is worked off, roughly."""
        return len(self._waiting) * self.seconds / self._settings.threads

    def start(self) -> None:
        """Start the workers."""
        for number in range(self._settings.threads):
            worker = threading.Thread(target=self._work, name=f"dualml-engine-{number}", daemon=True)
            worker.start()
            self._workers.append(worker)

    def stop(self) -> None:
        """Stop the workers; passes in progress end first."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join(self._settings.stop_seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if self._stopped:
                    return
                jobs = self._take()
                self._busy += 1
            try:
                self._compute(jobs)
            finally:
                with self._changed:
                    self._busy -= 1

    def _take(self) -> list[_Job]:
        jobs = [self._waiting.popleft()]
        rows = jobs[0].rows
        while self.batching and self._waiting and rows + self._waiting[0].rows <= self._settings.rows:
            rows += self._waiting[0].rows
            jobs.append(self._waiting.popleft())
        return [job for job in jobs if not job.future.cancelled()]

    def _compute(self, jobs: list[_Job]) -> None:
        if not jobs:
            return
        begun = time.perf_counter()
        try:
            outputs = self._model.run(_joined([job.inputs for job in jobs]))
        except Exception as error:  # whatever it is, the requests must be answered
            if len(jobs) > 1:  # one of them may be at fault: the others are not to suffer for it
                for job in jobs:
                    self._compute([job])
                return
            _give(jobs[0], error)
            return
        seconds = time.perf_counter() - begun
        rows = sum(job.rows for job in jobs)
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            jobs[0].loop.call_soon_threadsafe(self._telemetry.computed, rows, seconds)
        start = 0
        for job in jobs:
            part = slice(start, start + job.rows)
            _give(job, {name: array[part] for name, array in outputs.items()} if len(jobs) > 1 else outputs)
            start += job.rows


def _joined(inputs: list[Arrays]) -> Arrays:
    if len(inputs) == 1:
        return inputs[0]
    return {name: np.concatenate([item[name] for item in inputs]) for name in inputs[0]}


def _give(job: _Job, result: Arrays | Exception) -> None:
    def settle() -> None:
        if job.future.done():
            return
        if isinstance(result, Exception):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)

    with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
        job.loop.call_soon_threadsafe(settle)
