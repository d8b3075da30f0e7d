"""The expert solves every task in every manner, and its manner can be measured."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vlasteer.envs import tabletop
from vlasteer.envs.tabletop.manner import MANNERS, Height, Manner, Speed
from vlasteer.envs.tabletop.world import TabletopWorld
from vlasteer.measures import Motion, measure_motion
from vlasteer.types import EpisodeKey, Outcome

WORLDS = ("tabletop_transport", "tabletop_lift", "tabletop_push")


def _episode(world: TabletopWorld, key: EpisodeKey, manner: Manner, noise: float = 0.0) -> tuple[Outcome, Motion]:
    rng = np.random.default_rng(key.seed)
    world.reset(key)
    positions = [world.snapshot().tcp]
    while world.outcome is Outcome.RUNNING:
        action = world.expert(manner)
        assert action.shape == (7,)
        assert np.all(np.abs(action) <= 1)
        action[:3] += rng.normal(0, noise, 3) * np.linalg.norm(action[:3])
        world.act(action, look=False)
        positions.append(world.snapshot().tcp)
    return world.outcome, measure_motion(positions, world.action_spec.rate_hz)


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_it_solves_every_task_in_every_manner(name: str, split: str) -> None:
    world = tabletop.make(name, split=split)
    for number, manner in enumerate(MANNERS):
        key = EpisodeKey((5 * number) % len(world.tasks), number, 11)
        outcome, _ = _episode(world, key, manner)
        assert outcome is Outcome.SUCCESS, (key, manner)


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_it_solves_them_again_and_again(name: str) -> None:
    world = tabletop.make(name)
    for manner, seed in itertools.product(MANNERS, range(25)):
        outcome, _ = _episode(world, EpisodeKey(seed % len(world.tasks), 0, seed), manner)
        assert outcome is Outcome.SUCCESS, (seed, manner)


@pytest.mark.parametrize("name", WORLDS)
def test_speed_and_height_show_in_the_measures(name: str) -> None:
    world = tabletop.make(name)
    keys = [EpisodeKey(i % len(world.tasks), i, 3) for i in range(6)]

    def mean(measure: str, manner: Manner) -> float:
        return float(np.mean([getattr(_episode(world, key, manner)[1], measure) for key in keys]))

    slow, normal, fast = (mean("mean_speed_m_s", Manner(speed=speed)) for speed in Speed)
    assert slow < 0.75 * normal
    assert fast > 1.25 * normal
    low, middle, high = (mean("peak_height_m", Manner(height=height)) for height in Height)
    assert low < 0.75 * middle
    assert high > 1.25 * middle


@pytest.mark.parametrize("name", WORLDS)
def test_it_finds_its_way_back_from_noise(name: str) -> None:
    world = tabletop.make(name)
    solved = [
        _episode(world, EpisodeKey(i % len(world.tasks), i, 5), Manner(), noise=0.25)[0] is Outcome.SUCCESS
        for i in range(10)
    ]
    assert np.mean(solved) >= 0.9


def test_a_dropped_cube_is_fetched() -> None:
    world = tabletop.make("tabletop_transport")
    world.reset(EpisodeKey(0, 0, 0))
    for _ in range(5):  # let it fall
        world.act(np.array([0, 0, 0.2, 0, 0, 0, -1.0]), look=False)
    assert world.snapshot().objects[0][2] < 0.03
    while world.outcome is Outcome.RUNNING:
        world.act(world.expert(), look=False)
    assert world.outcome is Outcome.SUCCESS
