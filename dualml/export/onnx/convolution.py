"""Convolutions and transposed convolutions, channels first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dualml.export.onnx.writer import Emit, Site, Value
from dualml.protocol import Array
from dualml.spec.layers.sliding import Pairs, source_positions


def flat(pairs: Pairs) -> list[int]:
    """Pairs as ONNX wants pads: what comes before each axis, then what comes behind."""
    return [before for before, _ in pairs] + [after for _, after in pairs]


def copied(site: Site, x: str, shape: Sequence[int], pairs: Pairs, mode: str, first_axis: int) -> str:
    """Padding that consists of the input's own values.

    Args:
        site: Where it is written.
        x: The tensor.
        shape: Sizes of the axes that are padded.
        pairs: How much, for each of them.
        mode: ``reflect``, ``replicate`` or ``circular``.
        first_axis: The tensor's axis that is the first of them.
    """
    for axis, (size, pair) in enumerate(zip(shape, pairs, strict=False), start=first_axis):
        if any(pair):
            x = site.gathered(x, source_positions(size, pair, mode), axis)  # type: ignore[arg-type]
    return x


def _filters_first(kernel: Array) -> Array:
    """``(*sizes, channels, filters)`` as ``(filters, channels, *sizes)``."""
    return kernel.transpose(-1, -2, *range(kernel.ndim - 2))


def _depthwise_first(kernel: Array) -> Array:
    """``(*sizes, channels, multiplier)`` as ``(channels multiplier, 1, *sizes)``."""
    moved = kernel.transpose(-2, -1, *range(kernel.ndim - 2))
    return moved.reshape(-1, 1, *moved.shape[2:])


def _correlated(site: Site, kernel: str, groups: int) -> Value:
    settings, shape = site.settings, site.node.input_shapes[0]
    x, pads = site.input(channels="first"), settings.pads(shape)
    if settings.padding_mode != "zeros":
        x = copied(site, x, shape[:-1], pads, settings.padding_mode, 2)
        pads = ((0, 0),) * settings.rank
    bias = site.weight("bias")
    y = site.op(
        "Conv",
        x,
        kernel,
        *([bias] if bias else []),
        kernel_shape=settings.sizes,
        strides=settings.strides,
        dilations=settings.dilations,
        pads=flat(pads),
        group=groups,
    )
    return Value(y, "first")


def _convolution(site: Site) -> Value:
    return _correlated(site, site.required("kernel", _filters_first, "filters_first"), site.settings.groups)


def _depthwise(site: Site) -> Value:
    kernel = site.required("kernel", _depthwise_first, "filters_first")
    return _correlated(site, kernel, site.node.input_shapes[0][-1])


def _transposed(site: Site) -> Value:
    """Values put at the end are ones that less is taken off, or ONNX' ``output_padding``, or a longer input's."""
    settings, bias, x = site.settings, site.weight("bias"), site.input(channels="first")
    crops, extra, beyond = [], [], []
    for (before, after), more, stride in zip(settings.crops, settings.extra, settings.strides, strict=True):
        longer = -(-more // stride) if more - after >= stride else 0  # ONNX Runtime refuses so much output_padding
        left = after + longer * stride - more
        crops.append((before, max(left, 0)))
        extra.append(max(-left, 0))
        beyond.append((0, longer))
    if any(longer for _, longer in beyond):
        x = site.op("Pad", x, site.whole(flat(((0, 0), (0, 0), *beyond))), site.number(0.0))
    y = site.op(
        "ConvTranspose",
        x,
        site.required("kernel", _filters_first, "filters_first"),
        *([bias] if bias else []),
        kernel_shape=settings.sizes,
        strides=settings.strides,
        dilations=settings.dilations,
        pads=flat(tuple(crops)),
        output_padding=extra,
        group=settings.groups,
    )
    return Value(y, "first")


EMITTERS: Mapping[str, Emit] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("depthwise_conv1d", "depthwise_conv2d"), _depthwise),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), _transposed),
}
"""By ``Node.operation``."""
