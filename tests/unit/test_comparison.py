"""The closing table: equal length, pairs, intervals."""

from __future__ import annotations

import numpy as np
import pytest

from vlasteer.comparison import STEERED, UNSTEERED, EpisodeMotion, bootstrap_interval, compare, format_table
from vlasteer.types import EpisodeKey, Outcome


def episode(arm: str, start: int, steps: int, speed: float, outcome: Outcome = Outcome.SUCCESS) -> EpisodeMotion:
    positions = np.zeros((steps, 3))
    positions[:, 2] = speed * np.arange(steps)
    return EpisodeMotion(
        arm, EpisodeKey(0, start, 7), outcome, positions, np.tile([0, 0, speed], (steps, 1)), 7 * steps, 1
    )


def lines(episodes: list[EpisodeMotion]) -> dict:
    return {line.measure: line for line in compare(episodes)}


def test_differences_are_paired_and_in_millimetres() -> None:
    table = lines(
        [episode(UNSTEERED, s, 10, 0.010) for s in range(3)] + [episode(STEERED, s, 10, 0.013) for s in range(3)]
    )
    line = table["moved |dz| (mm, per step)"]
    assert line.means == pytest.approx({UNSTEERED: 10.0, STEERED: 13.0})
    assert line.difference == pytest.approx(3.0)
    assert line.interval == pytest.approx((3.0, 3.0))


def test_equal_length_ignores_what_only_the_longer_episode_did() -> None:
    long = episode(STEERED, 0, 30, 0.010)
    long.positions[10:, 2] = long.positions[9, 2]  # stands still once the other has finished
    table = lines([episode(UNSTEERED, 0, 10, 0.010), long])
    assert table["moved length (mm, equal length)"].difference == pytest.approx(0.0)
    assert table["moved length (mm, per step)"].difference < -5


def test_success_and_non_action_tokens_stand_beside_the_motion() -> None:
    table = lines([episode(UNSTEERED, 0, 10, 0.01), episode(STEERED, 0, 10, 0.01, Outcome.HORIZON)])
    assert table["success rate (%)"].means == {UNSTEERED: 100.0, STEERED: 0.0}
    assert table["non-action tokens (%)"].means[STEERED] == pytest.approx(100 / 70)


def test_an_over_steered_run_claims_nothing() -> None:
    calm = compare([episode(UNSTEERED, 0, 100, 0.01), episode(STEERED, 0, 100, 0.01)])  # 1 of 700 tokens
    assert "Over-steered" not in format_table(calm)
    wild = compare([episode(UNSTEERED, 0, 100, 0.01), episode(STEERED, 0, 10, 0.01)])  # 1 of 70
    assert "more than 1 % of the tokens of 'steered'" in format_table(wild)


def test_without_pairs_there_are_no_differences() -> None:
    table = compare([episode(STEERED, 0, 10, 0.01)])
    assert all(line.difference is None for line in table)
    assert "difference" not in format_table(table)
    assert "equal length" not in format_table(table)  # nothing to be as long as


def test_the_interval_covers_the_mean_and_needs_two_values() -> None:
    values = np.random.default_rng(0).normal(1.0, 1.0, 200)
    interval = bootstrap_interval(values)
    assert interval is not None
    assert interval[0] < values.mean() < interval[1]
    assert interval[1] - interval[0] == pytest.approx(2 * 1.96 / np.sqrt(200), rel=0.2)
    assert bootstrap_interval(values[:1]) is None
