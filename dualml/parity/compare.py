"""Cross-check two sides: run both, judge both, decide.

Both sides run freely and in step with each other. At chosen updates the right side also starts from the
left side's state, does that one update, and everything in it is judged on both sides. This is done in
both precisions: float64 decides whether the two mean the same, float32 measures rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from operator import methodcaller
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from dualml import registry
from dualml.api import checked, load_dataset
from dualml.config import load
from dualml.errors import ParityError
from dualml.parity import verdict
from dualml.parity.judge import LIMIT, judge
from dualml.parity.records import PHASES, Key, Record, difference, same_bits
from dualml.parity.remote import RemoteSide
from dualml.parity.report import Check, Report
from dualml.parity.runs import stored_results
from dualml.parity.side import LocalSide, Side, first_piece_only
from dualml.parity.structure import incomparable
from dualml.parity.verdict import Evidence
from dualml.protocol import Array
from dualml.spec.config import Spec
from dualml.spec.graph import Arithmetic, Precision
from dualml.spec.mixed import MIXED
from dualml.spec.schedules import ReduceOnPlateau
from dualml.training.plan import Plan
from dualml.training.run_directory import StoredRun, open_run
from dualml.weights import initial_weights

FIRST_STEPS = 3
"""Updates judged in full at the beginning: a wrong beta2 is invisible at step 1 alone."""
LAST_SECONDARY_STEP = 50
"""How far the precision that was not asked for is run."""
BYTES_IN_FLIGHT = 128 * 2**20
"""Most bytes of weights that one exchange of records may hold."""

_T = TypeVar("_T")


def tell_nobody(_message: str) -> None:
    """Take no notice of what is being done."""


def compare(
    left: Spec | str | Path,
    right: Spec | str | Path | None = None,
    *,
    backends: Sequence[str] = ("torch", "tensorflow"),
    steps: int = 20,
    processes: bool = False,
    replay: str = "",
    told: Callable[[str], None] = tell_nobody,
) -> Report:
    """Cross-check two backends on one spec, or two specs or finished runs.

    Args:
        left: A spec, config file or run directory.
        right: The other side; left out, ``left`` runs in both ``backends``.
        backends: The two sides of one spec.
        steps: Updates of the free run.
        processes: Give each side a process of its own.
        replay: The command that repeats it, for the report.
        told: Called with a line about what is being done.

    Raises:
        DualmlError: Something given is not usable.
    """
    begun = time.perf_counter()
    if steps < 1:
        raise ParityError(f"a comparison needs at least 1 step, got steps={steps}")
    if len(backends) != 2:
        raise ParityError(
            f"a comparison has two sides, got {len(backends)} backends; give two, for example torch,tensorflow"
        )
    if right is not None and _is_run(left) != _is_run(right) and not isinstance(left, Spec):
        raise ParityError(
            f"{left} and {right}: give two finished runs, or one config for both backends, not one of each"
        )
    one, runs_one = _given(left)
    two, runs_two = (one, None) if right is None else _given(right)
    if right is None:
        one, two = one.replace(backend=backends[0]), two.replace(backend=backends[1])
    here = Path()
    comparison = Comparison(checked(one.anchored(here)), checked(two.anchored(here)), steps, processes, told)
    evidence = comparison.run()
    if runs_one is not None and runs_two is not None:
        evidence.runs = stored_results(runs_one, runs_two, comparison.dataset())
    return verdict.report(evidence, replay or _call(left, right, steps), time.perf_counter() - begun)


def _call(left: Spec | str | Path, right: Spec | str | Path | None, steps: int) -> str:
    sides = ["spec" if isinstance(side, Spec) else repr(str(side)) for side in (left, right) if side is not None]
    return f"dualml.compare({', '.join(sides)}, steps={steps})"


def _is_run(side: Spec | str | Path) -> bool:
    return not isinstance(side, Spec) and Path(side).is_dir()


def _given(side: Spec | str | Path) -> tuple[Spec, StoredRun | None]:
    if isinstance(side, Spec):
        return side, None
    if Path(side).is_dir():
        run = open_run(side)
        return run.spec, run
    return load(side), None


@dataclass
class Comparison:
    """One comparison in progress.

    Attributes:
        left: The left side's resolved spec.
        right: The right side's.
        steps: Updates of the free run.
        processes: Whether each side has a process of its own.
        told: Called with a line about what is being done.
    """

    left: Spec
    right: Spec
    steps: int
    processes: bool
    told: Callable[[str], None]
    data: Any = None

    def __post_init__(self) -> None:
        self.skipped: list[dict[str, str]] = []
        if "native" in (self.left.randomness, self.right.randomness):
            self.skipped.append(
                {
                    "what": "each framework's own dropout masks (randomness: native)",
                    "why": "they differ by design; both sides were given the same masks instead",
                }
            )
            self.left = self.left.replace(randomness="shared").resolved
            self.right = self.right.replace(randomness="shared").resolved

        if first_piece_only(self.left) or first_piece_only(self.right):
            self.skipped.append(
                {
                    "what": "the pieces of an update behind its first one (train.accumulate)",
                    "why": "each piece is normalised by its own statistics and moves the running ones, so no single "
                    "pass stands for them; the free run did them, in both backends",
                }
            )
        for schedule in dict.fromkeys(side.schedule for side in (self.left, self.right)):
            if isinstance(schedule, ReduceOnPlateau):
                self.skipped.append(
                    {
                        "what": f"reductions of the learning rate by reduce_on_plateau ({schedule.metric})",
                        "why": "they follow what a training measures after each epoch, which a comparison of updates "
                        "does not; both sides kept the rate as it is before any reduction",
                    }
                )

    def dataset(self) -> Any:
        """The left side's examples, loaded once."""
        if self.data is None:
            self.data = load_dataset(self.left)
        return self.data

    def run(self) -> Evidence:
        """Run both sides in the precision asked for and in those that decide."""
        evidence = Evidence(self.left, self.right, skipped=self.skipped)
        evidence.structure = incomparable(self.left, self.right)
        with ExitStack() as stack:
            sides = self.sides(stack)
            self.told(f"starting {self.left.backend} and {self.right.backend}")
            evidence.descriptions = self.both(sides, methodcaller("describe"))
            if evidence.structure is not None:
                return evidence
            primary: Arithmetic = MIXED if MIXED in (self.left.precision, self.right.precision) else self.left.precision
            others: tuple[Precision, ...] = ("float64", "float32")
            for precision in (primary, *(other for other in others if other != primary)):
                self.told(f"{precision}: running both sides")
                _Pass(self, sides, precision, precision == primary, evidence).run()
        return evidence

    def sides(self, stack: ExitStack) -> tuple[Side, Side]:
        """Both sides, closed when the stack is."""
        if self.processes:
            for spec in (self.left, self.right):
                registry.require(spec.backend)  # a plain message before two processes are started
            # Each is handed to the stack as soon as it is there: an interrupt between the two leaves nothing behind.
            left = stack.enter_context(closing(RemoteSide(self.left)))
            return left, stack.enter_context(closing(RemoteSide(self.right)))
        for name in sorted({self.left.backend, self.right.backend}, key=registry.load_order):
            registry.load(name)
        same = self.left.data == self.right.data and self.left.seed == self.right.seed
        right = self.dataset() if same else load_dataset(self.right)
        return LocalSide(self.left, self.dataset()), LocalSide(self.right, right)

    def both(self, sides: tuple[Side, Side], ask: Callable[[Side], _T]) -> tuple[_T, _T]:
        """Ask both sides the same: at once if each has a process, else one after the other."""
        if not self.processes:
            return ask(sides[0]), ask(sides[1])
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(ask, side) for side in sides]
            return answers[0].result(), answers[1].result()


