"""The comparator fails the wrong models that published checkers pass."""

import numpy as np
import pytest

from dualml.parity.judge import LIMIT, judgement
from dualml.parity.records import Key, Record, difference, same_bits
from dualml.parity.report import number


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([1.0, np.nan], [1.0, 2.0]),  # nan > limit is false
        ([1.0, np.inf], [1.0, 2.0]),
        ([np.inf], [-np.inf]),
    ],
)
def test_what_is_not_finite_on_one_side_is_a_difference(left, right):
    assert difference(np.array(left), np.array(right)) == np.inf
    assert difference(np.array(right), np.array(left)) == np.inf


def test_the_same_nan_in_the_same_place_is_no_difference_but_is_not_judged_either():
    both = np.array([1.0, np.nan])
    assert difference(both, both) == 0
    assert judgement(both, both, np.ones(2)).undefined == 1


def test_nan_against_a_finite_reference_fails():
    assert judgement(np.array([np.nan]), np.array([1.0]), np.ones(1)).rho == np.inf


def test_a_sign_is_seen():
    assert difference(np.array([-1.0]), np.array([1.0])) == 2
    assert judgement(np.array([-1.0]), np.array([1.0]), np.array([1e-3])).rho > LIMIT


def test_sorted_values_and_means_are_not_compared():
    one = np.arange(4.0)
    assert difference(one, one[::-1]) == 3
    assert judgement(one, one[::-1], np.full(4, 1e-12)).rho > LIMIT


def test_a_transposed_square_matrix_is_seen():
    square = np.arange(9.0).reshape(3, 3)
    assert difference(square, square.T) > 0


def test_another_shape_is_never_broadcast():
    assert difference(np.ones((3, 1)), np.ones(3)) == np.inf
    assert judgement(np.ones((3, 1)), np.ones(3), np.ones(3)).rho == np.inf
    assert judgement(np.array(1.0), np.ones(1), np.ones(1)).rho == np.inf


def test_scalars_and_single_axes_are_compared():
    assert difference(np.array(1.0), np.array(1.5)) == 0.5
    assert judgement(np.array(1.0), np.array(1.5), np.array(0.1)).rho == pytest.approx(5)


def test_exact_agreement_needs_no_bound():
    assert judgement(np.zeros(2), np.zeros(2), np.zeros(2)).rho == 0


def test_bits_are_bits():
    assert not same_bits(np.zeros(1), -np.zeros(1))
    assert not same_bits(np.zeros(1), np.zeros(1, np.float32))
    assert same_bits(np.array([np.nan]), np.array([np.nan]))


def test_empty_arrays_agree():
    assert difference(np.empty((0, 3)), np.empty((0, 3))) == 0


def test_a_tiny_gradient_is_judged_by_its_own_bound():
    assert judgement(np.array([2e-20]), np.array([1e-20]), np.array([1e-30])).rho > LIMIT


def test_records_survive_being_written(tmp_path):
    arrays = {
        Key("loss", "head", "value"): np.array(0.5),
        Key("update", "head", "kernel"): np.arange(6.0).reshape(2, 3).T,
        Key("state", "head", "first_moment.kernel"): np.ones((3, 2), np.float32),
    }
    record = Record(3, arrays, 0.1, {"optimizer_step": 2})
    record.write(tmp_path / "record")
    read = Record.read(tmp_path / "record")
    assert (read.step, read.lr, read.facts) == (3, 0.1, {"optimizer_step": 2})
    for key, array in arrays.items():
        assert read.arrays[key].shape == array.shape
        assert read.arrays[key].dtype == array.dtype
        assert np.array_equal(read.arrays[key], array)
    assert read.slots("state") == {
        "first_moment": {"head.kernel": read.arrays[Key("state", "head", "first_moment.kernel")]}
    }


@pytest.mark.parametrize(("value", "shown"), [(1.5, 1.5), (np.inf, "inf"), (np.nan, "nan"), (None, None)])
def test_numbers_as_json(value, shown):
    assert number(value) == shown
