"""What docs/config.md says beside the docstrings."""

from __future__ import annotations

INTRODUCTION = """\
A file needs `model`, a loss and `optimizer`; to train, also `data`. Where a default has two values, `conventions`
chooses; where it has none, the setting may be left out. `dualml describe CONFIG` prints a config with every default
written out, `dualml schema` a JSON Schema for your editor. [`support.md`](support.md) says how each part is proven.

Where the value is *a kind* of something (a loss, an activation, a layer ...), it is one key with its settings under it,
`{adam: {lr: 0.001}}`, or the bare name where nothing is set, `adam`. Where the table says so, a single value stands for
the setting marked `*`: `dropout: 0.2`, `dense: 10`.
"""

EXAMPLE = """\
A file with a bit of everything:

```yaml
conventions: keras
precision: float32
model:
  input: [28, 28, 1]
  layers:
    - conv2d: {filters: 16, kernel_size: 3, padding: same, bias: false}
    - batch_norm
    - activation: relu
    - max_pool2d: 2
    - flatten
    - dense: {units: 64, activation: relu, name: trunk}
    - dropout: 0.2
    - dense: {units: 64, activation: {leaky_relu: {negative_slope: 0.1}}, name: branch}
    - add: {inputs: [trunk, branch]}
    - dense: 10
data: {source: npz, path: images.npz, normalize: unit, validation: 0.2}
loss: {cross_entropy: {label_smoothing: 0.1}}
regularizers: [{l2: {factor: 0.0001}}]
optimizer: {adamw: {lr: 0.002, weight_decay: 0.01, decay_scope: no_bias_no_norm}}
schedule: {cosine: {warmup: {length: 100}, final: 0.1}}
train:
  epochs: 20
  batch_size: 32
  accumulate: 2
  clip: {global_norm: {max_norm: 1.0}}
  early_stopping: {patience: 4, metric: val_accuracy}
metrics: [accuracy, {top_k: {k: 3}}]
```
"""

MODEL = """\
Shapes are those of one example, channels last. A model with one input has `input`, which layers call `input`; one with
several has `inputs` by name. `outputs` names the layers that have a loss; left out, it is the last layer.

```yaml
model:
  inputs:
    numbers: [30]
    words: {shape: [12], dtype: integer}
  layers:
    - {embedding: {vocabulary: 100, units: 4, inputs: words}, name: embedded}
    - {flatten: , name: flat}
    - concat: {inputs: [numbers, flat]}
    - {dense: {units: 16, activation: relu}, name: trunk}
    - {dense: {units: 3}, name: kind}
    - {dense: {units: 30, inputs: trunk}, name: copy}
  outputs: [kind, copy]
losses:
  kind: cross_entropy
  copy: {loss: mse, weight: 0.5}
```

A block is a list of layers with parameters, written once; `$width` stands for a parameter anywhere in it:

```yaml
model:
  input: [32]
  blocks:
    unit:
      parameters: {width: null, rate: 0.1}
      layers:
        - layer_norm
        - dense: {units: $width, activation: gelu}
        - dropout: $rate
  layers:
    - block: {use: unit, arguments: {width: 64}}
    - residual: {layers: [{block: {use: unit, arguments: {width: 64}}}]}
    - repeat: {times: 2, layers: [{block: {use: unit, arguments: {width: 64, rate: 0.2}}}]}
    - dense: 10
```
"""

LAYERS = """\
Entries of `model.layers`: one key with its settings. The two settings that every layer has may stand under its key or
beside it. Inside a layer that holds layers (`residual`, `repeat`, `group`, a block), `input` is what feeds it, and
names are seen inside only.
"""

FAMILIES = {
    "Structure": "Layers made of other layers. Backends never see them: the graph holds what they stand for.\n",
    "Attention and transformer blocks": (
        "The blocks are made of the layers of this page; the graph, and the native model, show the parts.\n"
    ),
    "Embeddings, positions and masks": (
        "Inputs of whole numbers (`dtype: integer`) are read by an embedding or a mask, and by nothing else.\n"
    ),
}

ACTIVATIONS = """\
For `activation:` of a layer, or a layer of its own: `- activation: relu`.
"""

INITIALIZERS = """\
For settings that end in `_initializer`. `fan_in` is the number of inputs that feed one output, `fan_out` the number of
outputs that one input feeds. Numbers come from one generator, so both backends start from the same bits.
"""

DATA = """\
`source` selects one of these; `{python: "module:function"}` is short for the source `python`. Files are looked for from
the config's folder on.
"""

LOSS = """\
`loss` for a model with one output; `losses` for one with several, a loss or a loss with its weight for each of
`model.outputs`:

```yaml
model:
  input: [8]
  layers:
    - {dense: {units: 16, activation: relu}, name: trunk}
    - {dense: {units: 3}, name: kind}
    - {dense: {units: 8, inputs: trunk}, name: copy}
  outputs: [kind, copy]
losses:
  kind: {loss: {cross_entropy: {label_smoothing: 0.1}}, weight: 2.0}
  copy: mse
```

What is minimised is the sum of `weight` times the mean over the examples of an update (or what the loss says it is
divided by), and the penalties of `regularizers`.
"""

REGULARIZERS = """\
Penalties on parameters, added to the loss in training; losses on held-back data are without them.

```yaml
regularizers: [{l2: {factor: 0.0001}}, {l1: {factor: 0.001, scope: dense_1.kernel}}]
```
"""

OPTIMIZER = """\
Parameters may have a learning rate or a decay of their own, and the weights a moving average beside the training:

```yaml
optimizer:
  adamw:
    lr: 0.001
    weight_decay: 0.01
    decay_scope: no_bias_no_norm
    groups: [{match: "*.bias", lr_factor: 2.0}]
    ema: {decay: 0.999}
```
"""

SCHEDULE = """\
The learning rate of every update, computed once, in the core: `lr` of the optimizer times what the schedule says.
"""

METRICS = """\
Entries of `metrics`: `[accuracy, {top_k: 5}]`. In `metrics.jsonl` and where a setting watches one, a metric is called
`val_` and its name: `val_accuracy`, `val_top_5`, `val_f1_macro`. Metrics are computed in the core from predictions, for
the first output.
"""
