"""The random numbers every backend shares."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from dualml import randomness

# Golden values: computed once with NumPy 2.4's Philox from the keys documented in dualml.randomness. NumPy promises
# that the raw stream of a bit generator never changes (NEP 19), so a change here is a change of ours.
GOLDEN_WORDS = [11458861309023750, 10265110574541474299, 3251787137623424528]


def test_words_are_the_golden_ones():
    assert randomness.words(0, "a", 3).tolist() == GOLDEN_WORDS


def test_uniform_is_the_upper_53_bits():
    expected = [(word >> 11) * 2.0**-53 for word in GOLDEN_WORDS]
    assert randomness.uniform(0, "a", (3,)).tolist() == expected


def test_permutation_is_golden():
    assert randomness.permutation(0, "a", 5).tolist() == [0, 2, 4, 1, 3]


@pytest.mark.parametrize(("seed", "path", "step"), [(1, "a", 0), (0, "b", 0), (0, "a", 1)])
def test_streams_differ_by_seed_path_and_step(seed, path, step):
    assert not np.array_equal(randomness.words(seed, path, 4, step=step), randomness.words(0, "a", 4))


def test_seed_and_path_cannot_be_confused():
    assert not np.array_equal(randomness.words(1, "2", 4), randomness.words(12, "", 4))


@given(st.integers(0, 2**63 - 1), st.text(max_size=20), st.integers(0, 300), st.integers(0, 10**6))
def test_permutation_holds_every_number_once(seed, path, count, step):
    assert sorted(randomness.permutation(seed, path, count, step=step)) == list(range(count))


@given(st.floats(0, 0.95), st.integers(0, 100))
def test_keep_mask_keeps_the_right_share(rate, step):
    kept = randomness.keep_mask(3, "dropout/x", (200, 100), rate, step=step).mean()
    assert abs(kept - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / 20_000) + 1e-9


def test_keep_mask_rows_do_not_depend_on_how_many_are_drawn():
    whole = randomness.keep_mask(0, "m", (7, 5), 0.3)
    assert np.array_equal(randomness.keep_mask(0, "m", (3, 5), 0.3), whole[:3])


def test_normal_has_mean_0_and_variance_1():
    values = randomness.normal(0, "n", (100_000,))
    assert abs(values.mean()) < 5 / np.sqrt(1e5)
    assert abs(values.var() - 1) < 5 * np.sqrt(2 / 1e5)
    assert np.isfinite(values).all()


def test_global_numpy_randomness_is_untouched():
    before = np.random.get_state()[1].copy()
    randomness.normal(0, "n", (10,))
    assert np.array_equal(before, np.random.get_state()[1])
