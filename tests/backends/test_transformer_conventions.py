"""Transformer blocks: equal to PyTorch's own, and trained side by side."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from dualml import randomness, registry
from dualml.errors import DualmlError, SpecError
from dualml.protocol import Batch
from dualml.spec.config import Spec

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("tensorflow") is None, reason="both frameworks are needed"
)

BACKENDS = ("torch", "tensorflow")
EXAMPLES, LENGTH, KEYS, UNITS, HEADS, HIDDEN = 3, 5, 4, 8, 2, 10
IDS = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1]])
CLOSE = {"rtol": 1e-12, "atol": 1e-14}


def make_spec(block: Any, inputs: Any, **settings: Any) -> Spec:
    kept = {"padding_mask": 0, "name": "kept", "inputs": "ids"}
    model = {"inputs": inputs, "layers": [*([kept] if "ids" in inputs else []), {**block, "name": "block"}]}
    given = {"loss": "mse", "optimizer": {"adam": {"lr": 0.01}}, "precision": "float64", **settings}
    return Spec(model=model, **given).resolved


def weights_of(spec: Spec) -> dict[str, Any]:
    shapes = {item.name: item.shape for item in spec.graph.parameters}
    return {name: randomness.normal(4, name, shape) / 2 for name, shape in shapes.items()}


def data_of(spec: Spec, seed: int = 0) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {
        item.name: IDS[:, : item.shape[0]] if item.integer else generator.standard_normal((EXAMPLES, *item.shape))
        for item in spec.graph.inputs
    }


def stock_state(weights: Any, attentions: Any, norms: Any) -> dict[str, Any]:
    """A ``state_dict`` of PyTorch's block: its names of attentions and norms, to those of this one."""
    import torch

    def get(name: str) -> Any:
        return torch.tensor(weights[f"block_{name}"])

    found = {}
    for theirs, mine in attentions.items():
        parts = ("query", "key", "value")
        found[f"{theirs}.in_proj_weight"] = torch.cat([get(f"{mine}.{part}_kernel").T for part in parts])
        found[f"{theirs}.in_proj_bias"] = torch.cat([get(f"{mine}.{part}_bias") for part in parts])
        found[f"{theirs}.out_proj.weight"] = get(f"{mine}.output_kernel").T
        found[f"{theirs}.out_proj.bias"] = get(f"{mine}.output_bias")
    for theirs, mine in norms.items():
        found[f"{theirs}.weight"], found[f"{theirs}.bias"] = get(f"{mine}.scale"), get(f"{mine}.offset")
    for theirs, mine in {"linear1": "feed_forward_up", "linear2": "feed_forward_down"}.items():
        found[f"{theirs}.weight"], found[f"{theirs}.bias"] = get(f"{mine}.kernel").T, get(f"{mine}.bias")
    return found


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize(("causal", "mask"), [(False, False), (True, False), (False, True), (True, True)])
def test_torch_conventions_are_the_stock_encoder_layer(norm: str, activation: str, causal: bool, mask: bool) -> None:
    import torch

    settings = {"heads": HEADS, "hidden": HIDDEN, "norm": norm, "activation": activation, "causal": causal}
    inputs: dict[str, Any] = {"x": [LENGTH, UNITS]}
    if mask:
        settings["mask"] = "kept"
        inputs["ids"] = {"shape": [LENGTH], "dtype": "integer"}
    block = {"transformer_encoder": {**settings, "rate": 0.0}, "inputs": "x"}
    spec = make_spec(block, inputs, conventions="torch")
    weights, data = weights_of(spec), data_of(spec)
    theirs = torch.nn.TransformerEncoderLayer(
        UNITS, HEADS, HIDDEN, dropout=0.0, activation=activation, batch_first=True, norm_first=norm == "pre"
    ).double()
    norms = {"norm1": "attention_norm", "norm2": "feed_forward_norm"}
    theirs.load_state_dict(stock_state(weights, {"self_attn": "attention"}, norms))
    x = torch.tensor(data["x"], requires_grad=True)
    output = theirs(
        x,
        src_mask=torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1) if causal else None,
        src_key_padding_mask=torch.tensor(data["ids"] == 0) if mask else None,
    )
    targets = np.random.default_rng(9).standard_normal(output.shape)
    ((output - torch.tensor(targets)) ** 2).flatten(1).mean(1).mean().backward()
    for backend in BACKENDS:
        found = registry.load(backend).build(spec.graph, weights)
        slopes = found.gradients(Batch(data, targets), spec.loss, taps=["x", spec.graph.output])
        np.testing.assert_allclose(slopes.values[spec.graph.output], output.detach().numpy(), **CLOSE)
        np.testing.assert_allclose(slopes.values_gradients["x"], x.grad.numpy(), **CLOSE)
        np.testing.assert_allclose(
            slopes.parameters["block_feed_forward_up.kernel"].T, theirs.linear1.weight.grad.numpy(), **CLOSE
        )


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_torch_conventions_are_the_stock_decoder_layer(norm: str) -> None:
    import torch

    inputs = {"x": [LENGTH, UNITS], "memory": [KEYS, UNITS], "ids": {"shape": [KEYS], "dtype": "integer"}}
    settings = {"heads": HEADS, "hidden": HIDDEN, "norm": norm, "memory_mask": "kept", "rate": 0.0}
    block = {"transformer_decoder": settings, "inputs": ["x", "memory"]}
    spec = make_spec(block, inputs, conventions="torch")
    weights, data = weights_of(spec), data_of(spec)
    theirs = torch.nn.TransformerDecoderLayer(
        UNITS, HEADS, HIDDEN, dropout=0.0, batch_first=True, norm_first=norm == "pre"
    ).double()
    attentions = {"self_attn": "attention", "multihead_attn": "cross_attention"}
    norms = {"norm1": "attention_norm", "norm2": "cross_attention_norm", "norm3": "feed_forward_norm"}
    theirs.load_state_dict(stock_state(weights, attentions, norms))
    memory = torch.tensor(data["memory"], requires_grad=True)
    output = theirs(
        torch.tensor(data["x"]),
        memory,
        tgt_mask=torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1),
        memory_key_padding_mask=torch.tensor(data["ids"] == 0),
    )
    targets = np.random.default_rng(9).standard_normal(output.shape)
    ((output - torch.tensor(targets)) ** 2).flatten(1).mean(1).mean().backward()
    for backend in BACKENDS:
        found = registry.load(backend).build(spec.graph, weights)
        slopes = found.gradients(Batch(data, targets), spec.loss, taps=["memory", spec.graph.output])
        np.testing.assert_allclose(slopes.values[spec.graph.output], output.detach().numpy(), **CLOSE)
        np.testing.assert_allclose(slopes.values_gradients["memory"], memory.grad.numpy(), **CLOSE)


