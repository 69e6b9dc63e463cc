"""Which array of a source feeds which input of the model, and what each of its outputs is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from dualml.data.checks import Part, Raw
from dualml.data.needs import Needs
from dualml.data.problems import nearest
from dualml.data.rows import Rows, SameAs
from dualml.errors import DataError
from dualml.spec.data import DataSource, LabelledSource

LABEL = "label"
"""What the targets of a source of labelled examples are called in ``data.targets``."""


def named_inputs(part: Part, needs: Needs) -> dict[str, Rows]:
    """The inputs of a part by the model's names.

    Raises:
        DataError: The names are not those of the model, or there is one input for several.
    """
    inputs = part.inputs
    if not isinstance(inputs, Mapping):
        return {needs.single_input(part.where)[0]: inputs}
    _check_names(part.where, "inputs", set(inputs), tuple(needs.inputs))
    return {name: inputs[name] for name in needs.inputs}


def named_targets(raw: Raw, settings: DataSource, needs: Needs) -> Raw:
    """Every part with its targets by the model's names, and ``SameAs`` where an output reconstructs an input.

    Raises:
        DataError: The names are not those of the model, or say something impossible.
    """
    chosen = settings.targets if isinstance(settings, LabelledSource) else None
    return raw.mapped(lambda part: replace(part, targets=_of_part(part, chosen, needs)))


def _of_part(part: Part, chosen: str | Mapping[str, str] | None, needs: Needs) -> dict[str, Rows | SameAs]:
    outputs = tuple(needs.outputs)
    stored = part.targets
    if chosen is not None:
        assert not isinstance(stored, Mapping), "labelled examples have one label"
        if isinstance(chosen, str):
            chosen = dict.fromkeys(outputs, chosen) if len(outputs) == 1 else {"": chosen}
        _check_names(part.where, "outputs", set(chosen), outputs, "data.targets")
        found: dict[str, Rows | SameAs] = {
            name: stored if chosen[name] == LABEL else SameAs(chosen[name]) for name in outputs
        }
    elif isinstance(stored, Mapping):
        _check_names(part.where, "outputs", set(stored), outputs, "data.targets")
        found = {name: stored[name] for name in outputs}
    elif len(outputs) > 1:
        raise DataError(
            f"{part.where}: gives one target, but the model has {len(outputs)} outputs ({', '.join(outputs)}); say in "
            f"data.targets what each is compared with, for example {{{outputs[0]}: input, {outputs[1]}: label}}"
        )
    else:
        found = {outputs[0]: stored}
    for name, target in found.items():
        if isinstance(target, SameAs):
            _check_reconstruction(part.where, name, target, needs)
    return found


def _check_reconstruction(where: str, output: str, target: SameAs, needs: Needs) -> None:
    if target.input not in needs.inputs:
        raise DataError(
            f"{where}: output {output!r} must be compared with {LABEL} or an input ({', '.join(needs.inputs)}), but "
            f"data.targets says {target.input!r}.{nearest(target.input, (LABEL, *needs.inputs))} Correct it"
        )
    source, need = needs.inputs[target.input], needs.outputs[output]
    if source.integer != (need.kind == "class"):
        kind = (
            "whole numbers, which needs a loss for classes"
            if source.integer
            else "values, which needs a loss for values"
        )
        raise DataError(
            f"{where}: output {output!r} reconstructs the input {target.input!r} of {kind}; choose another loss, "
            f"or another entry in data.targets"
        )
    if need.shape is not None and math.prod(need.shape) != math.prod(source.shape):
        raise DataError(
            f"{where}: output {output!r} must have as many values as the input {target.input!r} it reconstructs, shape "
            f"{source.shape}, but its shape is {need.shape}; change the layer {output!r}"
        )


def _check_names(where: str, what: str, found: set[str], wanted: tuple[str, ...], key: str = "") -> None:
    if found == set(wanted):
        return
    missing = [name for name in wanted if name not in found]
    stray = sorted(name for name in found if name not in wanted)
    hint = nearest(stray[0], wanted) if stray else ""
    raise DataError(
        f"{where}: there must be one entry for each of the model's {what} ({', '.join(wanted)}), but "
        + " and ".join(
            words
            for words in (
                f"{', '.join(missing)} is missing" if missing else "",
                f"{', '.join(map(repr, stray))} is none of them" if stray else "",
            )
            if words
        )
        + f".{hint} Correct {key or 'the names'}"
    )
