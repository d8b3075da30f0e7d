"""Measures of an end effector's motion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vlasteer.errors import InputError
from vlasteer.measures import measure_motion

SERIES = st.integers(2, 30).flatmap(lambda n: arrays(np.float64, (n, 3), elements=st.floats(-2, 2)))


def test_a_known_path() -> None:
    positions = [[0, 0, 0.1], [0.03, 0.04, 0.1], [0.03, 0.04, 0.3], [0.03, 0.04, 0.05]]
    motion = measure_motion(positions, 20)
    assert motion.steps == 3
    assert motion.duration_s == pytest.approx(0.15)
    assert motion.path_length_m == pytest.approx(0.05 + 0.2 + 0.25)
    assert motion.mean_speed_m_s == pytest.approx(0.5 / 0.15)
    assert motion.peak_speed_m_s == pytest.approx(0.25 * 20)
    assert motion.mean_step_length_m == pytest.approx(0.5 / 3)
    assert (motion.peak_height_m, motion.lowest_height_m) == (0.3, 0.05)
    assert motion.mean_step_m == pytest.approx((0.01, 0.04 / 3, 0.15))
    assert motion.displacement_m == pytest.approx((0.03, 0.04, -0.05))


@given(SERIES, st.integers(1, 40))
def test_the_first_steps_are_those_of_the_cut_series(positions: np.ndarray, first: int) -> None:
    assert measure_motion(positions, 20, first=first) == measure_motion(positions[: first + 1], 20)


@given(SERIES)
def test_orders_that_always_hold(positions: np.ndarray) -> None:
    motion = measure_motion(positions, 10)
    slack = 1e-12
    assert motion.lowest_height_m <= motion.peak_height_m
    assert motion.mean_speed_m_s <= motion.peak_speed_m_s + slack
    assert np.linalg.norm(motion.displacement_m) <= motion.path_length_m + slack
    assert max(motion.mean_step_m) <= motion.mean_step_length_m + slack


@given(SERIES, st.floats(-1, 1), st.floats(-1, 1))
def test_moving_the_origin_sideways_changes_nothing_else(positions: np.ndarray, x: float, y: float) -> None:
    one, other = measure_motion(positions, 20), measure_motion(positions + np.array([x, y, 0.0]), 20)
    assert other.path_length_m == pytest.approx(one.path_length_m, abs=1e-9)
    assert other.peak_height_m == one.peak_height_m


@pytest.mark.parametrize(
    ("positions", "rate_hz", "first"),
    [
        (np.zeros((1, 3)), 20, None),
        (np.zeros((4, 2)), 20, None),
        (np.zeros(3), 20, None),
        (np.full((3, 3), np.nan), 20, None),
        (np.zeros((3, 3)), 0, None),
        (np.zeros((3, 3)), np.inf, None),
        (np.zeros((3, 3)), 20, 0),
    ],
)
def test_what_cannot_be_measured_is_refused(positions: np.ndarray, rate_hz: float, first: int | None) -> None:
    with pytest.raises(InputError):
        measure_motion(positions, rate_hz, first=first)
