"""Random models from the whole catalogue: what the spec takes works in both backends, the rest it refuses itself.

``make fuzz`` draws 5,000 of each sort, other ones each time; here they are few and always the same.
"""

import importlib.util
import math
import os

import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, settings, strategies as st
from random_checks import check_model, numbers_for, same_graph, within_range
from random_models import drawn_loss, random_models, to_text
from random_mutations import mutated_models
from random_settings import KINDS, choices, drawn_settings
from random_sketch import Sketch, ranks_of, shapes

from dualml.config.loader import parse
from dualml.errors import ConfigError
from dualml.spec.losses import LOSSES
from dualml.weights import initial_weights

for package in ("torch", "tensorflow"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)

WANTED = int(os.environ.get("DUALML_FUZZ_EXAMPLES", "0"))
"""How many examples of each test are asked for; 0: the few of every run."""
LONG = WANTED > 0
EXAMPLES = math.ceil(WANTED / len(KINDS)) if LONG else 8
"""Of each kind."""
MOST_WEIGHT = 20_000
"""Numbers in one value or weight of a model that a mistake has made large, up to which it is built all the same."""

# The same examples in every run, so that a change and not chance makes a test fail; others in every long run. Examples
# are not shrunk to the smallest one that fails where there are few: what fails is printed as it was drawn.
drawing = settings(
    max_examples=EXAMPLES,
    derandomize=not LONG,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink) if LONG else (Phase.generate,),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def test_there_are_enough_examples():
    assert EXAMPLES * len(KINDS) >= max(500, WANTED)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_random_models_agree(kind):
    built = []

    @drawing
    @given(random_models(kind))
    def check(model):
        spec = parse(to_text(model.config))
        for again in (parse(to_text(spec.to_dict())), parse(to_text(spec.resolved.to_dict()))):
            same_graph(again.graph, spec.graph)
        assert parse(to_text(spec.resolved.to_dict())) == spec.resolved
        initial_weights(spec.graph, spec.seed)
        numbers = numbers_for(spec, model.seed, model.examples, weighted=model.weighted)
        assume(within_range(spec, numbers))
        check_model(spec, numbers)
        built.append(model.built)

    check()
    assert sum(built) >= EXAMPLES / 2, f"only {sum(built)} of {EXAMPLES} models hold a layer {kind}"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_mistakes_are_refused_or_harmless(kind):
    @drawing
    @given(mutated_models(kind))
    def check(model):
        spec = taken(model)
        if spec is None:
            return
        graph = spec.graph
        if max(math.prod(item.shape) for item in (*graph.nodes, *graph.inputs, *graph.weights)) > MOST_WEIGHT:
            event("large")
            return
        spec = spec.replace(precision="float64")
        numbers = numbers_for(spec, model.seed, model.examples, weighted=model.weighted)
        assume(within_range(spec, numbers))
        check_model(spec, numbers)

    check()


def taken(model):
    """The spec, or ``None`` if it was refused as it should be."""
    try:
        spec = parse(to_text(model.config))
    except ConfigError as error:
        event("refused")
        assert_tells(error.problems)
        return None
    event("valid")
    return spec


def assert_tells(problems):
    """Problems say where, and what, in words of this project."""
    assert problems
    for problem in problems:
        assert problem.path, problem
        assert len(problem.message) > 10, problem
        for foreign in ("Input should be", "validation error", "pydantic", "tensorflow", "torch.", "Error"):
            assert foreign not in problem.message, problem


CHOOSING = {kind.kind: kind for kind in (*KINDS.values(), *LOSSES) if choices(kind)}
DRAWS = settings(parent=drawing, max_examples=300, derandomize=True)


@pytest.mark.parametrize("kind", sorted(CHOOSING))
def test_every_choice_is_drawn(kind):
    missing = set(choices(CHOOSING[kind]))

    @DRAWS
    @given(st.data())
    def draw(data):
        shape = data.draw(shapes(ranks_of(kind) if kind in KINDS else {1, 2}))
        for name, value in drawn_settings(data.draw, CHOOSING[kind], shape).items():
            if isinstance(value, str | bool):
                missing.discard((name, value))

    draw()
    assert missing <= {("padding", "causal")}  # only for layers with weights and one spatial axis
    assert not missing or kind not in ("conv1d", "depthwise_conv1d", "separable_conv1d")


