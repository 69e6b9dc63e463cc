"""Runs both sides in both precisions, rung by rung."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dualml.errors import ParityError
from dualml.native.align import align
from dualml.native.alignment import Alignment
from dualml.native.mapping import Mapped
from dualml.native.protocol import NativeModel, Precision, Trace
from dualml.native.read_pair import read_pair
from dualml.parity.diff import inputs as given
from dualml.parity.diff.backward import backward_rung
from dualml.parity.diff.features import in_one_order
from dualml.parity.diff.forward import forward_rung
from dualml.parity.diff.ledger import Ledger
from dualml.parity.diff.loss import loss_rung
from dualml.parity.diff.objectives import native_cotangents, objectives
from dualml.parity.diff.pairs import matching
from dualml.parity.diff.regroup import regrouped
from dualml.parity.diff.repair import repaired
from dualml.parity.diff.run import Run
from dualml.parity.diff.side import Side, converted
from dualml.parity.diff.trajectory import free_run, prediction_rung, trains
from dualml.parity.diff.update import update_rung
from dualml.parity.diff.weights import Policy, check_inputs, copy_weights, settled, weights_rung
from dualml.parity.findings import Trajectory
from dualml.protocol import Array

PRECISIONS: tuple[Precision, ...] = ("float64", "float32")
"""float64 decides, so it is first."""

LARGE = 2**21
"""Weights of a model of which only the first and the last update are judged in full."""


@dataclass
class Comparison:
    """Two native models, what they are given, and what was found.

    Attributes:
        left: The left model; it says what is meant.
        right: The right one.
        inputs: Batches, each with its framework's axes; ``None``: to be made up or laid out from the left one's.
        targets: Targets as given; ``None``: made up for a loss with a formula.
        steps: Updates that are judged and run freely.
        policy: What is done about the weights.
        mapping: Layers and weights that the user matched by hand.
        told: Called with a line about what is being done.
    """

    left: NativeModel
    right: NativeModel
    inputs: tuple[dict[str, Array] | None, dict[str, Array] | None]
    targets: dict[str, Array] | None
    steps: int
    policy: Policy
    mapping: tuple[Mapped, ...]
    told: Callable[[str], None]
    ledger: Ledger = field(default_factory=Ledger)
    trajectories: list[Trajectory] = field(default_factory=list)
    predictions: dict[str, dict[str, Any]] = field(default_factory=dict)
    judged_steps: dict[str, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    local: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    accumulated: dict[str, dict[str, float]] = field(default_factory=dict)
    weights: str = ""
    run: Run | None = None
    alignment: Alignment | None = None

    def __post_init__(self) -> None:
        self.given = len(next(iter((self.inputs[0] or self.inputs[1] or {"": np.zeros(0)}).values())))

    def compare(self) -> Run:
        """Run both sides in both precisions; returns the run in float64."""
        first: Run | None = None
        for precision in PRECISIONS:
            self.told(f"{precision}: reading both models")
            run = self.begun(precision)
            first = first or run
            self.rungs(run)
            self.local[precision], self.accumulated[precision] = run.local, run.accumulated
            gc.collect()
        self.ledger.finish()
        assert first is not None
        self.run = first
        return first

    # ------------------------------------------------------------------ the two sides

    def begun(self, precision: Precision) -> Run:
        """Both sides in a precision, read and matched."""
        for model in (self.left, self.right):
            model.start(precision)
        left_inputs, left_trace = self.traced(self.left, precision)
        right_inputs, right_trace = self.right_traced(left_inputs, precision)
        readings = read_pair(
            (left_trace, self.left.get_weights(), self.left.parameters),
            (right_trace, self.right.get_weights(), self.right.parameters),
            precision,
        )
        readings = in_one_order(*readings)
        left = Side("left", self.left, left_trace, readings[0], left_inputs, None, precision)
        right = Side("right", self.right, right_trace, readings[1], right_inputs, None, precision)
        self.give_targets(left, right)
        left_weights = left.weights()
        alignment = self.alignment or self.aligned(left, right)
        if not alignment.pairs:
            raise ParityError(
                "no layer of the left model stands for one of the right model; say which do in a mapping file (--map)"
            )
        found = matching(alignment, left.graph, right.graph, left_weights)
        return Run(left, right, alignment, found, objectives(left, right, found), self.ledger)

    def aligned(self, left: Side, right: Side) -> Alignment:
        """What stands for what: by order, shapes, names and weights, then by what the recorded values say."""
        weights = left.weights()
        found = align(left.reading, right.reading, self.left.get_weights(), self.right.get_weights(), self.mapping)
        found = repaired(found, left.graph, right.graph, (weights, right.weights()))
        values = right.values(right.model.forward(right.inputs, training=False))
        self.alignment = regrouped(found, left, right, values, weights)
        return self.alignment

    def traced(self, model: NativeModel, precision: Precision) -> tuple[dict[str, Array], Trace]:
        """The left side's batch and trace; a batch is made up if none is given."""
        own = self.inputs[0]
        if own is not None:
            arrays = converted(own, precision)
            return arrays, model.trace(arrays)
        failure: ParityError | None = None
        for batch, other in self.batches():
            try:
                trace = model.trace(converted(batch, precision))
            except ParityError as error:
                failure = failure or error
                continue
            self.inputs = batch, other if self.inputs[1] is None else self.inputs[1]
            self.ledger.notes.append("inputs were made up from the declared shapes, because none were given")
            return converted(batch, precision), trace
        assert failure is not None
        raise failure

    def batches(self) -> Iterator[tuple[dict[str, Array], dict[str, Array] | None]]:
        """Made-up batches for the left side, and for the right one where it is the one that declares shapes."""
        if self.left.input_shapes or not self.right.input_shapes:
            yield from ((batch, None) for batch in given.made_up(self.left, "left"))
            return
        for batch in given.made_up(self.right, "right"):
            names = {name: name if len(batch) > 1 else "" for name in batch}
            choices = {name: given.layouts(array)[::-1] for name, array in batch.items()}
            for place in range(max(map(len, choices.values()))):
                yield {names[name]: found[min(place, len(found) - 1)] for name, found in choices.items()}, batch

    def right_traced(self, left: dict[str, Array], precision: Precision) -> tuple[dict[str, Array], Trace]:
        """The right side's batch and trace: its own if given, else the left one's, its axes in an order it takes."""
        own = self.inputs[1]
        if own is not None:
            arrays = converted(own, precision)
            return arrays, self.right.trace(arrays)
        source = self.inputs[0] or left
        names = self.renamed(source)
        failure: ParityError | None = None
        for place in range(3):
            batch = {}
            for name, array in source.items():
                choices = self.ordered(names[name], array)
                batch[names[name]] = choices[min(place, len(choices) - 1)]
            try:
                trace = self.right.trace(converted(batch, precision))
            except ParityError as error:
                failure = failure or error
                continue
            self.inputs = self.inputs[0], batch
            return converted(batch, precision), trace
        assert failure is not None
        raise failure

    def renamed(self, source: dict[str, Array]) -> dict[str, str]:
        """The right model's name of each of the left model's inputs: the same, or the one at the same place."""
        shapes = self.right.input_shapes
        if set(source) == {""} or not shapes or set(shapes) == set(source):
            return {name: name for name in source}
        if len(source) == 1:
            return {next(iter(source)): ""}
        if len(shapes) != len(source):
            raise ParityError(
                f"the left batch has {len(source)} inputs, the right model takes {len(shapes)} "
                f"({', '.join(shapes)}); give each side its own with left_inputs= and right_inputs="
            )
        return dict(zip(source, shapes, strict=True))

    def ordered(self, name: str, array: Array) -> list[Array]:
        """A batch in every order of axes, those that the right model declares first."""
        choices = given.layouts(array)
        shapes = self.right.input_shapes
        declared = None if not shapes else shapes.get(name, next(iter(shapes.values())) if len(shapes) == 1 else None)
        if declared is None:
            return choices

        def fits(choice: Array) -> bool:
            pairs = zip(declared[1:], choice.shape[1:], strict=False)
            return len(declared) == choice.ndim and all(size in (None, own) for size, own in pairs)

        return sorted(choices, key=lambda choice: not fits(choice))

    def give_targets(self, left: Side, right: Side) -> None:
        """Targets in each side's form."""
        losses = left.model.loss, right.model.loss
        if losses[0] is None or losses[1] is None:
            if self.targets is not None:
                self.ledger.skip("the loss", "targets were given, but not both sides have a loss (dualml.Trainable)")
            return
        targets = self.targets
        if targets is None:
            loss = given.single_loss(losses[0]) or given.single_loss(losses[1])
            if loss is None or len(left.graph.outputs) > 1:
                self.ledger.skip("the loss", "no targets were given, and none can be made up for it; give targets")
                return
            shape = left.graph.by_name[left.graph.output].shape
            made = given.made_up_targets(loss, left.examples(), shape)
            if made is None:
                return
            targets = self.targets = {"": made}
            self.ledger.notes.append("targets were made up, because none were given")
        for side in (left, right):
            loss = given.single_loss(side.model.loss)
            classes = side.graph.by_name[side.graph.output].shape[-1:] or (1,)
            formed = {name: given.targets_for(loss, array, classes[0]) for name, array in targets.items()}
            side.targets = converted(formed, side.precision)

    # ------------------------------------------------------------------ the rungs

    def rungs(self, run: Run) -> None:
        """Everything that is compared in one precision."""
        if not self.weights:
            self.weights = settled(self.policy, run)
        self.told(f"{run.precision}: weights and layers")
        weights_rung(run, self.weights)
        check_inputs(run)
        self.predictions[run.precision] = prediction_rung(run)
        masks = run.masks(0)  # what drops values in inference as well shall drop some
        observed = tuple(
            side.model.forward(side.inputs, training=False, masks=side.native_masks(mask))
            for side, mask in zip(run.sides, masks, strict=True)
        )
        forward_rung(run, 1, (observed[0], observed[1]), training=False, masks=masks)
        del observed
        trained = trains(run)
        last = self.steps if trained else 1
        recorded: dict[str, Array] = {}
        judged = [step for step in range(1, last + 1) if step in (1, last) or not large(run)]
        if len(judged) < last:
            run.ledger.skip("the updates between the first and the last", "the models are large")
        for step in range(1, last + 1):
            self.told(f"{run.precision}: step {step} of {last}")
            if step in judged:
                gradients = self.training_step(run, step)
                recorded = recorded or gradients
                if not all(np.isfinite(array).all() for array in gradients.values()):
                    run.ledger.skip(
                        f"what follows step {step} in {run.precision}", "the left side's gradients are not finite"
                    )
                    break
            if step < last:
                self.advance(run, step)
        self.judged_steps[run.precision] = (self.steps if trained else 0, tuple(judged))
        if run.left.model.optimizer is not None and run.right.model.optimizer is not None:
            self.told(f"{run.precision}: optimizers")
            self.again(run)
            update_rung(run, recorded)
            recorded = {}
        else:
            run.ledger.skip("optimizers", "not both sides have one (dualml.Trainable)")
        if trained:
            self.told(f"{run.precision}: free run")
            self.again(run)
            trajectory = free_run(run, self.steps)
            if trajectory is not None:
                self.trajectories.append(trajectory)
            self.again(run)

    def again(self, run: Run) -> None:
        """Begin both sides anew, with the same weights."""
        for side in run.sides:
            side.again()
        copy_weights(run)

    def training_step(self, run: Run, step: int) -> dict[str, Array]:
        """One pass in training mode, judged; returns the left side's gradients."""
        masks = run.masks(step)
        seen = []
        for place, side in enumerate(run.sides):
            cotangents = None
            targets = side.targets
            if run.objectives.cotangents is not None:
                cotangents, targets = native_cotangents(side, run.objectives.cotangents[place]), None
            seen.append(
                side.model.backward(side.inputs, targets, cotangents=cotangents, masks=side.native_masks(masks[place]))
            )
        observed = seen[0], seen[1]
        forward_rung(run, step, observed, training=True, masks=masks)
        loss_rung(run, step, observed)
        backward_rung(run, step, observed, masks)
        return run.left.gradients(observed[0])

    def advance(self, run: Run, step: int) -> None:
        """One whole update of the left side; the right one takes its weights, so that steps do not add up."""
        run.left.train(run.masks(step)[0])
        copy_weights(run)


def large(run: Run) -> bool:
    """Whether judging every update in full would take long."""
    return sum(math.prod(item.shape) for item in run.left.graph.parameters) > LARGE