def test_what_is_unsaid_is_each_frameworks() -> None:
    block = {"transformer_encoder": {"heads": HEADS, "hidden": HIDDEN}}
    for conventions, rate, epsilon in (("torch", 0.1, 1e-5), ("keras", 0.0, 1e-3)):
        graph = make_spec(block, {"x": [LENGTH, UNITS]}, conventions=conventions).graph
        assert {node.settings.rate for node in graph.dropouts} == ({rate} if rate else set())
        assert len(graph.dropouts) == (4 if rate else 0)  # weights, hidden values and both sublayers' outputs
        norms = [node.settings.epsilon for node in graph.nodes if node.operation == "layer_norm"]
        assert norms == [epsilon, epsilon]
        assert graph.nodes[-1].operation == "layer_norm"  # post-norm


def test_a_gated_feed_forward_layer_is_swiglu() -> None:
    block = {"feed_forward": {"hidden": 6, "activation": "silu", "gated": True}}
    spec = make_spec(block, {"x": [LENGTH, UNITS]})
    weights, data = weights_of(spec), data_of(spec)

    def dense(name: str, x: Any) -> Any:
        return x @ weights[f"block_{name}.kernel"] + weights[f"block_{name}.bias"]

    gate = dense("gate", data["x"])
    must = dense("down", gate / (1 + np.exp(-gate)) * dense("up", data["x"]))
    for backend in BACKENDS:
        found = registry.load(backend).build(spec.graph, weights).forward(data)[spec.graph.output]
        np.testing.assert_allclose(found, must, **CLOSE)


BLOCKS = {
    "encoder": {"transformer_encoder": {"heads": HEADS, "hidden": HIDDEN, "mask": "kept"}, "inputs": "x"},
    "llama": {
        "transformer_encoder": {
            "heads": HEADS,
            "hidden": HIDDEN,
            "norm": "pre",
            "norm_kind": "rms_norm",
            "activation": "silu",
            "gated": True,
            "bias": False,
            "kv_heads": 1,
            "rotary": {},
            "causal": True,
            "mask": "kept",
        },
        "inputs": "x",
    },
    "decoder": {
        "transformer_decoder": {"heads": HEADS, "hidden": HIDDEN, "activation": "gelu", "mask": "kept"},
        "inputs": ["x", "memory"],
    },
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_thirty_steps_agree(kind: str) -> None:
    inputs: dict[str, Any] = {"x": [LENGTH, UNITS], "ids": {"shape": [LENGTH], "dtype": "integer"}}
    if kind == "decoder":
        inputs["memory"] = [KEYS, 3]
    spec = make_spec(BLOCKS[kind], inputs, conventions="torch")
    output = spec.graph.by_name[spec.graph.output].shape
    ends = []
    for backend in BACKENDS:
        network = registry.load(backend).build(spec.graph, weights_of(spec))
        trainer = network.trainer(spec.loss, spec.optimizer, batch_size=EXAMPLES)
        for step in range(30):
            masks = {
                node.name: randomness.keep_mask(
                    0, node.name, (EXAMPLES, *node.random_mask), node.settings.rate, step=step
                )
                for node in spec.graph.dropouts
            }
            targets = np.random.default_rng(step + 100).standard_normal((EXAMPLES, *output))
            trainer.step(Batch(data_of(spec, step), targets), 0.01, masks=masks)
        ends.append(network.get_weights())
    # The gradient of a key's bias is 0 but for rounding, unless keys turn; see test_attention_conventions.py.
    judged = [name for name in ends[0] if not name.endswith("attention.key_bias")]
    assert len(judged) >= len(ends[0]) - 2
    for name in judged:
        assert np.abs(ends[0][name] - ends[1][name]).max() <= 1e-11 * max(1.0, np.abs(ends[0][name]).max()), name


def test_what_cannot_work_is_refused() -> None:
    block = {"transformer_encoder": {"heads": 3, "hidden": HIDDEN}}
    with pytest.raises((DualmlError, SpecError), match="8 units do not divide into 3 heads"):
        make_spec(block, {"x": [LENGTH, UNITS]}).graph  # noqa: B018
    block = {"transformer_decoder": {"heads": 2, "hidden": HIDDEN}, "inputs": "x"}
    with pytest.raises((DualmlError, SpecError), match="takes exactly 2 inputs, got 1"):
        make_spec(block, {"x": [LENGTH, UNITS]}).graph  # noqa: B018
    block = {"transformer_encoder": {"heads": 2, "hidden": HIDDEN, "mask": "missing"}}
    with pytest.raises((DualmlError, SpecError), match="no layer is named 'missing'"):
        make_spec(block, {"x": [LENGTH, UNITS]}).graph  # noqa: B018
