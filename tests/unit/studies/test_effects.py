"""Paired effects, bands, and the sink that collects motions."""

from __future__ import annotations

import numpy as np
import pytest
from toys import ToyPolicy, ToyWorld

from vlasteer.comparison import EpisodeMotion
from vlasteer.errors import InputError
from vlasteer.runtime import PlannedEpisode, run_episodes
from vlasteer.studies import MotionCollector, effect_of, null_band
from vlasteer.studies.effects import mean_step_mm, peak_height_mm
from vlasteer.types import EpisodeInfo, EpisodeKey, Outcome


def straight(start: int, steps: int, length: float, *, foreign: int = 0, outcome: Outcome = Outcome.SUCCESS):
    """Steps of one length (m) straight up."""
    positions = np.zeros((steps + 1, 3))
    positions[:, 2] = length * np.arange(steps + 1)
    commanded = np.full((steps + 1, 3), length)
    return EpisodeMotion("x", EpisodeKey(0, start, 0), outcome, positions, commanded, 7 * steps, foreign)


def test_effects_are_paired_and_cut_to_equal_length() -> None:
    reference = [straight(i, 10, 0.010 + 0.001 * i) for i in range(8)]
    faster = [straight(i, 4, 0.015 + 0.001 * i) for i in reversed(range(8))]
    step = effect_of(faster, reference, mean_step_mm)
    assert step.difference == pytest.approx(5.0)
    assert step.interval == pytest.approx((5.0, 5.0))
    assert step.pairs == 8
    # Over all ten steps the slower ones rise higher; over the first four they do not.
    assert effect_of(faster, reference, peak_height_mm).difference > 0


def test_success_and_foreign_tokens_stand_beside_the_effect() -> None:
    reference = [straight(i, 10, 0.01) for i in range(4)]
    broken = [straight(i, 10, 0.01, foreign=7, outcome=Outcome.HORIZON if i else Outcome.SUCCESS) for i in range(4)]
    effect = effect_of(broken, reference, mean_step_mm)
    assert (effect.success, effect.reference_success) == (0.25, 1.0)
    assert effect.foreign == pytest.approx(0.1)
    assert effect.relative == pytest.approx(0.0)


def test_without_counterparts_there_is_no_effect() -> None:
    with pytest.raises(InputError):
        effect_of([straight(0, 3, 0.01)], [straight(1, 3, 0.01)], mean_step_mm)


def test_beyond_all_draws() -> None:
    reference = [straight(i, 10, 0.010) for i in range(3)]
    effects = [
        effect_of([straight(i, 10, s) for i in range(3)], reference, mean_step_mm) for s in (0.009, 0.010, 0.012)
    ]
    band = null_band(effects)
    assert (band.lowest, band.highest) == pytest.approx((-1.0, 2.0))
    assert band.beyond(2.1, +1)
    assert not band.beyond(2.0 - 1e-6, +1)
    assert band.beyond(-1.1, -1)
    assert not band.beyond(2.1, -1)
    with pytest.raises(InputError):
        null_band([])


def test_the_collector_keeps_what_happened() -> None:
    policy, world, done = ToyPolicy(), ToyWorld(), []
    infos = [EpisodeInfo(i, EpisodeKey(0, i, 1), "rise", f"arm{i}", "toy", world.action_spec) for i in range(2)]
    collector = lambda _: [MotionCollector(done.append, ("eef_x", "eef_y", "eef_z"))]  # noqa: E731
    run_episodes(policy, [world], [PlannedEpisode(info) for info in infos], sinks=collector)
    assert [motion.arm for motion in done] == ["arm0", "arm1"]
    assert all(motion.positions.shape == motion.commanded.shape for motion in done)
    first = np.random.default_rng([0, 0, 1]).uniform(-0.1, 0.1, 3)
    np.testing.assert_allclose(done[0].positions[0], first)
    # What was commanded in metres is what moved, as the toy executes it all.
    moved = np.diff(done[0].positions, axis=0)
    np.testing.assert_allclose(moved, done[0].commanded[:-1].clip(-0.05, 0.05), atol=1e-9)


def test_a_world_without_positions_is_refused() -> None:
    with pytest.raises(InputError):
        MotionCollector([].append, ("a", "b"))
