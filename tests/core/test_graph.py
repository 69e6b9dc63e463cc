"""Graphs: several inputs and outputs, shared layers, groups, residuals, repetitions and blocks."""

import pytest

from dualml.config import parse
from dualml.errors import ConfigError
from dualml.spec.graph import parameter_count

HEAD = "loss: cross_entropy\noptimizer: adam\n"


def graph_of(model: str, head: str = HEAD):
    spec = parse(f"{head}model:\n{model}")
    return spec.graph


def problems(model: str, head: str = HEAD) -> str:
    with pytest.raises(ConfigError) as error:
        parse(f"{head}model:\n{model}")
    return str(error.value)


def test_names_inside_composites_follow_their_own():
    graph = graph_of("""
  input: 4
  layers:
    - repeat: {times: 2, layers: [{residual: [{dense: {units: 4, activation: tanh}}, dense: 4]}]}
    - dense: 2
""")
    assert [node.name for node in graph.nodes] == [
        "repeat_1_time_1_residual_1_main_dense_1",
        "repeat_1_time_1_residual_1_main_dense_1_tanh",
        "repeat_1_time_1_residual_1_main_dense_2",
        "repeat_1_time_1_residual_1_add",
        "repeat_1_time_2_residual_1_main_dense_1",
        "repeat_1_time_2_residual_1_main_dense_1_tanh",
        "repeat_1_time_2_residual_1_main_dense_2",
        "repeat_1_time_2_residual_1_add",
        "dense_1",
    ]
    assert graph.by_name["repeat_1_time_2_residual_1_add"].inputs == (
        "repeat_1_time_2_residual_1_main_dense_2",
        "repeat_1_time_1_residual_1_add",
    )


def test_a_shared_layer_has_the_parameters_of_the_first():
    graph = graph_of("""
  inputs: {a: 3, b: 3}
  layers:
    - dense: {units: 2, activation: tanh}
      name: encoder
      inputs: a
    - shared: {layer: encoder, inputs: b}
    - add: {inputs: [encoder, shared_1]}
""")
    assert [item.name for item in graph.parameters] == ["encoder.kernel", "encoder.bias"]
    assert graph.by_name["shared_1"].owner == "encoder"
    assert graph.by_name["shared_1_tanh"].inputs == ("shared_1",)
    assert graph.by_name["add_1"].inputs == ("encoder_tanh", "shared_1_tanh")


def test_a_shared_group_shares_each_of_its_layers():
    graph = graph_of("""
  inputs: {a: 3, b: 3}
  layers:
    - group: {layers: [dense: 4, {group: [dense: 2]}], name: tower, inputs: a}
    - shared: {layer: tower, name: twin, inputs: b}
    - add: {inputs: [tower, twin]}
""")
    assert graph.by_name["twin_group_1_dense_1"].owner == "tower_group_1_dense_1"
    assert parameter_count(graph) == 3 * 4 + 4 + 4 * 2 + 2


def test_blocks_are_replaced_by_what_they_stand_for():
    graph = graph_of("""
  input: 4
  blocks:
    wide:
      parameters: {width: null, kind: relu}
      layers:
        - dense: {units: $width, activation: $kind, name: "first_${width}"}
        - dense: {units: 3}
    twice:
      layers: [block: {use: wide, arguments: {width: 5}}, block: {use: wide, arguments: {width: 6, kind: tanh}}]
  layers:
    - block: twice
    - dense: 2
""")
    assert [node.name for node in graph.nodes] == [
        "group_1_group_1_first_5",
        "group_1_group_1_first_5_relu",
        "group_1_group_1_dense_1",
        "group_1_group_2_first_6",
        "group_1_group_2_first_6_tanh",
        "group_1_group_2_dense_1",
        "dense_1",
    ]