@dataclass
class _Pass:
    """The run of both sides in one precision.

    In mixed precision nothing is judged: no bound on a product in bfloat16 is proven. Both sides run freely, and what
    they mean is judged in the other precisions.
    """

    comparison: Comparison
    sides: tuple[Side, Side]
    precision: Arithmetic
    primary: bool
    evidence: Evidence
    checks: list[Check] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.specs = tuple(
            spec.replace(precision=self.precision).resolved for spec in (self.comparison.left, self.comparison.right)
        )
        examples = self.evidence.descriptions[0]["examples"]
        self.plan = Plan(self.specs[0], examples)
        self.full_steps = full_steps(self.plan, self.comparison.steps)
        if self.precision == MIXED:
            self.full_steps = []
        elif not self.primary:
            self.full_steps = [step for step in self.full_steps if step <= LAST_SECONDARY_STEP]

    def run(self) -> None:
        comparison, sides = self.comparison, self.sides
        self.start(*comparison.both(sides, methodcaller("start", self.precision)))
        last = comparison.steps if self.primary else max(self.full_steps)
        done = 0
        for stop in [*self.full_steps, *([last] if last not in self.full_steps else [])]:
            before = stop - 1 if stop in self.full_steps else stop
            for count in self.chunks(before - done):
                for pair in zip(*comparison.both(sides, methodcaller("advance", count)), strict=True):
                    self.compare_free(*pair)
                comparison.told(f"{self.precision}: step {min(before, done + count)} of {last}")
                done += count
            if stop in self.full_steps:
                self.full_step()
                done = stop
                comparison.told(f"{self.precision}: step {done} of {last}")
        if self.primary:
            self.finish(*comparison.both(sides, methodcaller("finish")))
        self.evidence.checks.extend(self.checks)
        self.evidence.steps[self.precision] = (last, tuple(self.full_steps))

    def chunks(self, count: int) -> Iterator[int]:
        """Sizes of exchanges that together do ``count`` updates."""
        weights = sum(math.prod(parameter.shape) for parameter in self.specs[0].graph.parameters) * 8
        size = max(1, min(16, BYTES_IN_FLIGHT // max(1, weights)))
        while count > 0:
            yield min(size, count)
            count -= size

    def check(self, step: int, key: Key, run: Literal["resynchronised", "free"], gap: float, **judged: Any) -> None:
        self.checks.append(Check(step, *key, self.precision, run, gap, **judged))

    def check_bits(self, step: int, key: Key, left: Array, right: Array, wanted: Array | None = None) -> None:
        """Record whether two arrays are the same bits, and those of ``wanted`` if the spec says what they must be."""
        sides = [math.inf if wanted is not None and not same_bits(array, wanted) else 0.0 for array in (left, right)]
        same = same_bits(left, right) and max(sides) == 0.0
        self.check(
            step,
            key,
            "resynchronised",
            difference(left, right),
            units=0.0 if same else math.inf,
            left=None if wanted is None else sides[0],
            right=None if wanted is None else sides[1],
            limit=0.0,
            ok=same,
        )

    def start(self, left: Record, right: Record) -> None:
        """Rung 0: on both sides the spec's own initial weights, bit for bit; empty slots; the same probe inputs."""
        spec = self.specs[0]
        weights = initial_weights(spec.graph, spec.seed)
        for key, array in left.arrays.items():
            wanted = weights[f"{key.node}.{key.tensor}"] if key.phase == "init" else None
            if key.phase == "state":
                wanted = np.full_like(array, spec.resolved.optimizer.slot_start(key.tensor.partition(".")[0]))
            self.check_bits(0, key, array, right.arrays[key], wanted)

    def compare_free(self, left: Record, right: Record) -> None:
        """The free run: recorded, not judged."""
        for key, array in left.arrays.items():
            if key in right.arrays and key.phase in PHASES:
                self.check(left.step, key, "free", difference(array, right.arrays[key]))

    def full_step(self) -> None:
        """One update in full: the left side's own, and the right side's from the left's state."""
        sides = self.sides
        if self.comparison.processes:
            with ThreadPoolExecutor(2) as pool:  # the right side's free step and the left's full one
                free = pool.submit(sides[1].advance, 1)
                left = sides[0].full()
                self.compare_free(left.free, free.result()[0])
        else:
            left = sides[0].full()
            self.compare_free(left.free, sides[1].advance(1)[0])
        right = sides[1].resynchronised(left)
        for name, record in (("left", left), ("right", right)):
            self.evidence.training.add(name, self.precision, record)
        size = self.plan.update_size
        judged = judge(left, self.specs[0], size, left.lr), judge(right, self.specs[0], size, left.lr)
        if self.evidence.differ:
            own = judge(right, self.specs[1], size, right.lr)
            self.evidence.right_follows_own &= all(item.rho <= LIMIT for item in own.values())
            self.evidence.left_follows_own &= all(item.rho <= LIMIT for item in judged[0].values())
        for key, array in left.arrays.items():
            if key.phase == "input":
                self.check_bits(left.step, key, array, right.arrays[key])
            elif key in judged[0]:
                rho = judged[0][key].rho, judged[1][key].rho
                gap = difference(array, right.arrays[key])
                worst = max(rho)
                self.check(
                    left.step,
                    key,
                    "resynchronised",
                    gap,
                    units=worst,
                    left=rho[0],
                    right=rho[1],
                    limit=LIMIT,
                    ok=worst <= LIMIT,
                )
                self.evidence.undefined += max(judged[0][key].undefined, judged[1][key].undefined)
                self.evidence.add_scaling(key, left.step, self.precision, array, right.arrays[key])

    def finish(self, left: Record, right: Record) -> None:
        """What the user sees: predictions and metrics on held-back examples after the free run."""
        key = next(key for key in left.arrays if key.phase == "prediction")
        one, two = left.arrays[key], right.arrays[key]
        facts: dict[str, Any] = {"examples": len(one), "max_abs": difference(one, two)}
        if self.specs[0].main_loss.target == "class":
            facts["same_class"] = int(np.sum(one.argmax(-1) == two.argmax(-1)))
        facts["left"], facts["right"] = dict(left.facts), dict(right.facts)
        self.evidence.held_back[self.precision] = facts


def full_steps(plan: Plan, steps: int) -> list[int]:
    """Which updates are judged in full (counted from 1): the first ones, those after a change of the learning
    rate, the one with the incomplete last batch, powers of ten, and the last.
    """
    chosen = set(range(1, min(FIRST_STEPS, steps) + 1)) | {steps}
    rates = plan.rates(0, steps)
    chosen |= {int(index) + 2 for index in np.flatnonzero(np.diff(rates))[:2]}
    if plan.updates_per_epoch <= steps:
        chosen.add(plan.updates_per_epoch)
    chosen |= {10**power for power in range(1, 10) if 10**power <= steps}
    return sorted(chosen)
