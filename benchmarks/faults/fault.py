"""What a fault is, and the pair of models it makes."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.faults.data import ROWS
from benchmarks.faults.side import FRAMEWORKS, Framework, Side

FAMILIES = ("mlp", "lenet", "residual", "lstm", "gru", "transformer")
NORMALISED = ("lenet", "residual")
"""Families with batch norm: the running variance of PyTorch's and Keras' own layers differs by design."""

WEIGHTS = ("init",)
FORWARD = ("forward",)
LOSS = ("loss",)
UPDATE = ("update", "state")


@dataclass(frozen=True)
class Fault:
    """One fault in one network.

    Attributes:
        cause: Cause id, or ``unknown`` for one that the catalogue does not hold.
        family: Network.
        name: Which fault of this cause.
        node: Names of the parts where it must be found; empty where no layer is at fault (loss, optimizer).
        phases: Rungs at which it may show first.
        torch: How PyTorch's side is made wrong; ``None``: it cannot be, or not sensibly.
        keras: The same for Keras.
        base: What both sides have before that, by framework.
        steps: Updates at which it may show first.
        also: Cause ids that no comparison could tell from ``cause`` here.
        magnitude: Its size, for the power curve.
        curve: Which power curve it is a point of; empty: none.
        same: Whether both sides are of one framework: frameworks differ by themselves in what the fault touches.
        natural: Nothing is put in: the frameworks' own layers differ. ``torch`` and ``keras`` are the two sides.
        random: Training draws random numbers, so plain runs cannot be compared.
    """

    cause: str
    family: str
    name: str
    node: tuple[str, ...] = ()
    phases: tuple[str, ...] = FORWARD
    torch: Side | None = None
    keras: Side | None = None
    base: dict[Framework, Side] = field(default_factory=dict)
    steps: tuple[int, ...] = (0, 1)
    also: tuple[str, ...] = ()
    magnitude: float | None = None
    curve: str = ""
    same: bool = False
    natural: bool = False
    random: bool = False

    def side(self, framework: Framework) -> Side | None:
        """How this framework's side is made wrong."""
        return self.torch if framework == "torch" else self.keras

    def sound(self, framework: Framework) -> Side:
        """This framework's side without the fault."""
        return self.base.get(framework, Side())


@dataclass(frozen=True)
class Case:
    """A pair of models to compare, faulty or clean.

    Attributes:
        id: Names it on the command line.
        family: Network.
        left: Framework and changes of the left side.
        right: The same for the right side.
        seed: Of weights and data.
        fault: What is wrong; ``None`` in a clean pair.
        wrong: Which side; ``None`` if neither or both.
        present: Causes that the pair has by itself as well.
        rows: Examples in the batch.
        threads: Threads of PyTorch in this comparison.
        random: Training draws random numbers.
    """

    id: str
    family: str
    left: tuple[Framework, Side]
    right: tuple[Framework, Side]
    seed: int
    fault: Fault | None = None
    wrong: str | None = None
    present: frozenset[str] = frozenset()
    rows: int = ROWS
    threads: int = 1
    random: bool = False


def present_in(family: str, left: Framework, right: Framework) -> frozenset[str]:
    """What differs in a pair of stock layers whatever is put in."""
    return frozenset({"norm.unbiased_variance"}) if family in NORMALISED and left != right else frozenset()


def cases_of(fault: Fault, number: int, seed: int) -> list[Case]:
    """The pairs of one fault: wrong on each framework that can have it.

    Args:
        fault: Which.
        number: Its place in the table: with the seed it decides which side is wrong.
        seed: Of weights and data.
    """
    found = []
    base = f"{fault.cause}/{fault.family}/{fault.name}"
    if fault.natural:
        assert fault.torch is not None
        assert fault.keras is not None
        sides: list[tuple[Framework, Side]] = [
            ("torch", fault.sound("torch") | fault.torch),
            ("keras", fault.sound("keras") | fault.keras),
        ]
        left, right = sides if (number + seed) % 2 else reversed(sides)
        present = present_in(fault.family, left[0], right[0]) - {fault.cause}
        return [Case(f"{base}/both/{seed}", fault.family, left, right, seed, fault, None, present)]
    for place, framework in enumerate(FRAMEWORKS):
        if (wrong := fault.side(framework)) is None:
            continue
        other: Framework = framework if fault.same else FRAMEWORKS[1 - place]
        faulty: tuple[Framework, Side] = (framework, fault.sound(framework) | wrong)
        sound: tuple[Framework, Side] = (other, fault.sound(other))
        on_left = (number + seed + place) % 2 == 0
        left, right = (faulty, sound) if on_left else (sound, faulty)
        found.append(
            Case(
                f"{base}/{framework}/{seed}",
                fault.family,
                left,
                right,
                seed,
                fault,
                "left" if on_left else "right",
                present_in(fault.family, left[0], right[0]),
                random=fault.random,
            )
        )
    return found