def test_every_loss_is_drawn():
    missing = {loss.kind for loss in LOSSES}

    @DRAWS
    @given(st.data())
    def draw(data):
        sketch = Sketch(data.draw, "torch")
        name = sketch.must("dense", {"units": 2}, [sketch.input((3,))])
        _, loss = drawn_loss(data.draw, sketch, name)
        missing.discard(loss if isinstance(loss, str) else next(iter(loss)))

    draw()
    assert not missing


HEAD = "{precision: float64, optimizer: {sgd: {lr: 0.1}}, "
ONCE_WRONG = {
    # tf.nn.weighted_cross_entropy_with_logits: no gradient of log(1 + exp(-|z|)) at z = 0.
    "weighted-logits-of-0": HEAD
    + "loss: {binary_cross_entropy: {pos_weight: 2.5}}, model: {input: [1, 3], layers: [{dense: 3}, {pad: 1}]}}",
    # torch.nn.AvgPool3d: compares its window with the input without padding.
    "average-pool3d-of-little": HEAD
    + "loss: mse, model: {input: [2, 1, 3, 4], layers: [{average_pool3d: {size: 2, padding: 1}}, {dense: 2}]}}",
    # torch.nn.MaxPool*: pads by half a window at most, which it counts without dilation.
    "max-pool2d-dilated": HEAD
    + "loss: mse, model: {input: [5, 1, 4], layers: [{max_pool2d: {size: 3, dilation: 2, padding: symmetric}}, "
    "{dense: 2}]}}",
    "max-pool1d-dilated": HEAD
    + "loss: mse, model: {input: [5, 4], layers: [{dense: 3}, {max_pool1d: {size: 3, dilation: 2, padding: symmetric}}"
    "]}}",
    # keras.activations.linear: the very tensor it is given, so that its gradient was that of all readers of both.
    "linear-beside-its-input": HEAD
    + "loss: mse, model: {input: [3], layers: [{activation: linear, name: same}, {multiply: {}, inputs: [same, input]},"
    " {dense: 2}]}}",
    # No metric was defined for classes without probabilities, so that these losses could not be loaded.
    "multi-margin": HEAD + "loss: multi_margin, model: {input: [3], layers: [{dense: 3}]}}",
    # Written as {group: {group: ...}}.
    "group-written-and-read": HEAD
    + "loss: mse, model: {input: [3], layers: [{group: {layers: [{dense: 3}]}}, {residual: {layers: [{dense: 3}]}}]}}",
}
"""Models that once did not work, by what was wrong."""


@pytest.mark.parametrize("text", ONCE_WRONG.values(), ids=ONCE_WRONG)
def test_what_was_once_wrong(text):
    spec = parse(text)
    assert parse(to_text(spec.resolved.to_dict())) == spec.resolved
    check_model(spec, numbers_for(spec, seed=3, examples=3, weighted=True))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ("losses: {a: mae}, model: {input: [6], layers: [{dense: 3, name: b}], outputs: [b, a]}", "model.outputs[1]"),
        ("losses: {a: mae}, model: {input: [6], layers: [{dense: 3, name: b}]}", "losses.a"),
        ("loss: mae, model: {input: [6], layers: [{dense: 3, name: b}, {dense: 2}], outputs: [b]}", "model.layers[1]"),
        ("loss: mae, model: {input: [6], layers: [{dense: 3, name: 1st}]}", "model.layers[0].name"),
        ("loss: mae, model: {input: [6], blocks: {p: {parameters: {}}}, layers: [{block: p}]}", "model.blocks.p"),
    ],
)
def test_mistakes_that_once_crashed_or_passed(change, path):
    with pytest.raises(ConfigError) as caught:
        parse(HEAD + change + "}")
    assert caught.value.problems[0].path.startswith(path)
