"""What each function of PyTorch is in the terms of a spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from dualml_torch.native import settings
from dualml_torch.native.merging_readers import MERGING
from dualml_torch.native.moving_readers import MOVING
from dualml_torch.native.seen import Reader, Seen
from dualml_torch.native.settings import Said


def _holding(said: Said | None, seen: Seen, **tensors: Tensor | None) -> Said | None:
    """The same with its first argument as its input and these weights."""
    if said is None or not seen.values(seen.x):
        return None
    weights = seen.weights(said.kind, **tensors)
    return None if weights is None else replace(said, inputs=(seen.x,), weights=weights)


# ------------------------------------------------------------------ with weights


def _linear(seen: Seen) -> Said | None:
    weight, bias = seen.get(1, "weight"), seen.get(2, "bias")
    return _holding(settings.dense(weight.shape[0], bias=bias is not None), seen, kernel=weight, bias=bias)


def _conv(seen: Seen) -> Said | None:
    weight, bias = seen.get(1, "weight"), seen.get(2, "bias")
    if seen.x.ndim != weight.ndim:
        return None
    said = settings.convolution(
        weight,
        stride=seen.get(3, "stride", 1),
        padding=seen.get(4, "padding", 0),
        dilation=seen.get(5, "dilation", 1),
        groups=seen.get(6, "groups", 1),
        bias=bias is not None,
    )
    return None if said.kind.startswith("depthwise") else _holding(said, seen, kernel=weight, bias=bias)


def _conv_transpose(seen: Seen) -> Said | None:
    weight, bias = seen.get(1, "weight"), seen.get(2, "bias")
    if seen.x.ndim != weight.ndim:
        return None
    said = settings.conv_transpose(
        weight,
        stride=seen.get(3, "stride", 1),
        padding=seen.get(4, "padding", 0),
        output_padding=seen.get(5, "output_padding", 0),
        groups=seen.get(6, "groups", 1),
        dilation=seen.get(7, "dilation", 1),
        bias=bias is not None,
    )
    return _holding(said, seen, kernel=weight, bias=bias)


def _layer_norm(seen: Seen) -> Said | None:
    weight, bias = seen.get(2, "weight"), seen.get(3, "bias")
    said = settings.layer_norm(
        tuple(seen.get(1, "normalized_shape")),
        eps=seen.get(4, "eps", 1e-5),
        scale=weight is not None,
        offset=bias is not None,
    )
    return _holding(said, seen, scale=weight, offset=bias)


def _rms_norm(seen: Seen) -> Said | None:
    weight = seen.get(2, "weight")
    shape = tuple(seen.get(1, "normalized_shape"))
    said = settings.rms_norm(shape, seen.x.dtype, eps=seen.get(3, "eps"), scale=weight is not None)
    return _holding(said, seen, scale=weight)


def _group_norm(seen: Seen) -> Said | None:
    weight, bias = seen.get(2, "weight"), seen.get(3, "bias")
    said = settings.group_norm(
        seen.get(1, "num_groups"), eps=seen.get(4, "eps", 1e-5), scale=weight is not None, offset=bias is not None
    )
    return _holding(said, seen, scale=weight, offset=bias)


def _batch_norm(seen: Seen) -> Said | None:
    mean, variance = seen.get(1, "running_mean"), seen.get(2, "running_var")
    weight, bias = seen.get(3, "weight"), seen.get(4, "bias")
    said = settings.batch_norm(
        eps=seen.get(7, "eps", 1e-5),
        momentum=seen.get(6, "momentum", 0.1),
        scale=weight is not None,
        offset=bias is not None,
        running=mean is not None,
    )
    return _holding(said, seen, scale=weight, offset=bias, running_mean=mean, running_variance=variance)


def _embedding(seen: Seen) -> Said | None:
    plain = seen.get(3, "max_norm") is None and not seen.get(5, "scale_grad_by_freq") and not seen.get(6, "sparse")
    table = seen.get(1, "weight")
    return _holding(settings.embedding(table, padding_idx=seen.get(2, "padding_idx"), plain=plain), seen, table=table)


def _instance_norm(seen: Seen) -> Said | None:
    weight, bias = seen.get(3, "weight"), seen.get(4, "bias")
    if seen.get(1, "running_mean") is not None or not seen.get(5, "use_input_stats", True) or seen.x.ndim < 3:
        return None
    said = settings.instance_norm(eps=seen.get(7, "eps", 1e-5), scale=weight is not None, offset=bias is not None)
    return _holding(said, seen, scale=weight, offset=bias)


def _prelu(seen: Seen) -> Said | None:
    weight = seen.get(1, "weight")
    return _holding(settings.slopes(weight), seen, slope=weight)


def _normalize(seen: Seen) -> Said | None:
    return settings.unit_norm(seen.x, p=seen.get(1, "p", 2.0), dim=seen.get(2, "dim", 1), eps=seen.get(3, "eps", 1e-12))


# ------------------------------------------------------------------ activations


def _activation(kind: str, **settings_: tuple[int, str, float]) -> Reader:
    """An activation; of each setting the place, name and default of the function's argument."""

    def read(seen: Seen) -> Said:
        numbers = {setting: float(seen.get(*where)) for setting, where in settings_.items()}
        return settings.activation(kind, **numbers)

    return read


def _gelu(seen: Seen) -> Said:
    return settings.activation("gelu", approximate=seen.get(1, "approximate", "none"))


