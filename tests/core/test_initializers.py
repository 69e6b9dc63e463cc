"""Initial weights: golden values, exact theory, and the definitions of both frameworks."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from dualml import (
    CrossEntropy,
    Dense,
    Dirac,
    FanInUniform,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    KaimingNormal,
    KaimingUniform,
    LecunNormal,
    LecunUniform,
    Model,
    Normal,
    Orthogonal,
    Sgd,
    Sparse,
    Spec,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    gaussian,
    randomness,
)
from dualml.conventions import PRESETS, fill
from dualml.spec.checks import spec_problems
from dualml.spec.initializers import INITIALIZERS
from dualml.spec.initializers.matrices import orthonormal_rows

DENSE, CONV = (300, 200), (3, 3, 40, 160)  # neutral kernels: (inputs, outputs), (height, width, inputs, outputs)


def fans(shape):
    window = math.prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window


def draw(initializer, shape=DENSE, *, conventions="torch", path="w", seed=0):
    return fill(initializer, PRESETS[conventions]).draw(seed, path, shape, *fans(shape))


# The normal distribution


def test_logarithm_is_within_two_units_in_the_last_place():
    values = 2.0 ** np.random.default_rng(0).uniform(-60, 60, 20_000)
    assert np.max(np.abs(gaussian.log(values) - np.log(values)) / np.spacing(np.abs(np.log(values)))) <= 2


def test_quantiles_are_those_of_the_normal_distribution():
    tails = 2.0 ** -np.arange(1, 54)
    inside = (np.arange(1, 4000) + 0.5) / 4096
    probabilities = np.concatenate([tails, 1 - tails, inside])
    wanted = stats.norm.ppf(probabilities)
    np.testing.assert_allclose(gaussian.quantile(probabilities), wanted, rtol=2e-15, atol=1e-300)


def test_normal_draws_are_quantiles_of_the_words():
    words = randomness.words(0, "weights/w", 12)
    wanted = stats.norm.ppf(((words >> np.uint64(12)).astype(float) + 0.5) * 2.0**-52)
    np.testing.assert_allclose(draw(Normal(mean=1.0, std=2.0), (3, 4)).ravel(), 1.0 + 2.0 * wanted, rtol=1e-14)


def test_normal_numbers_follow_the_normal_distribution():
    assert stats.kstest(randomness.normal(0, "n", (50_000,)), "norm").pvalue > 0.01


GOLDEN = {
    "zeros": "910a5cca5c59830b",
    "ones": "d6e48d6f77b2a23b",
    "constant": "482ceccf1fef5d85",
    "identity": "560f137afbf73f98",
    "dirac": "1518e10b3f108cc8",
    "uniform": {"torch": "432cd52d79342adb", "keras": "e0684d24ee8ebded"},
    "normal": {"torch": "66545efca1ddecc5", "keras": "c44baa2b77077731"},
    "truncated_normal": {"torch": "830c7417823e6775", "keras": "18b9d543dd457f22"},
    "fan_in_uniform": "3e77e9dfe2121c74",
    "glorot_uniform": "9d0cadd8456530a7",
    "glorot_normal": {"torch": "34cde3dc7081a898", "keras": "5bebdedd7e4b07b6"},
    "he_uniform": "f2dab2faeb22c095",
    "he_normal": {"torch": "b610a05cdbfd9252", "keras": "17d37c12d0b8f44c"},
    "lecun_uniform": "e2ae0b0e6af6dd2b",
    "lecun_normal": {"torch": "24b4b68d35ff6c1c", "keras": "44605bead4e79361"},
    "kaiming_uniform": "f2dab2faeb22c095",
    "kaiming_normal": "330ade7aac53ff79",
    "variance_scaling": "44605bead4e79361",
    "orthogonal": "2bf9d284a90c1a4d",
    "sparse": "708b276a692e52dd",
    "gate_uniform": "87d6902df99bd8d1",
    "unit_forget_bias": "c3f6b1f9c951597b",
}
"""BLAKE2b of the bytes (little-endian float64) of each initializer's draw: one bit off, another digest.

