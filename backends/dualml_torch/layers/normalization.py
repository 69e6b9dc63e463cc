"""Layers that normalise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dualml.spec.graph import Node
from dualml_torch.layers.base import Axes, Make, Placement, Roles, same


class AnyBatchNorm(_BatchNorm):
    """``torch.nn.BatchNorm1d``, ``2d`` and ``3d`` in one, for inputs of any number of axes, which those refuse."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 (the stock module's name)
        """Take any."""


class BiasedBatchNorm(AnyBatchNorm):
    """Batch normalisation whose running variance takes in the biased variance of a batch, as Keras' does.

    A class of its own because ``torch.nn.BatchNorm2d`` always takes the unbiased one. The biased variance of one value
    is 0, so it takes batches with one value for each channel, too.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalise, and move the running values in training."""
        if not self.training:
            return super().forward(input)
        running_mean, running_variance, new = self.running_mean, self.running_var, self.momentum
        assert running_mean is not None, "made with track_running_stats"
        assert running_variance is not None, "made with track_running_stats"
        assert new is not None, "made with a momentum"
        count = input.numel() // input.shape[1]
        mean, variance = torch.zeros_like(running_mean), torch.zeros_like(running_variance)
        # With a momentum of 1 they become the batch's own mean and unbiased variance, which one value has not.
        kept = (mean, variance) if count > 1 else (None, None)
        result = torch.batch_norm(
            input, self.weight, self.bias, kept[0], kept[1], True, 1.0, self.eps, torch.backends.cudnn.enabled
        )
        with torch.no_grad():
            mean = mean if count > 1 else input.reshape(-1)
            running_mean.mul_(1.0 - new).add_(mean, alpha=new)
            running_variance.mul_(1.0 - new).add_(variance * ((count - 1) / count), alpha=new)
        return result


class FrozenBatchNorm(AnyBatchNorm):
    """Batch normalisation by its running values in training, too; scale and offset are trained.

    A class of its own because a stock module goes back to the batch's values with every ``model.train()``.
    """

    def train(self, mode: bool = True) -> FrozenBatchNorm:
        """Stay in inference mode."""
        return super().train(False)


_BATCH_NORMS: Mapping[int, type[_BatchNorm]] = {
    1: nn.BatchNorm1d,
    2: nn.BatchNorm1d,
    3: nn.BatchNorm2d,
    4: nn.BatchNorm3d,
}
"""By the number of an example's axes."""


def batch_norm(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.BatchNorm1d``, ``2d`` or ``3d``; ``BiasedBatchNorm`` or ``FrozenBatchNorm`` where those cannot."""
    settings = node.settings
    if settings.frozen:
        kind: type[_BatchNorm] = FrozenBatchNorm
    elif settings.variance == "biased":
        kind = BiasedBatchNorm
    else:
        kind = _BATCH_NORMS.get(len(node.shape), AnyBatchNorm)
    module = kind(
        node.shape[-1],
        eps=settings.epsilon,
        momentum=1.0 - settings.momentum,  # PyTorch's is the weight of the new value
        track_running_stats=True,
        **_affine(node),
        **_placed(placement),
    )
    return _with_parts(module, node)


def layer_norm(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.LayerNorm``."""
    settings = node.settings
    module = nn.LayerNorm(
        node.shape[-settings.axes :],
        eps=settings.epsilon,
        elementwise_affine=settings.scale or settings.offset,
        **_placed(placement),
    )
    return _with_parts(module, node)


def rms_norm(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.RMSNorm``."""
    settings = node.settings
    shape = node.shape[-settings.axes :]
    return nn.RMSNorm(shape, eps=settings.epsilon, elementwise_affine=settings.scale, **_placed(placement))


class UnitNorm(nn.Module):
    """``torch.nn.functional.normalize`` as a module.

    Why not stock: there is no stock module.

    Args:
        axes: How many of the last axes it normalises over.
        epsilon: The shortest length that is scaled to 1.
    """

    def __init__(self, axes: int, epsilon: float) -> None:
        super().__init__()
        self.axes, self.epsilon = axes, epsilon

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Values of the input's shape."""
        # The stub knows a single axis only; the function takes several.
        return nn.functional.normalize(input, 2.0, tuple(range(-self.axes, 0)), self.epsilon)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        """The settings, in the module's text."""
        return f"axes={self.axes}, epsilon={self.epsilon}"


def unit_norm(node: Node, placement: Placement) -> nn.Module:  # noqa: ARG001 (one signature for all)
    """``UnitNorm``."""
    return UnitNorm(node.settings.axes, node.settings.epsilon)


class OffsetGroupNorm(nn.GroupNorm):
    """``torch.nn.GroupNorm`` with an offset and no scale.

    A class of its own because the stock module without its ``weight`` but with its ``bias`` has no gradient in PyTorch
    2.13 ("tensor does not have a device").
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalise, then add the offset to each channel."""
        result = torch.group_norm(input, self.num_groups, None, None, self.eps, torch.backends.cudnn.enabled)
        return result + self.bias.view(-1, *(1,) * (input.dim() - 2))


def group_norm(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.GroupNorm``, or ``OffsetGroupNorm``."""
    settings = node.settings
    kind = OffsetGroupNorm if settings.offset and not settings.scale else nn.GroupNorm
    module = kind(settings.groups, node.shape[-1], eps=settings.epsilon, **_affine(node), **_placed(placement))
    return _with_parts(module, node)


_INSTANCE_NORMS: Mapping[int, type[nn.Module]] = {2: nn.InstanceNorm1d, 3: nn.InstanceNorm2d, 4: nn.InstanceNorm3d}
"""By the number of an example's axes."""


def instance_norm(node: Node, placement: Placement) -> nn.Module:
    """``torch.nn.InstanceNorm1d``, ``2d`` or ``3d``; for more axes ``torch.nn.GroupNorm``, which is the same."""
    channels, epsilon = node.shape[-1], node.settings.epsilon
    if len(node.shape) in _INSTANCE_NORMS:
        module: nn.Module = _INSTANCE_NORMS[len(node.shape)](
            channels, eps=epsilon, track_running_stats=False, **_affine(node), **_placed(placement)
        )
    else:
        kind = OffsetGroupNorm if node.settings.offset and not node.settings.scale else nn.GroupNorm
        module = kind(channels, channels, eps=epsilon, **_affine(node), **_placed(placement))
    return _with_parts(module, node)


def _affine(node: Node) -> dict[str, Any]:
    """The stock modules' argument for scale and offset together."""
    return {"affine": bool(node.settings.scale or node.settings.offset)}


def _placed(placement: Placement) -> dict[str, Any]:
    return {"device": placement.device, "dtype": placement.dtype}


def _with_parts(module: nn.Module, node: Node) -> nn.Module:
    """The module without the ``weight`` or the ``bias`` that the spec leaves out: stock modules take both or none."""
    if not node.settings.scale:
        module.register_parameter("weight", None)
    if not node.settings.offset:
        module.register_parameter("bias", None)
    return module


def _first(node: Node) -> Axes:  # noqa: ARG001
    return "first"


LAYERS: Mapping[str, Make] = {
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "unit_norm": unit_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
}
AXES: Mapping[str, Callable[[Node], Axes]] = {
    "batch_norm": _first,
    "group_norm": _first,
    "instance_norm": _first,
}
ROLES: Roles = {
    **{(operation, "scale"): same("weight") for operation in LAYERS},
    **{(operation, "offset"): same("bias") for operation in LAYERS},
    ("batch_norm", "running_mean"): same("running_mean"),
    ("batch_norm", "running_variance"): same("running_var"),
}
