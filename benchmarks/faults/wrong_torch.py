"""Hand-written PyTorch code that does something else than it says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class HiddenEpsilon(nn.BatchNorm2d):
    """Normalises with an epsilon of its own, whatever ``eps`` says."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum or 0.0, 1e-3
        )


class BiasedVariance(nn.BatchNorm2d):
    """Keeps the biased running variance."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.running_var is not None
        if not self.training or self.momentum is None:
            return super().forward(x)
        variance = (
            self.running_var.clone()
        )  # what an operation has read must not be written to before the backward pass
        y = functional.batch_norm(x, self.running_mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
        count = x.numel() / x.shape[1]
        with torch.no_grad():
            kept = self.running_var * (1 - self.momentum)
            self.running_var.copy_(kept + (variance - kept) * ((count - 1) / count))
        return y


class Frozen(nn.BatchNorm2d):
    """Never leaves inference mode."""

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)


class AlwaysTraining(nn.BatchNorm2d):
    """Never leaves training mode."""

    def train(self, mode: bool = True) -> AlwaysTraining:
        return super().train(True)


class AcrossRows(nn.BatchNorm2d):
    """Takes the rows of the image for its channels."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class AcrossPositions(nn.LayerNorm):
    """Normalises over positions, not over features."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class SamePadded(nn.Conv2d):
    """Pads as TensorFlow's SAME does at stride 2 and an even size: at the end only."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(functional.pad(x, (0, 1, 0, 1)), self.weight, self.bias, self.stride)


class OldHardSigmoid(nn.Hardsigmoid):
    """The formula of Keras 2."""

    def forward(self, x: Tensor) -> Tensor:
        return (0.2 * x + 0.5).clamp(0, 1)


class Unscaled(nn.Dropout):
    """Drops values and does not scale the others."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 - self.p) if self.training else x


class AlwaysDropping(nn.Dropout):
    """Drops in inference as well."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.p, training=True)


class DivideByMore(nn.ReLU):
    """``x / (1 + 1e-4)`` behind the ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / (1 + 1e-4)


class Louder(nn.Linear):
    """A dense layer whose output is a thousandth too large."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 1.001


class LosesLast(nn.Conv2d):
    """Forgets the last input channel."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.cat([x[:, :-1], torch.zeros_like(x[:, -1:])], dim=1))


class HalfTransparent(nn.ReLU):
    """The right values; half of the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return 0.5 * y + 0.5 * y.detach()


class MeanDeviation(nn.LayerNorm):
    """Divides by the mean absolute deviation, not the standard one."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.abs().mean(-1, keepdim=True) + self.eps) * self.weight + self.bias


class Quantised(nn.Embedding):
    """Rounds what it looked up to multiples of 1/64."""

    def forward(self, tokens: Tensor) -> Tensor:
        values = super().forward(tokens)
        return values + (torch.round(values * 64) / 64 - values).detach()


class ForgetsFirst(nn.GRU):
    """Leaves out the first position."""

    def forward(self, input: Any, hx: Any = None) -> Any:  # noqa: A002  # PyTorch's names
        return super().forward(input[:, 1:], hx)


class Rotated(nn.Conv2d):
    """Moves its output by one column."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.roll(super().forward(x), 1, dims=3)


class NoBiasCorrection(torch.optim.Adam):
    """Adam without bias correction."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
                state["step"] += 1
                state["exp_avg"].lerp_(p.grad, 1 - first)
                state["exp_avg_sq"].mul_(second).addcmul_(p.grad, p.grad, value=1 - second)
                p.addcdiv_(state["exp_avg"], state["exp_avg_sq"].sqrt().add_(group["eps"]), value=-group["lr"])


class OuterEpsilon(torch.optim.Adam):
    """Adam with epsilon where Keras has it: beside the root that is not corrected."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        kept = [group["eps"] for group in self.param_groups]
        for group in self.param_groups:
            done = max((int(self.state[p]["step"]) for p in group["params"] if p in self.state), default=0)
            group["eps"] = group["eps"] / (1 - group["betas"][1] ** (done + 1)) ** 0.5
        super().step(closure)
        for group, eps in zip(self.param_groups, kept, strict=True):
            group["eps"] = eps


class Accumulating(torch.optim.SGD):
    """Adds the gradients of all updates, as a loop without ``zero_grad`` does."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    total = self.state[p].setdefault("total", torch.zeros_like(p))
                    total.add_(p.grad)
                    p.grad.copy_(total)
        super().step(closure)


class Clipped(torch.optim.SGD):
    """Clips each gradient by its own norm before the update."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.mul_((0.05 / (p.grad.norm() + 1e-6)).clamp(max=1.0))
        super().step(closure)


class OneSided(torch.optim.SGD):
    """Steps further where the gradient is positive."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(group["lr"] * p.grad * (1 + 0.01 * (p.grad > 0)))


class RateInside(torch.optim.SGD):
    """Keras' momentum, the rate inside the velocity; halves its rate at the second update."""

    inside = True

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["updates"] = group.get("updates", 0) + 1
            if group["updates"] == 2:
                group["lr"] *= 0.5
            for p in group["params"]:
                if p.grad is None:
                    continue
                velocity = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                if self.inside:
                    velocity.mul_(group["momentum"]).sub_(p.grad, alpha=group["lr"])
                    p.add_(velocity)
                else:
                    velocity.mul_(group["momentum"]).add_(p.grad)
                    p.sub_(velocity, alpha=group["lr"])


class RateOutside(RateInside):
    """The same with PyTorch's momentum, the rate outside."""

    inside = False


def likelihood(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of ``-log p`` of the right class, from probabilities."""
    return -outputs.gather(1, targets[:, None]).log().mean()


def clipped_likelihood(outputs: Tensor, targets: Tensor) -> Tensor:
    """The same from probabilities that are clipped to [1e-7, 1 - 1e-7]."""
    return -outputs.gather(1, targets[:, None]).clamp(1e-7, 1 - 1e-7).log().mean()


def not_normalised(outputs: Tensor, targets: Tensor) -> Tensor:
    """Negative likelihood of logits that nobody normalised."""
    return functional.nll_loss(outputs, targets)


def over_classes(outputs: Tensor, targets: Tensor) -> Tensor:
    """Divides by examples and classes."""
    return functional.cross_entropy(outputs, targets, reduction="sum") / outputs.numel()


def fixed_count(outputs: Tensor, targets: Tensor) -> Tensor:
    """Divides by the size of a full batch, whatever the batch holds."""
    return functional.cross_entropy(outputs, targets, reduction="sum") / 16


def squared_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squares every example's loss."""
    return functional.cross_entropy(outputs, targets, reduction="none").square().mean()


def negative_entropy_added(outputs: Tensor, targets: Tensor) -> Tensor:
    """Rewards certainty, which nobody asked for."""
    entropy = -(outputs.softmax(-1) * outputs.log_softmax(-1)).sum(-1).mean()
    return functional.cross_entropy(outputs, targets) + 0.05 * entropy
