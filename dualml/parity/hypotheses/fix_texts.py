"""The code of each fix, by framework and cause (``cause:setting`` where a cause has several settings)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dualml.parity.hypotheses.trial import number
from dualml.spec.graph import Node

Text = Callable[[Node | None, Any], str]
"""The code for a value of the convention; ``node`` says for which layer."""

KERAS_LAYERS: Mapping[str, str] = {
    "batch_norm": "BatchNormalization",
    "layer_norm": "LayerNormalization",
    "group_norm": "GroupNormalization",
    "instance_norm": "GroupNormalization",
    "rms_norm": "RMSNormalization",
    "lstm": "LSTM",
    "gru": "GRU",
    "simple_rnn": "SimpleRNN",
    "dense": "Dense",
    "dropout": "Dropout",
    "embedding": "Embedding",
    "attention": "MultiHeadAttention",
    "leaky_relu": "LeakyReLU",
    **{f"conv{rank}d": f"Conv{rank}D" for rank in (1, 2, 3)},
    **{f"depthwise_conv{rank}d": f"DepthwiseConv{rank}D" for rank in (1, 2)},
    **{f"conv_transpose{rank}d": f"Conv{rank}DTranspose" for rank in (1, 2)},
    **{f"max_pool{rank}d": f"MaxPooling{rank}D" for rank in (1, 2, 3)},
    **{f"average_pool{rank}d": f"AveragePooling{rank}D" for rank in (1, 2, 3)},
}

TORCH_LAYERS: Mapping[str, str] = {
    "layer_norm": "LayerNorm",
    "group_norm": "GroupNorm",
    "rms_norm": "RMSNorm",
    "lstm": "LSTM",
    "gru": "GRU",
    "simple_rnn": "RNN",
    "dense": "Linear",
    "dropout": "Dropout",
    "embedding": "Embedding",
    "attention": "MultiheadAttention",
    "leaky_relu": "LeakyReLU",
    **{f"conv{rank}d": f"Conv{rank}d" for rank in (1, 2, 3)},
    **{f"depthwise_conv{rank}d": f"Conv{rank}d" for rank in (1, 2)},
    **{f"conv_transpose{rank}d": f"ConvTranspose{rank}d" for rank in (1, 2)},
    **{f"max_pool{rank}d": f"MaxPool{rank}d" for rank in (1, 2, 3)},
    **{f"average_pool{rank}d": f"AvgPool{rank}d" for rank in (1, 2, 3)},
}


KIND = "<kind>"
"""Stands for the optimizer's class, which is not known here."""


def _value(value: Any) -> str:
    """A value in Python."""
    if isinstance(value, float):
        return number(value)
    return repr(list(value)) if isinstance(value, list) else repr(value)


def _kind(node: Node | None) -> str:
    if node is None:
        raise KeyError("no layer")
    return node.operation


def _torch_layer(node: Node | None) -> str:
    """``BatchNorm2d(64, `` with what its constructor needs."""
    kind = _kind(node)
    assert node is not None
    shape = node.input_shapes[0]
    rank, channels = len(shape) - 1, shape[-1]
    if kind in ("batch_norm", "instance_norm"):
        name = {"batch_norm": "BatchNorm", "instance_norm": "InstanceNorm"}[kind]
        return f"nn.{name}{max(rank, 1)}d({channels}, "
    if kind in ("layer_norm", "rms_norm"):
        return f"nn.{TORCH_LAYERS[kind]}({list(node.settings.weight_shape(shape))}, "
    if kind == "group_norm":
        return f"nn.GroupNorm({node.settings.groups}, {channels}, "
    if kind in ("max_pool2d", "average_pool2d", "max_pool1d", "average_pool1d", "max_pool3d", "average_pool3d"):
        return f"nn.{TORCH_LAYERS[kind]}({_value(node.settings.size)}, "
    return f"nn.{TORCH_LAYERS[kind]}(..., "