def test_several_outputs_have_a_loss_each():
    spec = parse("""
optimizer: adam
losses: {copy: {loss: mse, weight: 0.5}, label: cross_entropy}
model:
  input: 4
  outputs: [label, copy]
  layers:
    - dense: {units: 3, activation: tanh, name: trunk}
    - dense: {units: 2, name: label}
    - dense: {units: 4, activation: sigmoid, name: copy, inputs: trunk}
""")
    assert spec.graph.outputs == ("label", "copy_sigmoid")
    assert spec.graph.output_names == ("label", "copy")
    assert [(term.output, term.loss.kind, term.weight) for term in spec.objective.terms] == [
        ("label", "cross_entropy", 1.0),
        ("copy_sigmoid", "mse", 0.5),
    ]


CHAIN = "  input: 4\n  layers:\n"
BAD = {
    "an input that nothing uses": (
        "  inputs: {a: 3, b: 3}\n  layers: [{dense: {units: 2, inputs: a}}]\n",
        "model.inputs.b: nothing uses the input 'b'",
    ),
    "which of several inputs": (
        "  inputs: {a: 3, b: 3}\n  layers: [dense: 2, {add: {inputs: [a, b]}}]\n",
        "the model has several inputs: say which feeds this layer (a, b)",
    ),
    "neither input nor inputs": ("  layers: [dense: 2]\n", "model.input: is required"),
    "both": ("  input: 3\n  inputs: {a: 3}\n  layers: [dense: 2]\n", "is given together with inputs; keep one"),
    "an unknown output": (CHAIN + "    - {dense: 2, name: head}\n  outputs: [heda]\n", "did you mean 'head'?"),
    "an output twice": (CHAIN + "    - {dense: 2, name: head}\n  outputs: [head, head]\n", "is listed twice"),
    "outputs without losses": (
        CHAIN + "    - {dense: 2, name: a}\n    - {dense: 2, name: b}\n  outputs: [a, b]\n",
        "loss: the model has several outputs: give losses, one for each of a, b",
    ),
    "whole numbers into a dense layer": (
        "  input: {shape: [4], dtype: integer}\n  layers: [dense: 2]\n",
        "put an embedding between them",
    ),
    "sharing what is not there": (CHAIN + "    - dense: 4\n    - shared: dens_1\n", "did you mean 'dense_1'?"),
    "sharing a shared layer": (
        CHAIN + "    - dense: 4\n    - {shared: dense_1, name: again}\n    - shared: again\n",
        "name the layer it shares",
    ),
    "sharing with another shape": (
        CHAIN + "    - dense: 4\n    - dense: 3\n    - shared: dense_1\n",
        "whose input has shape [4]; got an input of shape [3]",
    ),
    "a residual that does not fit": (
        CHAIN + "    - residual: [dense: 3]\n    - dense: 2\n",
        "layer 'residual_1_add': all inputs must have one shape, got [3], [4]",
    ),
    "an error inside a group": (
        CHAIN + "    - group: [dense: 4, {reshape: [3, 3]}]\n    - dense: 2\n",
        "model.layers[0].group.layers[1].reshape: layer 'group_1_reshape_1'",
    ),
    "a layer inside that nothing uses": (
        CHAIN + "    - group: [{dense: 4, name: lost}, {dense: {units: 3, inputs: input}}]\n    - dense: 2\n",
        "nothing uses layer 'lost'",
    ),
    "a block that is not defined": (CHAIN + "    - block: nothing\n", "no block is defined under model.blocks"),
    "an argument too many": (
        CHAIN
        + "    - block: {use: b, arguments: {widht: 3}}\n"
        + "  blocks: {b: {parameters: {width: 2}, layers: [dense: $width]}}\n",
        "did you mean 'width'?",
    ),
    "an argument missing": (
        CHAIN + "    - block: b\n  blocks: {b: {parameters: {width: null}, layers: [dense: $width]}}\n",
        "needs a value for width",
    ),
    "a parameter that is not declared": (
        CHAIN + "    - block: b\n  blocks: {b: {layers: [dense: $width]}}\n",
        "uses $width, which is not among its parameters",
    ),
    "blocks in a circle": (
        CHAIN + "    - block: a\n  blocks: {a: {layers: [block: b]}, b: {layers: [block: a]}}\n",
        "a -> b -> a",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_said(name):
    model, message = BAD[name]
    assert message in problems(model)