Recorded from this implementation, whose values the tests around it hold against theory and against NumPy's own QR. They
guard the promise that initial weights never change, on any machine: only exactly rounded operations are used.
"""
DIGEST_SHAPES = {"identity": (5, 7), "dirac": (3, 4, 6), "sparse": (9, 8), "unit_forget_bias": (1, 8)}
REQUIRED = {"constant": {"value": 0.1}, "sparse": {"sparsity": 0.3}, "gate_uniform": {"gates": 2}}


def digest(kind, conventions):
    shape = DIGEST_SHAPES.get(kind.kind, (3, 5, 4))
    values = draw(kind(**REQUIRED.get(kind.kind, {})), shape, conventions=conventions)
    return hashlib.blake2b(values.astype("<f8").tobytes(), digest_size=8).hexdigest()


@pytest.mark.parametrize("conventions", ["torch", "keras"])
@pytest.mark.parametrize("kind", INITIALIZERS, ids=lambda kind: kind.kind)
def test_draws_hold_bit_for_bit(kind, conventions):
    golden = GOLDEN[kind.kind]
    assert digest(kind, conventions) == (golden if isinstance(golden, str) else golden[conventions])


# Distributions

CUT = 1 - 4 * stats.norm.pdf(2) / (2 * stats.norm.cdf(2) - 1)  # variance of a standard normal cut at two deviations


def test_a_distribution_cut_at_two_deviations_shrinks_as_theory_says():
    values = draw(TruncatedNormal(mean=1.0), (200, 250), conventions="keras")
    assert np.abs(values - 1.0).max() <= 0.1
    check_spread(values - 1.0, 0.05 * math.sqrt(CUT))
    assert stats.kstest((values.ravel() - 1) / 0.05, stats.truncnorm(-2, 2).cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("mean", "std", "low", "high"),
    [(0, 1, -2, 2), (0, 0.02, -2, 2), (0, 1, 0.2, 0.5), (0, 1, 3, 40), (0, 1, -40, -3), (5, 1, -2, 2), (0, 0.01, 0, 9)],
)
def test_absolute_bounds_cut_where_scipys_truncnorm_does(mean, std, low, high):
    values = draw(TruncatedNormal(mean=mean, std=std, low=low, high=high, bounds="absolute"), (150, 100))
    assert low <= values.min()
    assert values.max() <= high
    wanted = stats.truncnorm((low - mean) / std, (high - mean) / std, loc=mean, scale=std)
    assert stats.kstest(values.ravel(), wanted.cdf).pvalue > 0.01


def test_absolute_bounds_hardly_cut_a_narrow_distribution():
    """The trap: torch.nn.init.trunc_normal_(std=0.02) is in effect not cut, Keras' TruncatedNormal(0.02) is."""
    torch_like, keras_like = (draw(TruncatedNormal(std=0.02), conventions=name) for name in ("torch", "keras"))
    assert np.abs(torch_like).max() > 0.06
    assert np.abs(keras_like).max() <= 0.04


def check_spread(values, deviation):
    """Mean 0 and a standard deviation within five standard errors."""
    count = values.size
    assert abs(values.mean()) < 5 * deviation / math.sqrt(count)
    assert abs(values.std() / deviation - 1) < 5 / math.sqrt(2 * count)


SCALED = [
    (GlorotUniform(gain=1.5), 1.5 * math.sqrt(2), "avg", "uniform"),
    (GlorotNormal(gain=1.5, truncated=False), 1.5 * math.sqrt(2), "avg", "normal"),
    (GlorotNormal(truncated=True), math.sqrt(2), "avg", "cut"),
    (HeUniform(), math.sqrt(2), "in", "uniform"),
    (HeNormal(truncated=False), math.sqrt(2), "in", "normal"),
    (HeNormal(truncated=True), math.sqrt(2), "in", "cut"),
    (LecunUniform(), 1.0, "in", "uniform"),
    (LecunNormal(truncated=False), 1.0, "in", "normal"),
    (LecunNormal(truncated=True), 1.0, "in", "cut"),
    (FanInUniform(), 1 / math.sqrt(3), "in", "uniform"),
    (KaimingNormal(mode="fan_out", nonlinearity="tanh"), 5 / 3, "out", "normal"),
    (KaimingUniform(a=0.2), math.sqrt(2 / 1.04), "in", "uniform"),
    (VarianceScaling(scale=3.0, mode="fan_out", distribution="uniform"), math.sqrt(3), "out", "uniform"),
    (VarianceScaling(scale=3.0, mode="fan_avg", distribution="untruncated_normal"), math.sqrt(6), "avg", "normal"),
    (VarianceScaling(scale=3.0), math.sqrt(3), "in", "cut"),
]


