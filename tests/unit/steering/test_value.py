"""Steering as a value: arithmetic, parsing, quantiles."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlasteer.anatomy import Neuron
from vlasteer.errors import SteeringError, UnknownNameError
from vlasteer.steering import Feature, FeaturePack, Quantile, Steering, WeightedNeuron
from vlasteer.steering.value import parse_coefficient

FAST = Feature.of("fast", [Neuron("vlm", 0, 1), Neuron("vlm", 1, 2)])
UP = Feature.of("up", [Neuron("vlm", 2, 3)])
numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(numbers, numbers)
def test_equal_features_add_their_coefficients(a: float, b: float) -> None:
    total = Steering.of(FAST, a) + Steering.of(FAST, b)
    assert [t.coefficient for t in total] == [a + b]


@given(numbers)
def test_a_steering_minus_itself_keeps_its_knobs_at_zero(a: float) -> None:
    steering = Steering.of(FAST, a) + Steering.of(UP, 2 * a)
    assert [t.coefficient for t in steering - steering] == [0, 0]
    assert (steering - steering).names == ("fast", "up")


def test_scaling_acts_on_every_term_and_leaves_off_off() -> None:
    steering = Steering.of(FAST, 8.0) + Steering.of(UP, None)
    assert [t.coefficient for t in steering / 4] == [2.0, None]
    assert [t.coefficient for t in -steering] == [-8.0, None]


def test_steerings_are_immutable() -> None:
    with pytest.raises(AttributeError):
        Steering.of(FAST, 1).terms = ()  # pyright: ignore[reportAttributeAccessIssue]


def test_two_meanings_of_one_name_are_refused() -> None:
    other = Feature.of("fast", [Neuron("vlm", 0, 9)])
    with pytest.raises(SteeringError, match="two different terms"):
        Steering.of(FAST, 1) + Steering.of(other, 1)


def test_expressions_look_features_up_in_the_pack() -> None:
    pack = FeaturePack({"fast": FAST, "up": UP})
    steering = Steering.parse(["fast=8", "up=-q0.9"], pack, scope="decode")
    assert steering.term("fast").coefficient == 8
    assert steering.term("up").coefficient == Quantile(0.9, -1.0)
    assert {t.scope for t in steering} == {"decode"}
    with pytest.raises(UnknownNameError, match="Did you mean 'fast'"):
        Steering.parse(["fats=8"], pack)
    with pytest.raises(SteeringError, match="feature=coefficient"):
        Steering.parse(["fast"], pack)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "much", "", "q", "qnan", "q1.5", "q-0.1"])
def test_bad_coefficients_are_refused(text: str) -> None:
    with pytest.raises(SteeringError):
        parse_coefficient(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_parses_back(value: float) -> None:
    assert parse_coefficient(repr(value)) == value


def test_quantiles_are_interpolated_and_need_calibration() -> None:
    calibrated = Feature("f", (WeightedNeuron(Neuron("vlm", 0, 0), quantiles={0.0: -1.0, 0.5: 0.0, 1.0: 4.0}),))
    assert Steering.of(calibrated, Quantile(0.75)).terms[0].targets() == (2.0,)
    assert Steering.of(calibrated, Quantile(0.0)).terms[0].targets() == (-1.0,)
    with pytest.raises(SteeringError, match="--calibrate"):
        Steering.of(FAST, Quantile(0.5)).terms[0].targets()


def test_features_are_checked() -> None:
    with pytest.raises(SteeringError, match="no neurons"):
        Feature("empty", ())
    with pytest.raises(SteeringError, match="twice"):
        Feature.of("f", [Neuron("vlm", 0, 1), Neuron("vlm", 0, 1)])
    with pytest.raises(SteeringError, match="finite"):
        WeightedNeuron(Neuron("vlm", 0, 1), math.nan)
    with pytest.raises(SteeringError, match="name"):
        Feature.of("a=b", [Neuron("vlm", 0, 1)])
