"""The benchmark's protocol: settling, clipping, horizons, success, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vlasteer.envs.libero import make
from vlasteer.errors import AssetsError, ConfigError, ConventionError, UnknownNameError, WorldError
from vlasteer.types import ActionKind, EpisodeKey, Gripper, Outcome

STILL = np.zeros(7)


def test_its_conventions(world_of) -> None:
    world = world_of("libero_spatial")
    assert world.name == "libero_spatial"
    assert world.horizon == 220
    assert world_of("libero_spatial", horizon=280).horizon == 280
    assert world.cameras == ("image", "image2")
    assert world.starts == 50
    assert len(world.tasks) == 10
    assert world.tasks[1] == "pick up the black bowl next to the ramekin and place it on the plate"
    spec = world.action_spec
    assert (spec.kind, spec.gripper, spec.rate_hz) == (ActionKind.EE_DELTA, Gripper.MINUS_OPEN_PLUS_CLOSED, 20.0)
    assert spec.scale == (0.05, 0.05, 0.05, 0.5, 0.5, 0.5)


def test_its_facts_say_what_a_record_needs(world_of) -> None:
    facts = world_of(horizon=7).facts
    assert {**facts, "versions": None} == {
        "suite": "libero_goal",
        "horizon": 7,
        "resolution": 48,
        "fast": True,
        "versions": None,
    }
    assert facts["versions"]["mujoco"] == "3.3.2"


@pytest.mark.slow
def test_an_episode_to_its_horizon(world_of) -> None:
    world = world_of(horizon=3)
    world.reset(EpisodeKey(6, 0, 0))
    seen = world.observe()
    assert seen.instruction == world.tasks[6]
    assert seen.time_s == 0.0
    assert {name: (image.shape, image.dtype) for name, image in seen.images.items()} == {
        "image": ((48, 48, 3), np.dtype(np.uint8)),
        "image2": ((48, 48, 3), np.dtype(np.uint8)),
    }
    assert seen.state is not None
    assert seen.state.shape == (8,)
    assert seen.state.dtype == np.float64
    assert seen.state[6] > 0.03 > -0.03 > seen.state[7], "settling opens the gripper"
    wild = np.array([3.0, -0.25, -7.0, 0, 0, 0, 2.0])
    executed = world.act(wild)
    np.testing.assert_array_equal(executed, [1.0, -0.25, -1.0, 0, 0, 0, 1.0])
    np.testing.assert_array_equal(wild, [3.0, -0.25, -7.0, 0, 0, 0, 2.0])
    world.act(STILL, look=False)
    assert world.observe().images == {}
    assert world.observe().time_s == pytest.approx(0.1)
    assert world.outcome is Outcome.RUNNING
    world.act(STILL, look=False)
    assert world.outcome is Outcome.HORIZON
    assert world.observe().images == {}, "a picture that was not taken at its time is not taken later"
    with pytest.raises(WorldError, match=r"ended \(horizon\).*reset"):
        world.act(STILL)


@pytest.mark.slow
def test_actions_move_the_arm_as_their_names_say(world_of) -> None:
    world = world_of()
    for axis in range(3):
        world.reset(EpisodeKey(0, 0, 0))
        before = world.observe().state
        for _ in range(8):
            world.act(0.5 * np.eye(7)[axis] + [0, 0, 0, 0, 0, 0, -1.0], look=False)
        moved = (world.observe().state - before)[:3]
        assert np.argmax(np.abs(moved)) == axis
        assert 0.03 < moved[axis] < 8 * 0.025, "half of 5 cm per step at most, and most of it reached"
    world.reset(EpisodeKey(0, 0, 0))
    open_width = np.ptp(world.observe().state[6:])
    for _ in range(10):
        world.act(np.array([0, 0, 0, 0, 0, 0, 1.0]), look=False)
    assert np.ptp(world.observe().state[6:]) < 0.5 * open_width, "+1 closes"


@pytest.mark.slow
def test_a_solved_task_is_a_success_also_on_the_last_step(world_of) -> None:
    world = world_of(horizon=2)
    world.reset(EpisodeKey(0, 0, 0))  # open the middle drawer
    world.act(STILL, look=False)
    assert world.outcome is Outcome.RUNNING
    sim = world._simulation._scene.sim
    drawers = [name for name in sim.model.joint_names if name and "middle" in name]
    assert len(drawers) == 1
    sim.data.set_joint_qpos(drawers[0], -0.155)
    world.act(STILL)
    assert world.outcome is Outcome.SUCCESS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.array([0, 0, np.nan, 0, 0, 0, 0]), "NaN"),
        (np.array([np.inf, 0, 0, 0, 0, 0, 0]), "infinity"),
        (np.zeros(6), r"shape \(6,\)"),
        (np.zeros((1, 7)), r"shape \(1, 7\)"),
    ],
)
def test_an_action_that_is_none_moves_nothing(world_of, action: np.ndarray, message: str) -> None:
    world = world_of(horizon=1)
    world.reset(EpisodeKey(0, 0, 0))
    before = world._simulation._scene.sim.get_state().flatten()
    with pytest.raises(ConventionError, match=message):
        world.act(action)
    np.testing.assert_array_equal(world._simulation._scene.sim.get_state().flatten(), before)
    assert world.outcome is Outcome.RUNNING


@pytest.mark.slow
def test_a_world_whose_physics_diverged_has_failed(world_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes MUJOCO_LOG.TXT where it stands
    world = world_of()
    world.reset(EpisodeKey(0, 0, 0))
    world._simulation._scene.sim.data.qvel[:] = 1e12
    with pytest.raises(WorldError, match="diverged"):
        world.act(STILL)
    assert world.outcome is Outcome.FAILED
    world.reset(EpisodeKey(0, 0, 0))
    assert world.outcome is Outcome.RUNNING


def test_without_an_episode_nothing_can_be_seen_or_done(world_of) -> None:
    world = world_of()
    for ask in (world.observe, lambda: world.act(STILL)):
        with pytest.raises(WorldError, match="Call reset first"):
            ask()
    world.close()
    world.close()


@pytest.mark.parametrize(
    "key", [EpisodeKey(10, 0, 0), EpisodeKey(-1, 0, 0), EpisodeKey(0, 50, 0), EpisodeKey(0, 0, -1)]
)
def test_an_episode_that_does_not_exist_is_refused(world_of, key: EpisodeKey) -> None:
    with pytest.raises(ConfigError, match=r"does not exist.*from 0 to"):
        world_of().reset(key)


def test_a_suite_whose_assets_are_incomplete_says_which_files_are_missing(world_of) -> None:
    world = world_of("libero_90")
    index = world.tasks.index("pick up the salad dressing and put it in the tray")
    with pytest.raises(AssetsError, match=rf"libero_90 task {index} needs.*new_salad_dressing.*hf download"):
        world.reset(EpisodeKey(index, 0, 0))


def test_options_are_checked(assets: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"option of libero_goal 'resolutoin'.*Did you mean 'resolution'"):
        make("libero_goal", assets=assets, resolutoin=64)
    for options in ({"horizon": 0}, {"resolution": -1}, {"resolution": 1.5}, {"horizon": "long"}, {"horizon": True}):
        with pytest.raises(ConfigError, match="positive whole number"):
            make("libero_goal", assets=assets, **options)