@pytest.mark.parametrize("shape", [DENSE, CONV])
@pytest.mark.parametrize(
    ("initializer", "gain", "mode", "form"), SCALED, ids=lambda value: getattr(value, "kind", None)
)
def test_spread_follows_from_the_fans(initializer, gain, mode, form, shape):
    fan_in, fan_out = fans(shape)
    deviation = gain / math.sqrt({"in": fan_in, "out": fan_out, "avg": fan_in + fan_out}[mode])
    values = draw(initializer, shape)
    check_spread(values, deviation)
    largest = np.abs(values).max() / deviation
    if form == "normal":
        assert largest > 3.5  # 48,000 normal numbers and more
    else:
        bound = math.sqrt(3) if form == "uniform" else 2 / math.sqrt(CUT)
        assert 0.99 * bound < largest <= bound * (1 + 1e-12)


# The frameworks' own definitions: their functions are run, with what they draw from replaced by a probe

TORCH_NAMES = [
    ("xavier_uniform_", {"gain": 1.5}, GlorotUniform(gain=1.5)),
    ("xavier_normal_", {"gain": 1.5}, GlorotNormal(gain=1.5)),
    ("kaiming_uniform_", {"a": math.sqrt(5)}, FanInUniform()),
    ("kaiming_uniform_", {}, HeUniform()),
    ("kaiming_uniform_", {"a": 0.3, "mode": "fan_out"}, KaimingUniform(a=0.3, mode="fan_out")),
    ("kaiming_uniform_", {"nonlinearity": "linear"}, LecunUniform()),
    ("kaiming_uniform_", {}, KaimingUniform()),
    ("kaiming_normal_", {"nonlinearity": "selu"}, KaimingNormal(nonlinearity="selu")),
    ("kaiming_normal_", {}, HeNormal()),
    ("kaiming_normal_", {"nonlinearity": "linear"}, LecunNormal()),
    ("uniform_", {}, Uniform()),
    ("normal_", {}, Normal()),
    ("trunc_normal_", {}, TruncatedNormal()),
]


def torch_layout(shape):
    return (shape[-1], shape[-2], *shape[:-2])


@pytest.mark.parametrize("shape", [DENSE, CONV])
@pytest.mark.parametrize(("name", "arguments", "initializer"), TORCH_NAMES)
def test_torch_draws_with_the_same_parameters(name, arguments, initializer, shape, monkeypatch):
    import torch

    asked = []
    parts = {"_no_grad_uniform_": "uniform", "_no_grad_normal_": "normal", "_no_grad_trunc_normal_": "cut"}

    def probe(form):
        def record(tensor, *numbers, **_):
            asked.append((form, *(float(number) for number in numbers if number is not None)))
            return tensor

        return record

    for part, form in parts.items():
        monkeypatch.setattr(torch.nn.init, part, probe(form))
    monkeypatch.setattr(torch.Tensor, "uniform_", probe("uniform"))
    monkeypatch.setattr(torch.Tensor, "normal_", probe("normal"))
    getattr(torch.nn.init, name)(torch.empty(torch_layout(shape)), **arguments)
    form, *numbers = asked[0]
    values = draw(initializer, shape)
    numbers_of = {"uniform": randomness.uniform, "normal": randomness.normal}
    if form == "uniform":
        low, high = numbers
        wanted = low + (high - low) * numbers_of[form](0, "weights/w", shape)
    elif form == "normal":
        wanted = numbers[0] + numbers[1] * numbers_of[form](0, "weights/w", shape)
    else:
        mean, std, low, high = numbers
        wanted = draw(TruncatedNormal(mean=mean, std=std, low=low, high=high, bounds="absolute"), shape)
    np.testing.assert_allclose(values, wanted, rtol=1e-13, atol=1e-15)


