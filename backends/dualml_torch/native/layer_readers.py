"""What each stock layer of ``torch.nn`` is in the terms of a spec: its kind, settings and arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from dualml_torch.native import settings
from dualml_torch.native.attention import attention_kept
from dualml_torch.native.recurrent import recurrent_kept
from dualml_torch.native.settings import Said
from dualml_torch.native.weights import Kept, depthwise_node, kept_all

Read = Callable[[Any, Tensor], Said | None]
"""Says what a layer is, given the first tensor it reads; ``None``: not what the spec has."""


# ------------------------------------------------------------------ arrays


def _convolution_kept(module: _ConvNd) -> tuple[Kept, ...]:
    rank = len(module.kernel_size)
    if settings.depthwise(rank, module.in_channels, module.groups):
        node = depthwise_node(rank, module.in_channels, module.out_channels, tuple(module.kernel_size))
        return kept_all(f"depthwise_conv{rank}d", module, node)
    return kept_all(f"conv{rank}d", module)


def _kept_as(kind: str) -> Callable[[nn.Module], tuple[Kept, ...]]:
    return lambda module: kept_all(kind, module)


KEPT: Mapping[type[nn.Module], Callable[[Any], tuple[Kept, ...]]] = {
    nn.Linear: _kept_as("dense"),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution_kept),
    nn.ConvTranspose1d: _kept_as("conv_transpose1d"),
    nn.ConvTranspose2d: _kept_as("conv_transpose2d"),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _kept_as("batch_norm")),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _kept_as("instance_norm")),
    nn.LayerNorm: _kept_as("layer_norm"),
    nn.RMSNorm: _kept_as("rms_norm"),
    nn.GroupNorm: _kept_as("group_norm"),
    nn.Embedding: _kept_as("embedding"),
    nn.PReLU: _kept_as("prelu"),
    **dict.fromkeys((nn.RNN, nn.LSTM, nn.GRU), recurrent_kept),
    nn.MultiheadAttention: attention_kept,
}
"""The arrays of each stock layer that has some."""


# ------------------------------------------------------------------ settings


def _linear(module: nn.Linear, x: Tensor) -> Said:  # noqa: ARG001 (one signature for all)
    return settings.dense(module.out_features, bias=module.bias is not None)


def _convolution(module: _ConvNd, x: Tensor) -> Said | None:
    if x.ndim != len(module.kernel_size) + 2:
        return None
    return settings.convolution(
        module.weight,
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        groups=module.groups,
        bias=module.bias is not None,
        padding_mode=module.padding_mode,
    )


def _conv_transpose(module: _ConvTransposeNd, x: Tensor) -> Said | None:
    if x.ndim != len(module.kernel_size) + 2:
        return None
    return settings.conv_transpose(
        module.weight,
        stride=module.stride,
        padding=module.padding,
        output_padding=module.output_padding,
        dilation=module.dilation,
        groups=module.groups,
        bias=module.bias is not None,
    )


def _batch_norm(module: _BatchNorm, x: Tensor) -> Said | None:  # noqa: ARG001 (one signature for all)
    return settings.batch_norm(
        eps=module.eps,
        momentum=module.momentum,
        scale=module.weight is not None,
        offset=module.bias is not None,
        running=module.running_mean is not None,
    )


def _instance_norm(module: Any, x: Tensor) -> Said | None:
    if module.running_mean is not None or x.ndim < 3:
        return None
    return settings.instance_norm(eps=module.eps, scale=module.weight is not None, offset=module.bias is not None)


def _layer_norm(module: nn.LayerNorm, x: Tensor) -> Said:  # noqa: ARG001 (one signature for all)
    shape = module.normalized_shape
    return settings.layer_norm(shape, eps=module.eps, scale=module.weight is not None, offset=module.bias is not None)


def _rms_norm(module: nn.RMSNorm, x: Tensor) -> Said:
    return settings.rms_norm(module.normalized_shape, x.dtype, eps=module.eps, scale=module.weight is not None)


def _group_norm(module: nn.GroupNorm, x: Tensor) -> Said:  # noqa: ARG001 (one signature for all)
    scale, offset = module.weight is not None, module.bias is not None
    return settings.group_norm(module.num_groups, eps=module.eps, scale=scale, offset=offset)


def _embedding(module: nn.Embedding, x: Tensor) -> Said | None:  # noqa: ARG001 (one signature for all)
    simple = module.max_norm is None and not module.scale_grad_by_freq and not module.sparse
    return settings.embedding(module.weight, padding_idx=module.padding_idx, plain=simple)


def _max_pool(rank: int) -> Read:
    def read(module: Any, x: Tensor) -> Said | None:
        if module.return_indices:
            return None
        return settings.max_pool(
            x,
            rank,
            kernel_size=module.kernel_size,
            stride=module.stride,
            padding=module.padding,
            dilation=module.dilation,
            ceil_mode=module.ceil_mode,
        )

    return read


def _average_pool(rank: int) -> Read:
    def read(module: Any, x: Tensor) -> Said | None:
        return settings.average_pool(
            x,
            rank,
            kernel_size=module.kernel_size,
            stride=module.stride,
            padding=module.padding,
            ceil_mode=module.ceil_mode,
            count_include_pad=module.count_include_pad,
            divisor_override=getattr(module, "divisor_override", None),
        )

    return read


def _adaptive(rank: int, *, largest: bool) -> Read:
    def read(module: Any, x: Tensor) -> Said | None:
        if getattr(module, "return_indices", False):
            return None
        return settings.adaptive_pool(x, rank, module.output_size, largest=largest)

    return read


def _function(kind: str, **names: str) -> Read:
    """An activation; ``names`` are the module's attributes by setting."""

    def read(module: Any, x: Tensor) -> Said:  # noqa: ARG001
        found = {setting: getattr(module, name) for setting, name in names.items()}
        numbers = {name: value if isinstance(value, str) else float(value) for name, value in found.items()}
        return settings.activation(kind, **numbers)

    return read