def _keras_layer(node: Node | None) -> str:
    """``keras.layers.BatchNormalization(`` with what its constructor needs."""
    kind = _kind(node)
    assert node is not None
    makers: Mapping[str, Callable[[], str]] = {
        "group_norm": lambda: f"groups={node.settings.groups}, ",
        "instance_norm": lambda: "groups=-1, ",
        "batch_norm": str,
        "layer_norm": str,
        "rms_norm": str,
        "dropout": str,
        "leaky_relu": str,
    }
    before = makers.get(kind, lambda: "..., ")()
    return f"keras.layers.{KERAS_LAYERS[kind]}({before}"


def _torch(argument: str, convert: Callable[[Any], Any] = lambda value: value) -> Text:
    return lambda node, value: f"{_torch_layer(node)}{argument}={_value(convert(value))})"


def _keras(argument: str, convert: Callable[[Any], Any] = lambda value: value) -> Text:
    return lambda node, value: f"{_keras_layer(node)}{argument}={_value(convert(value))})"


def _says(text: str) -> Text:
    """A sentence whatever the value is."""
    return lambda _node, _value: text


def _when(choices: Mapping[Any, str]) -> Text:
    """One text for each value; none for others."""

    def text(_node: Node | None, value: Any) -> str:
        return choices.get(value, "")

    return text


def _complement(value: float) -> float:
    return float(f"{1.0 - value:.12g}")


def _torch_padding(node: Node | None, value: Any) -> str:
    """Amounts as PyTorch pads them: by ``F.pad`` where both sides of an axis differ."""
    kind = _kind(node)
    assert node is not None
    settings, shape = node.settings, node.input_shapes[0]
    if kind.startswith("conv_transpose"):
        return f"{_torch_layer(node)}padding={_value(value)})" if isinstance(value, int) else ""
    pads = _pads(settings, shape, value)
    flat = [item for pair in reversed(pads) for item in pair]
    if all(before == after for before, after in pads):
        sides = [before for before, _ in pads]
        amount = sides[0] if len(set(sides)) == 1 else tuple(sides)
        return f"{_torch_layer(node)}padding={amount})"
    fill = ", value=float('-inf')" if kind.startswith("max") else ""
    return f"F.pad(x, {tuple(flat)}{fill}) and {_torch_layer(node)}padding=0)"


def _pads(settings: Any, shape: tuple[int, ...], value: Any) -> tuple[tuple[int, int], ...]:
    other = settings.model_copy(update={"padding": value})
    if hasattr(other, "windows"):
        return tuple(other.windows(shape).pads)
    return tuple(other.pads(shape))


def _keras_padding(node: Node | None, value: Any) -> str:
    """``same`` or ``valid``, or a layer of its own before it."""
    kind = _kind(node)
    assert node is not None
    if value in ("same", "valid", "causal"):
        return f'{_keras_layer(node)}padding="{value}")'
    if kind.startswith("conv_transpose"):
        return ""
    pads = _pads(node.settings, node.input_shapes[0], value)
    rank = len(pads)
    if kind.startswith("max"):
        whole = ((0, 0), *pads, (0, 0))
        return f'keras.ops.pad(x, {whole}, constant_values=-float("inf")) and {_keras_layer(node)}padding="valid")'
    amounts = pads[0] if rank == 1 else pads
    return f'keras.layers.ZeroPadding{rank}D({amounts}) and {_keras_layer(node)}padding="valid")'


def _torch_function(_node: Node | None, value: Any) -> str:
    """An activation in PyTorch."""
    names = {
        "relu": "nn.ReLU()",
        "relu6": "nn.ReLU6()",
        "tanh": "nn.Tanh()",
        "sigmoid": "nn.Sigmoid()",
        "silu": "nn.SiLU()",
        "gelu": "nn.GELU()",
        "elu": "nn.ELU()",
        "selu": "nn.SELU()",
        "mish": "nn.Mish()",
        "softplus": "nn.Softplus()",
        "softsign": "nn.Softsign()",
        "hard_sigmoid": "nn.Hardsigmoid()",
        "hard_swish": "nn.Hardswish()",
        "leaky_relu": "nn.LeakyReLU()",
        "linear": "no activation",
        "softmax": "nn.Softmax(dim=-1)",
    }
    return names.get(_function(value), "")