KERAS_NAMES = [
    ("GlorotUniform", {}, GlorotUniform()),
    ("GlorotNormal", {}, GlorotNormal()),
    ("HeUniform", {}, HeUniform()),
    ("HeNormal", {}, HeNormal()),
    ("LecunUniform", {}, LecunUniform()),
    ("LecunNormal", {}, LecunNormal()),
    ("RandomUniform", {}, Uniform()),
    ("RandomNormal", {}, Normal()),
    ("TruncatedNormal", {}, TruncatedNormal()),
    ("VarianceScaling", {}, VarianceScaling()),
    *[
        ("VarianceScaling", arguments, VarianceScaling(**arguments))
        for mode in ("fan_in", "fan_out", "fan_avg")
        for distribution in ("uniform", "truncated_normal", "untruncated_normal")
        if (arguments := {"scale": 2.5, "mode": mode, "distribution": distribution})
    ],
]


@pytest.mark.parametrize("shape", [DENSE, CONV])
@pytest.mark.parametrize(("name", "arguments", "initializer"), KERAS_NAMES)
def test_keras_draws_with_the_same_parameters(name, arguments, initializer, shape, monkeypatch):
    import keras
    from keras.src import initializers

    asked = []

    class Probe:
        def __getattr__(self, form):
            return lambda *_, **settings: asked.append((form, settings))

    monkeypatch.setattr(initializers.random_initializers, "random", Probe())
    getattr(keras.initializers, name)(**arguments, seed=0)(shape)
    form, settings = asked[0]
    if form == "uniform":
        wanted = settings["minval"] + (settings["maxval"] - settings["minval"]) * randomness.uniform(
            0, "weights/w", shape
        )
    elif form == "normal":
        wanted = settings["mean"] + settings["stddev"] * randomness.normal(0, "weights/w", shape)
    else:
        cut = TruncatedNormal(mean=settings["mean"], std=settings["stddev"], bounds="deviations")
        wanted = draw(cut, shape)
    np.testing.assert_allclose(draw(initializer, shape, conventions="keras"), wanted, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("nonlinearity", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2, 2.0])
def test_gains_are_torchs(nonlinearity, slope):
    from torch.nn.init import calculate_gain

    initializer = KaimingNormal(nonlinearity=nonlinearity, a=slope)
    assert initializer.deviation(16, 1) == calculate_gain(nonlinearity, slope) / 4


# Matrices


@pytest.mark.parametrize("shape", [(8, 8), (40, 12), (12, 40), (3, 3, 4, 20), (2, 2, 3, 30), (1, 7), (7, 1)])
def test_orthogonal_kernels_have_orthonormal_outputs_or_inputs(shape):
    matrix = draw(Orthogonal(gain=2.0), shape).reshape(-1, shape[-1])
    gram = matrix.T @ matrix if len(matrix) >= shape[-1] else matrix @ matrix.T
    np.testing.assert_allclose(gram, 4.0 * np.eye(len(gram)), atol=1e-14)


@pytest.mark.parametrize("shape", [(6, 6), (30, 7), (64, 64)])
def test_orthonormal_rows_are_lapacks_with_positive_diagonal(shape):
    matrix = np.random.default_rng(0).standard_normal(shape)
    q, r = np.linalg.qr(matrix)
    np.testing.assert_allclose(orthonormal_rows(matrix.T).T, q * np.sign(np.diag(r)), atol=1e-12)


def test_orthogonal_is_what_torch_and_keras_compute_from_the_same_numbers(monkeypatch):
    import keras
    import torch
    from keras.src import initializers

    numbers = randomness.normal(0, "weights/w", (36, 10))  # (height width inputs, outputs), more rows than columns
    with monkeypatch.context() as patch:
        # torch factorizes the transpose of its (outputs, rest) matrix, which then is what Keras draws
        patch.setattr(torch.Tensor, "normal_", lambda self, *_, **__: self.copy_(torch.from_numpy(numbers.T.copy())))
        flat = torch.nn.init.orthogonal_(torch.empty(10, 36, dtype=torch.float64), gain=0.5).numpy().T
    monkeypatch.setattr(initializers.random_initializers.random, "normal", lambda *_, **__: keras.ops.array(numbers))
    kernel = np.asarray(keras.initializers.Orthogonal(gain=0.5, seed=0)((3, 3, 4, 10), dtype="float64"))
    ours = draw(Orthogonal(gain=0.5), (3, 3, 4, 10))
    np.testing.assert_allclose(ours, kernel, atol=1e-14)
    np.testing.assert_allclose(ours.reshape(36, 10), flat, atol=1e-14)