def _over_axis(kind: str) -> Reader:
    def read(seen: Seen) -> Said | None:
        dim = seen.get(1, "dim")
        if dim is None:
            dim = 0 if seen.x.ndim in (0, 1, 3) else 1
        return settings.activation(kind, axis=settings.axis_setting(dim, seen.x.ndim))

    return read


def _glu(seen: Seen) -> Said:
    return Said("glu", {"axis": settings.axis_setting(seen.get(1, "dim", -1), seen.x.ndim)})


def _clamp(seen: Seen) -> Said | None:
    low, high = seen.get(1, "min"), seen.get(2, "max")
    if low is None or isinstance(low, Tensor) or isinstance(high, Tensor):
        return None
    if high is None:
        return settings.activation("relu") if low == 0 else None
    return settings.activation("hard_tanh", minimum=float(low), maximum=float(high))


# ------------------------------------------------------------------ pooling, resizing, padding


def _max_pool(rank: int) -> Reader:
    def read(seen: Seen) -> Said | None:
        if seen.get(6, "return_indices"):
            return None
        return settings.max_pool(
            seen.x,
            rank,
            kernel_size=seen.get(1, "kernel_size"),
            stride=seen.get(2, "stride"),
            padding=seen.get(3, "padding", 0),
            dilation=seen.get(4, "dilation", 1),
            ceil_mode=seen.get(5, "ceil_mode", False),
        )

    return read


def _average_pool(rank: int) -> Reader:
    def read(seen: Seen) -> Said | None:
        return settings.average_pool(
            seen.x,
            rank,
            kernel_size=seen.get(1, "kernel_size"),
            stride=seen.get(2, "stride"),
            padding=seen.get(3, "padding", 0),
            ceil_mode=seen.get(4, "ceil_mode", False),
            count_include_pad=seen.get(5, "count_include_pad", True),
            divisor_override=seen.get(6, "divisor_override"),
        )

    return read


def _adaptive(rank: int, *, largest: bool) -> Reader:
    def read(seen: Seen) -> Said | None:
        if seen.get(2, "return_indices"):
            return None
        return settings.adaptive_pool(seen.x, rank, seen.get(1, "output_size"), largest=largest)

    return read


def _mean(seen: Seen) -> Said | None:
    dim, keep = seen.get(1, "dim"), seen.get(2, "keepdim", False)
    return settings.over_positions(seen.x, dim, what="average", keepdim=keep)


def _amax(seen: Seen) -> Said | None:
    return settings.over_positions(seen.x, seen.get(1, "dim"), what="max", keepdim=seen.get(2, "keepdim", False))


def _interpolate(seen: Seen) -> Said | None:
    return settings.resize(
        seen.x,
        size=seen.get(1, "size"),
        scale_factor=seen.get(2, "scale_factor"),
        mode=seen.get(3, "mode", "nearest"),
        align_corners=seen.get(4, "align_corners"),
        recompute_scale_factor=seen.get(5, "recompute_scale_factor"),
        antialias=seen.get(6, "antialias", False),
    )


def _pad(seen: Seen) -> Said | None:
    return settings.pad(seen.x, seen.get(1, "pad"), seen.get(2, "mode", "constant"), seen.get(3, "value"))


READERS: Mapping[str, Reader] = {
    "linear": _linear,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), _conv_transpose),
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "normalize": _normalize,
    "embedding": _embedding,
    "prelu": _prelu,
    "relu": _activation("relu"),
    "relu6": _activation("relu6"),
    "leaky_relu": _activation("leaky_relu", negative_slope=(1, "negative_slope", 0.01)),
    "elu": _activation("elu", alpha=(1, "alpha", 1.0)),
    "selu": _activation("selu"),
    "celu": _activation("celu", alpha=(1, "alpha", 1.0)),
    "gelu": _gelu,
    "silu": _activation("silu"),
    "mish": _activation("mish"),
    "hardswish": _activation("hard_swish"),
    "sigmoid": _activation("sigmoid"),
    "hardsigmoid": _activation("hard_sigmoid"),
    "logsigmoid": _activation("log_sigmoid"),
    "tanh": _activation("tanh"),
    "hardtanh": _activation("hard_tanh", minimum=(1, "min_val", -1.0), maximum=(2, "max_val", 1.0)),
    "tanhshrink": _activation("tanh_shrink"),
    "hardshrink": _activation("hard_shrink", threshold=(1, "lambd", 0.5)),
    "softshrink": _activation("soft_shrink", threshold=(1, "lambd", 0.5)),
    "softsign": _activation("softsign"),
    "softplus": _activation("softplus", beta=(1, "beta", 1.0), threshold=(2, "threshold", 20.0)),
    "threshold": _activation("threshold", at=(1, "threshold", 0.0), value=(2, "value", 0.0)),
    "exp": _activation("exponential"),
    "softmax": _over_axis("softmax"),
    "log_softmax": _over_axis("log_softmax"),
    "glu": _glu,
    **dict.fromkeys(("clamp", "clip"), _clamp),
    **{f"max_pool{rank}d": _max_pool(rank) for rank in (1, 2, 3)},
    **{f"avg_pool{rank}d": _average_pool(rank) for rank in (1, 2, 3)},
    **{f"adaptive_avg_pool{rank}d": _adaptive(rank, largest=False) for rank in (1, 2, 3)},
    **{f"adaptive_max_pool{rank}d": _adaptive(rank, largest=True) for rank in (1, 2, 3)},
    "mean": _mean,
    "amax": _amax,
    "interpolate": _interpolate,
    "pad": _pad,
    **MOVING,
    **MERGING,
}
"""What each function is, by its name without underscores."""