def _keras_function(_node: Node | None, value: Any) -> str:
    """An activation in Keras."""
    kind = _function(value)
    own = {"linear": "no activation", "hard_swish": "hard_silu"}
    if kind == "linear":
        return own[kind]
    known = (
        "relu relu6 tanh sigmoid silu gelu elu selu celu mish softplus softsign hard_sigmoid leaky_relu softmax "
        "log_softmax hard_swish squareplus"
    )
    return f'keras.layers.Activation("{own.get(kind, kind)}")' if kind in known.split() else ""


def _function(value: Any) -> str:
    return str(getattr(value, "kind", value)).split("(")[0]


OPTIMIZERS: Mapping[str, tuple[str, str]] = {
    "sgd": ("SGD", "SGD"),
    "adam": ("Adam", "Adam"),
    "adamw": ("AdamW", "AdamW"),
    "nadam": ("NAdam", "Nadam"),
    "adamax": ("Adamax", "Adamax"),
    "rmsprop": ("RMSprop", "RMSprop"),
    "adagrad": ("Adagrad", "Adagrad"),
    "adadelta": ("Adadelta", "Adadelta"),
    "adafactor": ("Adafactor", "Adafactor"),
    "muon": ("Muon", "Muon"),
}
"""Class in ``torch.optim`` and in ``keras.optimizers``, by kind."""


def _torch_optimizer(argument: str) -> Text:
    return lambda _node, value: f"torch.optim.{KIND}(..., {argument}={_value(value)})"


def _keras_optimizer(argument: str) -> Text:
    return lambda _node, value: f"keras.optimizers.{KIND}({argument}={_value(value)})"


def of_optimizer(text: str, framework: str, kind: str) -> str:
    """A text with the class of an optimizer; words where the framework has none of that kind."""
    names = OPTIMIZERS.get(kind)
    return text.replace(KIND, names[framework != "torch"] if names is not None else "<your optimizer>")