def test_identity_and_dirac_are_the_frameworks():
    import keras
    import torch

    np.testing.assert_array_equal(
        draw(Identity(gain=2.0), (3, 5)), np.asarray(keras.initializers.Identity(2.0)((3, 5)))
    )
    np.testing.assert_array_equal(draw(Identity(), (3, 5)), torch.nn.init.eye_(torch.empty(5, 3)).numpy().T)
    for shape, groups in [((3, 4, 6), 1), ((4, 5, 6, 6), 3), ((3, 3, 3, 2, 4), 2), ((3, 8, 4), 1)]:
        theirs = torch.nn.init.dirac_(torch.empty(torch_layout(shape)), groups).numpy()
        order = (*range(2, theirs.ndim), 1, 0)
        np.testing.assert_array_equal(draw(Dirac(groups=groups), shape), theirs.transpose(order))


def test_sparse_zeroes_as_many_outputs_of_each_input_as_torch():
    import torch

    ours = draw(Sparse(0.31, std=0.5), (200, 50))
    theirs = torch.nn.init.sparse_(torch.empty(50, 200), 0.31).numpy().T
    assert ((ours == 0).sum(axis=1) == (theirs == 0).sum(axis=1)).all()
    check_spread(ours[ours != 0], 0.5)
    assert (ours == 0).mean(axis=0).std() > 0.01  # not the same outputs for every input


# What every initializer promises


@given(st.sampled_from(INITIALIZERS), st.integers(0, 2**63 - 1), st.sampled_from(["a.kernel", "b.kernel"]))
def test_draws_are_pure_finite_and_of_the_right_form(kind, seed, path):
    shape = DIGEST_SHAPES.get(kind.kind, (4, 3))
    initializer = kind(**REQUIRED.get(kind.kind, {}))
    first, second = (draw(initializer, shape, seed=seed, path=path) for _ in range(2))
    assert (first.shape, first.dtype) == (shape, np.float64)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", INITIALIZERS, ids=lambda kind: kind.kind)
def test_random_initializers_depend_on_seed_and_path_only_where_they_draw(kind):
    shape = DIGEST_SHAPES.get(kind.kind, (4, 3))
    initializer = kind(**REQUIRED.get(kind.kind, {}))
    others = [draw(initializer, shape, seed=1), draw(initializer, shape, path="x")]
    fixed = kind.kind in ("zeros", "ones", "constant", "identity", "dirac", "unit_forget_bias")
    assert all(np.array_equal(draw(initializer, shape), other) == fixed for other in others)


@pytest.mark.parametrize(
    ("initializer", "message"),
    [("dirac", "3 to 5 axes"), ({"sparse": 0.5}, "2 axes"), ("identity", "2 axes"), ("orthogonal", "2 or more axes")],
)
def test_an_initializer_that_cannot_draw_a_shape_is_refused(initializer, message):
    where = "kernel_initializer" if initializer == "dirac" else "bias_initializer"
    layer = Dense(3, name="head", **{where: initializer})
    problems = spec_problems(Spec(model=Model(input=(4,), layers=[layer]), loss=CrossEntropy(), optimizer=Sgd()))
    assert message in problems[0].message
    assert "head." in problems[0].message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"uniform": {"low": 0.0}}, "go together"),
        ({"truncated_normal": {"low": 3.0}}, "low must be below high"),
        ({"variance_scaling": {"distribution": "normal"}}, "truncated_normal"),
        ({"orthogonal": {"gain": 0.0}}, "greater than 0"),
        ({"sparse": {"sparsity": 1.5}}, "less than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Dense(3, kernel_initializer=settings)
