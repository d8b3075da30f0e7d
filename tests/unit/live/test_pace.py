"""Periods by absolute times."""

from __future__ import annotations

import math

import pytest
from toys import ToyClock

from vlasteer.live.pace import Pace


def test_late_wake_ups_do_not_add_up() -> None:
    clock = ToyClock()

    def overslept(seconds: float) -> None:
        clock.now += seconds + 0.003

    pace = Pace(clock, overslept)
    for _ in range(100):
        clock.now += 0.01  # the work of a period
        pace.wait(0.05)
    assert clock.now == pytest.approx(100 * 0.05, abs=0.02)


def test_a_long_period_is_not_made_up_for() -> None:
    clock = ToyClock()
    pace = Pace(clock, clock.sleep)
    pace.wait(0.05)
    clock.now += 1.0
    began = clock.now
    for _ in range(4):
        pace.wait(0.05)
    assert clock.now - began == pytest.approx(3 * 0.05), "the late one ends at once, the others are whole"


def test_the_rate_is_of_steps_and_pauses_are_left_out() -> None:
    clock = ToyClock()
    pace = Pace(clock, clock.sleep)
    assert math.isnan(pace.rate_hz)
    for _ in range(30):
        pace.wait(0.05)
        pace.stepped()
    assert pace.rate_hz == pytest.approx(20)
    pace.rest()
    clock.now += 100
    for _ in range(3):
        pace.wait(0.1)
        pace.stepped()
    assert pace.rate_hz == pytest.approx(10)