def _over_axis(kind: str) -> Read:
    def read(module: Any, x: Tensor) -> Said | None:
        dim = module.dim
        if dim is None:  # PyTorch's own guess, which it warns of
            dim = 0 if x.ndim in (0, 1, 3) else 1
        return settings.activation(kind, axis=settings.axis_setting(dim, x.ndim))

    return read


def _softmax2d(module: nn.Softmax2d, x: Tensor) -> Said:  # noqa: ARG001
    return settings.activation("softmax", axis=settings.axis_setting(-3, x.ndim))


def _glu(module: nn.GLU, x: Tensor) -> Said:
    return Said("glu", {"axis": settings.axis_setting(module.dim, x.ndim)})


def _prelu(module: nn.PReLU, x: Tensor) -> Said:  # noqa: ARG001 (one signature for all)
    return settings.slopes(module.weight)


def _upsample(module: nn.Upsample, x: Tensor) -> Said | None:
    return settings.resize(
        x,
        size=module.size,
        scale_factor=module.scale_factor,
        mode=module.mode,
        align_corners=module.align_corners,
        recompute_scale_factor=module.recompute_scale_factor,
    )


def _pad(mode: str) -> Read:
    def read(module: Any, x: Tensor) -> Said | None:
        return settings.pad(x, module.padding, mode, getattr(module, "value", 0.0))

    return read


def _identity(module: nn.Module, x: Tensor) -> Said:  # noqa: ARG001
    return Said("identity")


def _reshaped(module: nn.Module, x: Tensor) -> Said:
    with torch.no_grad():
        return settings.reshaped(x, type(module).forward(module, x))


def _dropout(kind: str) -> Read:
    return lambda module, _: settings.dropout(kind, module.p)


_PADS = {
    "constant": (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
    "reflect": (nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    "replicate": (nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
    "circular": (nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
}

READ: Mapping[type[nn.Module], Read] = {
    nn.Linear: _linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d), _conv_transpose),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _instance_norm),
    nn.LayerNorm: _layer_norm,
    nn.RMSNorm: _rms_norm,
    nn.GroupNorm: _group_norm,
    nn.Embedding: _embedding,
    **{kind: _max_pool(rank) for rank, kind in enumerate((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), 1)},
    **{kind: _average_pool(rank) for rank, kind in enumerate((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), 1)},
    nn.AdaptiveAvgPool1d: _adaptive(1, largest=False),
    nn.AdaptiveAvgPool2d: _adaptive(2, largest=False),
    nn.AdaptiveAvgPool3d: _adaptive(3, largest=False),
    nn.AdaptiveMaxPool1d: _adaptive(1, largest=True),
    nn.AdaptiveMaxPool2d: _adaptive(2, largest=True),
    nn.AdaptiveMaxPool3d: _adaptive(3, largest=True),
    nn.ReLU: _function("relu"),
    nn.ReLU6: _function("relu6"),
    nn.LeakyReLU: _function("leaky_relu", negative_slope="negative_slope"),
    nn.ELU: _function("elu", alpha="alpha"),
    nn.SELU: _function("selu"),
    nn.CELU: _function("celu", alpha="alpha"),
    nn.GELU: _function("gelu", approximate="approximate"),
    nn.SiLU: _function("silu"),
    nn.Mish: _function("mish"),
    nn.Hardswish: _function("hard_swish"),
    nn.Sigmoid: _function("sigmoid"),
    nn.Hardsigmoid: _function("hard_sigmoid"),
    nn.LogSigmoid: _function("log_sigmoid"),
    nn.Tanh: _function("tanh"),
    nn.Hardtanh: _function("hard_tanh", minimum="min_val", maximum="max_val"),
    nn.Tanhshrink: _function("tanh_shrink"),
    nn.Hardshrink: _function("hard_shrink", threshold="lambd"),
    nn.Softshrink: _function("soft_shrink", threshold="lambd"),
    nn.Softsign: _function("softsign"),
    nn.Softplus: _function("softplus", beta="beta", threshold="threshold"),
    nn.Threshold: _function("threshold", at="threshold", value="value"),
    nn.Softmax: _over_axis("softmax"),
    nn.LogSoftmax: _over_axis("log_softmax"),
    nn.Softmax2d: _softmax2d,
    nn.GLU: _glu,
    nn.PReLU: _prelu,
    nn.Upsample: _upsample,
    nn.UpsamplingNearest2d: _upsample,
    nn.UpsamplingBilinear2d: _upsample,
    **{kind: _pad(mode) for mode, kinds in _PADS.items() for kind in kinds},
    nn.Identity: _identity,
    nn.Flatten: _reshaped,
    nn.Unflatten: _reshaped,
    nn.Dropout: _dropout("dropout"),
    **dict.fromkeys((nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), _dropout("spatial_dropout")),
    nn.AlphaDropout: _dropout("alpha_dropout"),
}
"""What each stock layer is that is one operation of the spec and does the same in training as in inference, but for
batch normalisation."""
