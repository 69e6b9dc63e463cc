"""Every optimizer's update formula, once; ``dualml.spec.optimizers`` says where each comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from dualml.reference.optimizers.arithmetic import Exact, Number
from dualml.reference.rounding import Rounded

Slots: TypeAlias = Mapping[str, Number]
Updated: TypeAlias = tuple[Number, dict[str, Number]]


@dataclass(frozen=True)
class Update:
    """One update of one parameter.

    Attributes:
        settings: The optimizer, every setting filled in.
        name: The parameter.
        shape: Its shape.
        step: Number of the update, from 1.
        rate: Learning rate, times the group's factor.
        decay: Weight decay of this parameter.
        arithmetic: What evaluates the formula.
    """

    settings: Any
    name: str
    shape: tuple[int, ...]
    step: int
    rate: float
    decay: float
    arithmetic: Exact

    @property
    def lr(self) -> Number:
        """The rate as a number of the formula."""
        return self.arithmetic.setting(self.rate)

    def decayed(self, p: Number, g: Number) -> tuple[Number, Number]:
        """Weight decay: coupled into the gradient, or decoupled into the parameter."""
        if not self.decay:
            return p, g
        decay = self.arithmetic.setting(self.decay)
        if self.settings.decay == "coupled":
            return p, g + decay * p
        return p - self.lr * decay * p, g


Rule: TypeAlias = Callable[[Update, Number, Number, Slots], Updated]


def sgd(update: Update, p: Number, g: Number, slots: Slots) -> Updated:
    """``dualml.spec.optimizers.Sgd``."""
    settings, lr = update.settings, update.lr
    p, g = update.decayed(p, g)
    if not settings.momentum:
        return p - lr * g, {}
    momentum, buffer = update.arithmetic.setting(settings.momentum), slots["momentum"]
    if settings.lr_in_momentum:
        buffer = momentum * buffer - lr * g
        moved = p + momentum * buffer - lr * g if settings.nesterov else p + buffer
    else:
        buffer = momentum * buffer + g
        moved = p - lr * (g + momentum * buffer if settings.nesterov else buffer)
    return moved, {"momentum": buffer}


def largest_moment(beta1: float, beta2: float, step: int) -> float:
    """Largest ``|m / c1| / sqrt(v / c2)`` of any gradients, by the Cauchy-Schwarz inequality on both sums."""
    if beta2 <= beta1 * beta1:
        return float(np.inf)
    moments = (1.0 - beta1) / math.sqrt((1.0 - beta2) * (1.0 - beta1 * beta1 / beta2))
    return moments * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step)


def _adam_step(
    update: Update,
    p: Number,
    g: Number,
    slots: Slots,
    *,
    rate: float,
    betas: tuple[float, float],
    epsilon: float,
    placement: str,
    amsgrad: bool,
) -> Updated:
    arithmetic, step = update.arithmetic, update.step
    lr, (beta1, beta2) = arithmetic.setting(rate), betas
    c1, c2 = arithmetic.correction(beta1, step), arithmetic.correction(beta2, step)
    m = arithmetic.average(arithmetic.setting(beta1), slots["first_moment"], g)
    v = arithmetic.average(arithmetic.setting(beta2), slots["second_moment"], g * g)
    after = {"first_moment": m, "second_moment": v}
    if amsgrad:
        v = after["largest_second_moment"] = arithmetic.larger(slots["largest_second_moment"], v)
    if placement == "corrected":
        numerator, divisor = lr / c1 * m, arithmetic.root(v) / arithmetic.root(c2) + arithmetic.setting(epsilon)
    else:
        numerator = lr * arithmetic.root(c2) / c1 * m
        divisor = arithmetic.root(v) + arithmetic.setting(epsilon)
    return p - arithmetic.quotient(numerator, divisor, rate * largest_moment(beta1, beta2, step)), after


def adam(update: Update, p: Number, g: Number, slots: Slots) -> Updated:
    """``dualml.spec.optimizers.Adam``."""
    settings = update.settings
    return _adam_step(
        update,
        *update.decayed(p, g),
        slots,
        rate=update.rate,
        betas=(settings.beta1, settings.beta2),
        epsilon=settings.epsilon,
        placement=settings.epsilon_placement,
        amsgrad=settings.amsgrad,
    )


def nadam(update: Update, p: Number, g: Number, slots: Slots) -> Updated:
    """``dualml.spec.optimizers.NAdam``."""
    settings, arithmetic, step, lr = update.settings, update.arithmetic, update.step, update.lr
    p, g = update.decayed(p, g)
    beta1, beta2 = arithmetic.setting(settings.beta1), arithmetic.setting(settings.beta2)

    def momentum(step: int) -> Number:
        return beta1 * (1.0 - 0.5 * arithmetic.power(0.96, step * settings.momentum_decay))

    now, following = momentum(step), momentum(step + 1)
    product = slots["momentum_product"] * now
    m = arithmetic.average(beta1, slots["first_moment"], g)
    v = arithmetic.average(beta2, slots["second_moment"], g * g)
    root = arithmetic.root(v) / arithmetic.root(arithmetic.correction(settings.beta2, step))
    divisor = root + arithmetic.setting(settings.epsilon)
    of_gradient = lr * (1.0 - now) / (1.0 - product)
    of_moment = lr * following / (1.0 - product * following)
    c2 = 1.0 - settings.beta2**step
    most_of_gradient = math.sqrt(c2 / (1.0 - settings.beta2)) * _value(of_gradient)
    c1 = 1.0 - settings.beta1**step
    most_of_moment = c1 * largest_moment(settings.beta1, settings.beta2, step) * _value(of_moment)
    moved = p - arithmetic.quotient(of_gradient * g, divisor, most_of_gradient)
    moved = moved - arithmetic.quotient(of_moment * m, divisor, most_of_moment)
    return moved, {"first_moment": m, "second_moment": v, "momentum_product": product}


def _value(number: Number) -> Any:
    return number.value if isinstance(number, Rounded) else number


def adamax(update: Update, p: Number, g: Number, slots: Slots) -> Updated:
    """``dualml.spec.optimizers.Adamax``."""
    settings, arithmetic, step = update.settings, update.arithmetic, update.step
    p, g = update.decayed(p, g)
    epsilon = arithmetic.setting(settings.epsilon)
    m = arithmetic.average(arithmetic.setting(settings.beta1), slots["first_moment"], g)
    kept, size = arithmetic.setting(settings.beta2) * slots["largest_gradient"], arithmetic.size(g)
    if settings.epsilon_placement == "gradient":
        u = divisor = arithmetic.larger(kept, size + epsilon)
    else:
        u = arithmetic.larger(kept, size)
        divisor = u + epsilon
    # |g| of i updates ago is at most u / b2^i.
    most = sum((settings.beta1 / settings.beta2) ** past for past in range(step)) if settings.beta2 else np.inf
    limit = update.rate * (1.0 - settings.beta1) / (1.0 - settings.beta1**step) * most
    numerator = update.lr / arithmetic.correction(settings.beta1, step) * m
    return p - arithmetic.quotient(numerator, divisor, limit), {"first_moment": m, "largest_gradient": u}


def rmsprop(update: Update, p: Number, g: Number, slots: Slots) -> Updated:
    """``dualml.spec.optimizers.RMSprop``."""
    settings, arithmetic, lr = update.settings, update.arithmetic, update.lr
    p, g = update.decayed(p, g)
    rho, epsilon = arithmetic.setting(settings.rho), arithmetic.setting(settings.epsilon)
    square = arithmetic.average(rho, slots["mean_square"], g * g)
    after = {"mean_square": square}
    rest = 1.0 - settings.rho
    most = 1.0 / math.sqrt(rest)
    if settings.centered:
        mean = after["mean_gradient"] = arithmetic.average(rho, slots["mean_gradient"], g)
        square = square - mean * mean
        power = settings.rho**update.step
        # The least variance of gradients of which the last is g: all others equal g or so.
        most = math.sqrt((rest + power) / (rest * power)) if power > 0 else np.inf
    if settings.epsilon_placement == "outside":
        divisor = arithmetic.root(square) + epsilon
    else:
        divisor = arithmetic.root(square + epsilon)
    if not settings.momentum:
        return p - arithmetic.quotient(lr * g, divisor, update.rate * most), after
    momentum = arithmetic.setting(settings.momentum)
    if settings.lr_in_momentum:
        buffer = momentum * slots["momentum"] + arithmetic.quotient(lr * g, divisor, update.rate * most)
        moved = p - buffer
    else:
        buffer = momentum * slots["momentum"] + arithmetic.quotient(g, divisor, most)
        moved = p - lr * buffer
    return moved, {**after, "momentum": buffer}


def adagrad(update: Update, p: Number, g: Number, slots: Slots) -> Updated:
    """``dualml.spec.optimizers.Adagrad``."""
    settings, arithmetic = update.settings, update.arithmetic
    p, g = update.decayed(p, g)
    epsilon = arithmetic.setting(settings.epsilon)
    total = slots["sum_of_squares"] + g * g
    rate = update.lr / (1.0 + (update.step - 1.0) * arithmetic.setting(settings.lr_decay))
    if settings.epsilon_placement == "outside":
        divisor = arithmetic.root(total) + epsilon
    else:
        divisor = arithmetic.root(total + epsilon)
    return p - arithmetic.quotient(rate * g, divisor, update.rate), {"sum_of_squares": total}


def adadelta(update: Update, p: Number, g: Number, slots: Slots) -> Updated:
    """``dualml.spec.optimizers.Adadelta``."""
    settings, arithmetic = update.settings, update.arithmetic
    p, g = update.decayed(p, g)
    rho, epsilon = arithmetic.setting(settings.rho), arithmetic.setting(settings.epsilon)
    square = arithmetic.average(rho, slots["mean_square"], g * g)
    scale = arithmetic.root(slots["mean_square_step"] + epsilon)
    limit = _value(scale) / math.sqrt(1.0 - settings.rho)
    step = arithmetic.quotient(scale * g, arithmetic.root(square + epsilon), limit)
    after = arithmetic.average(rho, slots["mean_square_step"], step * step)
    return p - update.lr * step, {"mean_square": square, "mean_square_step": after}


def lion(update: Update, p: Number, g: Number, slots: Slots) -> Updated:
    """``dualml.spec.optimizers.Lion``."""
    settings, arithmetic, momentum = update.settings, update.arithmetic, slots["momentum"]
    p, g = update.decayed(p, g)
    nothing = (_value(momentum) == 0) & (_value(g) == 0)
    direction = arithmetic.average(arithmetic.setting(settings.beta1), momentum, g)
    after = arithmetic.average(arithmetic.setting(settings.beta2), momentum, g)
    return p - update.lr * arithmetic.sign(direction, zero=nothing), {"momentum": after}


def adafactor(update: Update, p: Number, g: Number, slots: Slots) -> Updated:
    """``dualml.spec.optimizers.Adafactor``."""
    settings, arithmetic, shape = update.settings, update.arithmetic, update.shape
    before = p
    p, g = update.decayed(p, g)

    def rms(x: Number) -> Number:
        return arithmetic.root(arithmetic.mean(x * x))

    relative = arithmetic.smaller(update.lr, 1.0 / arithmetic.root(arithmetic.setting(float(update.step))))
    size = rms(before if settings.rms_of == "before_decay" else p)
    rate = arithmetic.larger(arithmetic.setting(settings.epsilon2), size) * relative
    kept = 1.0 - arithmetic.power(float(update.step), settings.beta2_decay)
    floor = settings.epsilon1_placement == "floor"
    epsilon = arithmetic.setting(settings.epsilon1)
    square = g * g if floor else g * g + epsilon
    if len(shape) < 2:
        variance = arithmetic.average(kept, slots["variance"], square)
        after = {"variance": variance}
    else:
        rows = arithmetic.average(kept, slots["row_variance"], arithmetic.mean(square, -1))
        columns = arithmetic.average(kept, slots["column_variance"], arithmetic.mean(square, -2))
        after = {"row_variance": rows, "column_variance": columns}
        mean = arithmetic.reshape(arithmetic.mean(rows, -1), (*shape[:-2], 1, 1))
        rows = arithmetic.reshape(rows, (*shape[:-1], 1))
        columns = arithmetic.reshape(columns, (*shape[:-2], 1, shape[-1]))
        variance = rows * columns / arithmetic.larger(mean, epsilon) if floor else rows / mean * columns
    if floor:
        variance = arithmetic.larger(variance, epsilon * epsilon)
    step = g / arithmetic.root(variance)
    clipped = arithmetic.larger(arithmetic.setting(1.0), rms(step) / arithmetic.setting(settings.clip_threshold))
    return p - rate * step / clipped, after


def muon(update: Update, p: Number, g: Number, slots: Slots) -> Updated:
    """``dualml.spec.optimizers.Muon``."""
    settings, arithmetic = update.settings, update.arithmetic
    p, g = update.decayed(p, g)
    if not settings.orthogonalises(update.name, update.shape):
        return _adam_step(
            update,
            p,
            g,
            slots,
            rate=update.rate * settings.adam_lr_factor,
            betas=(settings.adam_beta1, settings.adam_beta2),
            epsilon=settings.adam_epsilon,
            placement=settings.adam_epsilon_placement,
            amsgrad=False,
        )
    momentum = arithmetic.setting(settings.momentum)
    if settings.momentum_average:
        buffer = arithmetic.average(momentum, slots["momentum"], g)
        x = arithmetic.average(1.0 - momentum, g, buffer) if settings.nesterov else buffer
    else:
        buffer = momentum * slots["momentum"] + g
        x = g + momentum * buffer if settings.nesterov else buffer
    inputs, units = update.shape
    epsilon = arithmetic.setting(settings.epsilon)
    norm = arithmetic.root(arithmetic.mean(x * x)) * math.sqrt(inputs * units)
    divisor = arithmetic.larger(norm, epsilon) if settings.norm_epsilon == "floor" else norm + epsilon
    direction = arithmetic.orthogonalised(x, divisor, settings.ns_coefficients, settings.ns_steps)
    if settings.scale == "rms":
        factor = arithmetic.setting(settings.rms_rate * math.sqrt(max(inputs, units)))
    else:
        factor = arithmetic.setting(math.sqrt(max(1.0, units / inputs)))
    return p - update.lr * factor * direction, {"momentum": buffer}


RULES: Mapping[str, Rule] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adam,
    "nadam": nadam,
    "adamax": adamax,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "lion": lion,
    "adafactor": adafactor,
    "muon": muon,
}
"""Every optimizer's rule, by kind."""
