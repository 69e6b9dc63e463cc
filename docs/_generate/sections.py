"""The sections of docs/config.md: which settings stand where, and what is said before them."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass

from _generate import texts
from dualml.spec.activations import ACTIVATIONS
from dualml.spec.base import Keyed, OneKey, Settings
from dualml.spec.blocks import BlockDefinition
from dualml.spec.config import Spec
from dualml.spec.data import DataSettings
from dualml.spec.data_base import DataSource
from dualml.spec.initializers import INITIALIZERS
from dualml.spec.layers import LAYERS, STRUCTURE, Layer, Recurrent, Rotary
from dualml.spec.losses import LOSSES
from dualml.spec.metrics import METRICS
from dualml.spec.model import Input, Model
from dualml.spec.objective import WeightedLoss
from dualml.spec.optimizers import CLIPPINGS, OPTIMIZERS, Optimizer
from dualml.spec.optimizers.base import Ema, ParameterGroup
from dualml.spec.regularizers import REGULARIZERS, Regularizer
from dualml.spec.schedules import SCHEDULES, Schedule, Warmup
from dualml.spec.train import Checkpoints, EarlyStopping, Train


@dataclass(frozen=True)
class Section:
    """One section.

    Attributes:
        heading: Its title.
        text: What is said first, Markdown.
        classes: The settings it describes, in order.
        common: A base of theirs, whose settings are described once for all of them.
    """

    heading: str
    text: str
    classes: tuple[type[Settings], ...]
    common: type[Settings] | None = None


@dataclass(frozen=True)
class Family:
    """Layers that belong together.

    Attributes:
        title: Its heading, in both generated pages.
        modules: Names of the modules under ``dualml.spec.layers`` that hold them.
        extra: Settings that are no layers and belong to them.
        common: As in ``Section``.
    """

    title: str
    modules: tuple[str, ...]
    extra: tuple[type[Settings], ...] = ()
    common: type[Settings] | None = None

    @property
    def layers(self) -> tuple[type[Layer], ...]:
        """Its layers, in the order of the catalogue."""
        every = (*LAYERS, *STRUCTURE)
        return tuple(layer for layer in every if layer.__module__.rpartition(".")[2] in self.modules)


FAMILIES = (
    Family("Dense layers and activations", ("dense", "activation")),
    Family("Convolution", ("convolution", "transposed")),
    Family("Pooling", ("pooling",)),
    Family("Normalization", ("normalization",)),
    Family("Recurrent layers", ("recurrent", "bidirectional"), common=Recurrent),
    Family("Embeddings, positions and masks", ("embedding", "masks")),
    Family("Attention and transformer blocks", ("attention", "transformer"), (Rotary,)),
    Family("Gated units", ("gated",)),
    Family("Shape", ("shape", "resize")),
    Family("Merging", ("merge",)),
    Family("Dropout", ("dropout",)),
    Family("Structure", ("structure",)),
)
"""Every layer, by family."""


def check_families() -> None:
    """Every layer stands in one family.

    Raises:
        ValueError: One stands in none, or in two.
    """
    held = [layer for family in FAMILIES for layer in family.layers]
    wrong = [layer.kind for layer in (*LAYERS, *STRUCTURE) if held.count(layer) != 1]
    if wrong:
        raise ValueError(f"every layer needs one family in docs/_generate/sections.py; these have none or two: {wrong}")


def sources() -> tuple[type[Settings], ...]:
    """The data sources, out of their union."""
    return typing.get_args(typing.get_args(DataSettings)[0])


SECTIONS: tuple[Section, ...] = (
    Section("The file", "", (Spec,)),
    Section("model", texts.MODEL, (Model, Input, BlockDefinition)),
    Section("Layers", texts.LAYERS, (), Layer),
    *(
        Section(family.title, texts.FAMILIES.get(family.title, ""), (*family.layers, *family.extra), family.common)
        for family in FAMILIES
    ),
    Section("Activations", texts.ACTIVATIONS, ACTIVATIONS),
    Section("Initializers", texts.INITIALIZERS, INITIALIZERS),
    Section("data", texts.DATA, sources(), DataSource),
    Section("loss", texts.LOSS, (WeightedLoss, *LOSSES)),
    Section("regularizers", texts.REGULARIZERS, REGULARIZERS, Regularizer),
    Section("optimizer", texts.OPTIMIZER, (*OPTIMIZERS, ParameterGroup, Ema), Optimizer),
    Section("schedule", texts.SCHEDULE, (*SCHEDULES, Warmup), Schedule),
    Section("train", "", (Train, EarlyStopping, Checkpoints)),
    Section("train.clip", "", CLIPPINGS),
    Section("metrics", texts.METRICS, METRICS),
)


def reachable() -> Iterator[type[Settings]]:
    """Every group of settings that a spec can hold."""
    seen: set[type[Settings]] = set()
    waiting: list[typing.Any] = [Spec]
    while waiting:
        item = waiting.pop()
        if isinstance(item, OneKey):
            waiting += item.kinds
        elif isinstance(item, type) and issubclass(item, Settings):
            if item not in seen:
                seen.add(item)
                yield item
                for field in item.model_fields.values():
                    chosen = [mark for mark in field.metadata if isinstance(mark, OneKey)]
                    waiting += chosen or [field.annotation]
        else:
            arguments = typing.get_args(item)
            waiting += [mark for mark in arguments if isinstance(mark, OneKey)] or list(arguments)


def check_complete() -> None:
    """Every group of settings has its place.

    Raises:
        ValueError: One has none.
    """
    shown = {settings for section in SECTIONS for settings in section.classes}
    bases = {base for settings in shown for base in settings.__mro__[1:]}
    missing = sorted(item.__name__ for item in reachable() if item not in shown | bases and item is not Keyed)
    if missing:
        raise ValueError(f"these settings need a place in docs/_generate/sections.py: {', '.join(missing)}")
