"""What every world promises (`vlasteer.protocols.World`). Add a world to `WORLDS` to have it held to this."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worker_worlds import CheckedWorld, make_checked

from vlasteer.errors import InputError, VlasteerError
from vlasteer.protocols import World
from vlasteer.types import EpisodeKey, Observation, Outcome
from vlasteer.workers import RemoteWorld

HORIZON = 6

Maker = Callable[[pytest.FixtureRequest], World]


def _toy(request: pytest.FixtureRequest) -> World:
    return CheckedWorld("toy", horizon=HORIZON)


def _remote(request: pytest.FixtureRequest) -> World:
    return RemoteWorld("toy", {"horizon": HORIZON}, factory=make_checked)


def _libero(request: pytest.FixtureRequest) -> World:
    if importlib.util.find_spec("libero") is None:
        pytest.skip("the optional package 'libero' is not installed")
    from vlasteer.envs import libero

    shared: Path = request.getfixturevalue("shared")
    return libero.make("libero_goal", assets=shared / "libero", resolution=32, fast=True, horizon=HORIZON)


def _tabletop(request: pytest.FixtureRequest) -> World:
    from vlasteer.envs import tabletop

    return tabletop.make("tabletop_transport", resolution=32, horizon=HORIZON)


WORLDS: list[Any] = [
    pytest.param(_toy, id="toy"),
    pytest.param(_remote, id="remote"),
    pytest.param(_tabletop, id="tabletop"),
    pytest.param(_libero, id="libero", marks=pytest.mark.slow),
]
"""Makers of worlds whose horizon is `HORIZON`."""


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    maker: Maker = request.param
    made = maker(request)
    yield made
    made.close()
    made.close()  # idempotent


def _actions(world: World, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (HORIZON, world.action_spec.size))


def _same(one: Observation, other: Observation) -> None:
    assert (one.instruction, one.time_s) == (other.instruction, other.time_s)
    np.testing.assert_array_equal(one.state, other.state)
    assert set(one.images) == set(other.images)
    for name in one.images:
        np.testing.assert_array_equal(one.images[name], other.images[name])


def _episode(world: World, key: EpisodeKey, *, look: bool = True) -> list[Observation]:
    world.reset(key)
    seen = [world.observe()]
    for action in _actions(world):
        if world.outcome is not Outcome.RUNNING:
            break
        world.act(action, look=look)
        seen.append(world.observe())
    return seen


def test_it_describes_itself(world: World) -> None:
    world.reset(EpisodeKey(0, 0, 0))  # some worlds have an outcome only then
    assert isinstance(world, World)
    assert world.name
    assert len(world.tasks) >= 1
    assert all(isinstance(task, str) and task for task in world.tasks)
    assert world.starts >= 1
    assert world.horizon == HORIZON
    assert len(world.cameras) >= 1
    assert len(set(world.state_names)) == len(world.state_names)


def test_an_episode_begins_with_all_that_a_policy_needs(world: World) -> None:
    world.reset(EpisodeKey(0, 0, 0))
    assert world.outcome is Outcome.RUNNING
    seen = world.observe()
    assert seen.instruction == world.tasks[0]
    assert set(seen.images) == set(world.cameras)
    for image in seen.images.values():
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
    assert seen.state is not None
    assert seen.state.dtype == np.float64
    assert seen.state.shape == (len(world.state_names),)
    _same(seen, world.observe())


def test_what_was_executed_is_told_and_time_goes_on(world: World) -> None:
    world.reset(EpisodeKey(0, 0, 0))
    before = world.observe()
    action = _actions(world)[0]
    given = action.copy()
    executed = world.act(given)
    np.testing.assert_array_equal(given, action)
    assert executed.dtype == np.float64
    assert executed.shape == action.shape
    assert np.isfinite(executed).all()
    after = world.observe()
    assert after.time_s == pytest.approx(before.time_s + 1 / world.action_spec.rate_hz)
    assert not np.array_equal(after.state, before.state)


def test_the_same_key_gives_the_same_episode_whatever_happened_before(world: World) -> None:
    key = EpisodeKey(0, 1, 4)
    first = _episode(world, key)
    _episode(world, EpisodeKey(len(world.tasks) - 1, 0, 9))
    second = _episode(world, key)
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        _same(one, other)


def test_another_start_is_another_episode(world: World) -> None:
    if world.starts < 2:
        pytest.skip(f"{world.name} has one start only")
    states = []
    for start in (0, 1):
        world.reset(EpisodeKey(0, start, 0))
        world.act(np.zeros(world.action_spec.size))
        states.append(world.observe())
    differs = not np.array_equal(states[0].state, states[1].state)
    seen = any(not np.array_equal(states[0].images[name], states[1].images[name]) for name in world.cameras)
    assert differs or seen


def test_not_looking_changes_nothing_but_the_pictures(world: World) -> None:
    key = EpisodeKey(0, 0, 2)
    looked = _episode(world, key)
    for one, other in zip(looked[1:], _episode(world, key, look=False)[1:], strict=True):
        assert other.images == {}
        np.testing.assert_array_equal(other.state, one.state)
    world.reset(key)
    for step, action in enumerate(_actions(world)[: len(looked) - 1]):
        world.act(action, look=step == len(looked) - 2)
    _same(world.observe(), looked[-1])


def test_observations_stay_what_they_were(world: World) -> None:
    world.reset(EpisodeKey(0, 0, 0))
    seen = world.observe()
    kept = {name: image.copy() for name, image in seen.images.items()}
    state = np.array(seen.state)
    world.act(_actions(world)[0])
    world.observe()
    np.testing.assert_array_equal(seen.state, state)
    for name, image in kept.items():
        np.testing.assert_array_equal(seen.images[name], image)


def test_it_ends_at_its_horizon(world: World) -> None:
    world.reset(EpisodeKey(0, 0, 0))
    still = np.zeros(world.action_spec.size)
    for _ in range(HORIZON - 1):
        world.act(still, look=False)
        assert world.outcome is Outcome.RUNNING
    world.act(still, look=False)
    assert world.outcome is Outcome.HORIZON
    world.reset(EpisodeKey(0, 0, 0))
    assert world.outcome is Outcome.RUNNING


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_moves_nothing(world: World, bad: float) -> None:
    world.reset(EpisodeKey(0, 0, 0))
    before = world.observe()
    action = np.zeros(world.action_spec.size)
    action[2] = bad
    with pytest.raises(VlasteerError):
        world.act(action)
    _same(world.observe(), before)
    assert world.outcome is Outcome.RUNNING
    world.act(np.zeros(world.action_spec.size))


@pytest.mark.parametrize("change", [-1, 1])
def test_an_action_of_another_size_moves_nothing(world: World, change: int) -> None:
    world.reset(EpisodeKey(0, 0, 0))
    before = world.observe()
    with pytest.raises(VlasteerError):
        world.act(np.zeros(world.action_spec.size + change))
    _same(world.observe(), before)


def test_a_task_that_does_not_exist_is_refused(world: World) -> None:
    with pytest.raises(InputError):
        world.reset(EpisodeKey(len(world.tasks), 0, 0))
    world.reset(EpisodeKey(0, 0, 0))
    assert world.outcome is Outcome.RUNNING