TEXTS: Mapping[str, Mapping[str, Text]] = {
    "torch": {
        "norm.epsilon": _torch("eps"),
        "norm.momentum": lambda node, value: f"{_torch_layer(node)}momentum={_value(_complement(value))})",
        "norm.unbiased_variance": _when(
            {"biased": "a BatchNorm that takes in the variance times (n - 1) / n: PyTorch has no argument for it"}
        ),
        "norm.frozen_mode": _when(
            {True: "call .eval() of this layer after model.train()", False: "call .train() of this layer"}
        ),
        "mode.train_eval": _when({"training": "call model.train()", "inference": "call model.eval()"}),
        "dropout.rate": lambda _node, value: f"nn.Dropout(p={_value(value)})",
        "dropout.active_in_eval": _when({"off": "call model.eval(), or pass training=self.training to F.dropout"}),
        "padding.same_stride": _torch_padding,
        "padding.mode": _torch("padding_mode"),
        "pool.count_padding": _torch("count_include_pad"),
        "pool.ceil_mode": _torch("ceil_mode"),
        "activation.gelu_approximation": lambda _node, value: f"nn.GELU(approximate={_value(value)})",
        "activation.slope": lambda _node, value: f"nn.LeakyReLU(negative_slope={_value(float(value))})",
        "activation.alpha": lambda _node, value: f"alpha={_value(float(value))}",
        "activation.kind": _torch_function,
        "graph.residual_order": lambda _node, value: f"apply {value}, in this order",
        "softmax.axis": lambda _node, value: f"softmax over axis {_value(int(value))} of an example (channels last)",
        "softmax.double": _when({"once": "remove the softmax: nn.CrossEntropyLoss takes logits"}),
        "layout.rnn_bias": _says(
            "bias_ih and bias_hh always are two: put the sum into one, zeros into the other, and keep those frozen"
        ),
        "embedding.padding_index": lambda _node, value: f"nn.Embedding(..., padding_idx={_value(value)})",
        "resize.alignment": _says("F.interpolate with the same align_corners, mode 'nearest-exact' and size="),
        "rnn.layout": _says(
            "nn.LSTM or nn.GRU(..., batch_first=True); return the state or all steps as the other does"
        ),
        "layout.flatten_order": _says("x.permute(0, 2, 3, 1).flatten(1), or permute the next kernel's columns"),
        "loss.label_smoothing": lambda _node, value: f"nn.CrossEntropyLoss(label_smoothing={_value(float(value))})",
        "loss.ignore_index:ignore_index": lambda _node, value: (
            f"nn.CrossEntropyLoss(ignore_index={_value(-100 if value == 'none' else value)})"
        ),
        "loss.from_logits": _says("nn.CrossEntropyLoss and nn.BCEWithLogitsLoss take logits: no softmax or sigmoid"),
        "loss.reduction": _says("reduction='mean'; nn.KLDivLoss: reduction='batchmean'"),
        "optimizer.lr": _torch_optimizer("lr"),
        "optimizer.epsilon:epsilon": _torch_optimizer("eps"),
        "optimizer.betas:beta1": lambda _node, value: f"torch.optim.{KIND}(..., betas=({_value(value)}, ...))",
        "optimizer.betas:beta2": lambda _node, value: f"torch.optim.{KIND}(..., betas=(..., {_value(value)}))",
        "optimizer.betas:rho": _torch_optimizer("alpha"),
        "optimizer.momentum:momentum": _torch_optimizer("momentum"),
        "optimizer.nesterov": _torch_optimizer("nesterov"),
        "optimizer.weight_decay:weight_decay": _torch_optimizer("weight_decay"),
        "optimizer.decay_coupling": _when({"decoupled": "torch.optim.AdamW(...)", "coupled": "torch.optim.Adam(...)"}),
        "optimizer.decay_scope": _says("parameter groups with weight_decay=0.0 for those that shall not decay"),
        "optimizer.initial_accumulator": lambda _node, value: (
            f"torch.optim.Adagrad(..., initial_accumulator_value={_value(value)})"
        ),
        "clipping.value:max_norm": lambda _node, value: (
            f"torch.nn.utils.clip_grad_norm_(model.parameters(), {_value(value)})"
        ),
        "clipping.value:max_value": lambda _node, value: (
            f"torch.nn.utils.clip_grad_value_(model.parameters(), {_value(value)})"
        ),
        "schedule.offset": _says("call scheduler.step() after every optimizer.step(), not before it, not per epoch"),
        "gradients.accumulated": _says("divide the loss by the number of pieces before backward()"),
        "parameters.frozen": _when({"trained": "requires_grad_(True), and give it to the optimizer"}),
        "regulariser.factor": _says("weight_decay of PyTorch is twice the factor of keras.regularizers.L2"),
        "weights.buffers_not_copied": _says("copy running_mean and running_var, too: they are in state_dict()"),
        "data.last_batch": _when({True: "DataLoader(..., drop_last=True)", False: "DataLoader(..., drop_last=False)"}),
    },
    "tensorflow": {
        "norm.epsilon": _keras("epsilon"),
        "norm.momentum": _keras("momentum"),
        "norm.unbiased_variance": _when(
            {"unbiased": "a BatchNormalization that takes in the variance times n / (n - 1): Keras has no argument"}
        ),
        "norm.frozen_mode": _when(
            {True: "layer.trainable = False", False: "layer.trainable = True, and no training=False in its call"}
        ),
        "mode.train_eval": _when({"training": "call with training=True", "inference": "call with training=False"}),
        "dropout.rate": lambda _node, value: f"keras.layers.Dropout({_value(value)})",
        "dropout.active_in_eval": _when({"off": "call with training=False, or leave training= out"}),
        "padding.same_stride": _keras_padding,
        "activation.gelu_approximation": lambda _node, value: (
            f"keras.activations.gelu(x, approximate={value == 'tanh'})"
        ),
        "activation.slope": lambda _node, value: f"keras.layers.LeakyReLU(negative_slope={_value(float(value))})",
        "activation.alpha": lambda _node, value: f"alpha={_value(float(value))}",
        "activation.kind": _keras_function,
        "graph.residual_order": lambda _node, value: f"apply {value}, in this order",
        "softmax.axis": lambda _node, value: f"softmax over axis {_value(int(value))} of an example (channels last)",
        "softmax.double": _when({"once": "remove the softmax, or from_logits=False in the loss"}),
        "rnn.reset_after": _keras("reset_after"),
        "layout.rnn_bias": _says(
            "LSTM and SimpleRNN have one bias: bias_ih + bias_hh; GRU(reset_after=True) has both, as two rows"
        ),
        "resize.alignment": _says("keras.ops.image.resize has half-pixel centres only; corners need gathers"),
        "layout.flatten_order": _says("keras.ops.transpose(x, (0, 3, 1, 2)) before Flatten, or permute kernel rows"),
        "loss.label_smoothing": lambda _node, value: (
            f"keras.losses.CategoricalCrossentropy(..., label_smoothing={_value(float(value))})"
        ),
        "loss.ignore_index:ignore_index": lambda _node, value: (
            f"SparseCategoricalCrossentropy(..., ignore_class={_value(None if value == 'none' else value)})"
        ),
        "loss.from_logits": _when(
            {
                "logits": "from_logits=True in the keras.losses loss",
                "probabilities": "from_logits=False in the keras.losses loss",
                "normalised": "from_logits=False in the keras.losses loss",
            }
        ),
        "loss.reduction": _says("reduction='sum_over_batch_size'"),
        "optimizer.lr": _keras_optimizer("learning_rate"),
        "optimizer.epsilon:epsilon": _keras_optimizer("epsilon"),
        "optimizer.betas:beta1": _keras_optimizer("beta_1"),
        "optimizer.betas:beta2": _keras_optimizer("beta_2"),
        "optimizer.betas:rho": _keras_optimizer("rho"),
        "optimizer.momentum:momentum": _keras_optimizer("momentum"),
        "optimizer.nesterov": _keras_optimizer("nesterov"),
        "optimizer.weight_decay:weight_decay": _keras_optimizer("weight_decay"),
        "optimizer.decay_coupling": _when(
            {
                "coupled": "kernel_regularizer=keras.regularizers.L2(weight_decay / 2) instead of weight_decay=",
                "decoupled": "weight_decay= of the optimizer instead of a regularizer",
            }
        ),
        "optimizer.decay_scope": _says("optimizer.exclude_from_weight_decay(var_names=['bias', 'gamma', 'beta'])"),
        "optimizer.initial_accumulator": lambda _node, value: (
            f"keras.optimizers.Adagrad(..., initial_accumulator_value={_value(value)})"
        ),
        "optimizer.hyperparameter_precision": _when(
            {"float64": "keras.config.set_floatx('float64'), and np.float64 values for betas and momentum"}
        ),
        "clipping.value:max_norm": _keras_optimizer("global_clipnorm"),
        "clipping.value:max_value": _keras_optimizer("clipvalue"),
        "schedule.offset": _says("the schedule counts updates from 0: the first update has the rate of step 0"),
        "gradients.accumulated": _says("gradient_accumulation_steps= takes the mean over the pieces"),
        "parameters.frozen": _when({"trained": "layer.trainable = True"}),
        "regulariser.factor": _says("keras.regularizers.L2(weight_decay / 2) for PyTorch's weight_decay"),
        "weights.buffers_not_copied": _says("set moving_mean and moving_variance, too: they are in get_weights()"),
        "data.last_batch": _when(
            {True: "dataset.batch(..., drop_remainder=True)", False: "dataset.batch(..., drop_remainder=False)"}
        ),
    },
}
"""Texts; a cause that is missing has no argument in that framework."""
