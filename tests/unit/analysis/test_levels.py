"""Knobs that are turned within an episode: motion at each of their values."""

from __future__ import annotations

import numpy as np
import pytest
from analysed_runs import AnalysedMaker

from vlasteer.analysis import AnalysedRun, findings_of, knob_levels, next_steps, turned_knobs

OFF = np.nan


def positions(steps_mm: np.ndarray, heights_mm: np.ndarray) -> np.ndarray:
    x = np.concatenate([[0], np.cumsum(steps_mm[:-1])])
    return np.stack([x, 0 * x, heights_mm], axis=1) / 1e3


@pytest.fixture
def session() -> AnalysedRun:
    """20 steps off at 1 mm a step, a slew of 4, 20 steps at 3 with 4 mm, and off again; twice."""
    knob = np.array([OFF] * 20 + [0.5, 1, 1.5, 2] + [3] * 20 + [OFF] * 20)
    moved = np.where(knob == 3, 4.0, 1.0)
    config = {"command": "drive", "robot": "twin", "steering": [{"feature": "fast", "coefficient": "None"}]}
    made = AnalysedMaker(config, turned=True)
    for _ in range(2):
        made.episode("live", 0, positions(moved, np.full(64, 100.0)), knobs={"fast": knob, "idle": OFF})
    return made.run()


def test_which_were_turned(session):
    assert turned_knobs(session.episodes) == ["fast"]


def test_values_at_which_it_stood(session):
    off, on = knob_levels(session.episodes, "fast")
    assert np.isnan(off.value)
    assert on.value == 3
    assert (off.stretches, on.stretches) == (4, 2)
    assert on.seconds == pytest.approx(2 * 20 / 20)
    assert off.seconds == pytest.approx(2 * 39 / 20)  # nothing moves after the last step
    assert (off.speed_mm_s, on.speed_mm_s) == pytest.approx((20, 80))
    assert (on.speed_low, on.speed_high) == pytest.approx((80, 80))
    assert on.height_mm == pytest.approx(100)


def test_values_that_never_stand_are_binned():
    made = AnalysedMaker({"command": "drive"}, turned=True)
    made.episode("live", 0, positions(np.ones(41), np.full(41, 50.0)), knobs={"fast": np.linspace(0, 4, 41)})
    levels = knob_levels(made.episodes, "fast", bins=4)
    assert [level.value for level in levels] == [0.5, 1.5, 2.5, 3.5]
    assert [level.stretches for level in levels] == [1, 1, 1, 1]
    assert sum(level.seconds for level in levels) == pytest.approx(2)


def test_a_knob_that_nobody_has(session):
    assert knob_levels(session.episodes, "absent") == []


def test_what_is_said_of_a_session(session):
    (finding,) = findings_of(session)
    assert finding.headline == "fast turned while it ran"
    assert "fast off: 20 mm/s, 100 mm high; at 3: 80 mm/s, 100 mm high." in finding.sentences
    (step,) = next_steps([session], [finding])
    assert "--counterfactual fast=0" in step
