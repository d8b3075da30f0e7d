"""States and pictures are the benchmark's own, repeatable, and independent of what else happens in the process."""

from __future__ import annotations

import importlib
import math
import pdb
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vlasteer.envs.libero import simulation as simulation_module
from vlasteer.envs.libero.packages import load_domains
from vlasteer.envs.libero.simulation import SETTLING, SETTLING_STEPS, Simulation, rotation_vector
from vlasteer.envs.libero.suites import initial_states, tasks_of
from vlasteer.errors import AssetsError, WorldError

ACTIONS = np.random.default_rng(7).uniform(-1, 1, (12, 7))


def _simulation(
    assets: Path, task: int = 0, start: int = 0, seed: int = 0, suite: str = "libero_goal", **options: bool | int
) -> Simulation:
    chosen = tasks_of(suite)[task]
    options = {"resolution": 48, "fast": True, **options}
    return Simulation(chosen, assets / "assets", initial_states(chosen)[start], seed=seed, **options)


def _physics(simulation: Simulation) -> np.ndarray:
    return simulation._scene.sim.get_state().flatten()


@pytest.mark.slow
def test_it_gives_bit_for_bit_what_the_benchmarks_own_environment_gives(assets: Path) -> None:
    task = tasks_of("libero_goal")[8]
    start = initial_states(task)[3]
    load_domains(assets / "assets")
    envs = importlib.import_module("libero.libero.envs")
    official = envs.OffScreenRenderEnv(bddl_file_name=str(task.problem_file), camera_heights=48, camera_widths=48)
    assert official.env.object_property_initializers == [], "choose a task whose reset is repeatable without our help"
    official.seed(5)
    official.reset()
    official.set_init_state(start)
    for _ in range(SETTLING_STEPS):
        seen, *_ = official.step(SETTLING)
    ours = Simulation(task, assets / "assets", start, seed=5, resolution=48)
    for action in [None, *ACTIONS[:6]]:
        if action is not None:
            seen, _, solved, _ = official.step(action)
            assert ours.step(action, look=True) == solved
        np.testing.assert_array_equal(_physics(ours), official.get_sim_state())
        for name, camera in (("image", "agentview"), ("image2", "robot0_eye_in_hand")):
            np.testing.assert_array_equal(ours.images[name], seen[f"{camera}_image"][::-1, ::-1])
        np.testing.assert_array_equal(ours.state[:3], seen["robot0_eef_pos"])
        np.testing.assert_array_equal(ours.state[6:], seen["robot0_gripper_qpos"])
        turned = Rotation.from_rotvec(ours.state[3:6]) * Rotation.from_quat(seen["robot0_eef_quat"]).inv()
        assert turned.magnitude() < 1e-6
    ours.close()
    official.close()


@pytest.mark.slow
def test_looking_now_and_then_changes_neither_states_nor_the_pictures_looked_at(assets: Path) -> None:
    always, sometimes = _simulation(assets), _simulation(assets)
    np.testing.assert_array_equal(always.images["image"], sometimes.images["image"])
    for step, action in enumerate(ACTIONS):
        look = step % 4 == 3
        always.step(action, look=True)
        sometimes.step(action, look=look)
        np.testing.assert_array_equal(_physics(always), _physics(sometimes))
        np.testing.assert_array_equal(always.state, sometimes.state)
        assert set(sometimes.images) == ({"image", "image2"} if look else set())
        for name, picture in sometimes.images.items():
            np.testing.assert_array_equal(picture, always.images[name])
    always.close()
    sometimes.close()


@pytest.mark.slow
def test_an_episode_is_the_same_whatever_happens_beside_and_before_it(assets: Path) -> None:
    def episode(disturb: bool) -> list[np.ndarray]:
        # The bowl lies in a drawer that LIBERO opens: the kind of property that piles up in a scene that is reset.
        subject = _simulation(assets, task=4, start=2, seed=11, suite="libero_spatial")
        assert len(subject._scene.object_property_initializers) == 1
        other = None
        trace = [_physics(subject), subject.images["image"], subject.images["image2"]]
        for step, action in enumerate(ACTIONS[:8]):
            if disturb:
                np.random.seed(step)
                np.random.rand(step)
                if other is None or step == 4:
                    # Another suite, hence other textures: of equal scenes, each could draw with the other's unnoticed.
                    other = _simulation(assets, task=1, start=step, suite="libero_object")
                other.step(-action, look=True)
            subject.step(action, look=True)
            trace += [_physics(subject), subject.state, subject.images["image"], subject.images["image2"]]
        subject.close()
        if other is not None:
            other.close()
        return trace

    for alone, disturbed in zip(episode(False), episode(True), strict=True):
        np.testing.assert_array_equal(alone, disturbed)


@pytest.mark.slow
def test_the_seed_places_the_fixtures_and_the_start_the_objects(assets: Path) -> None:
    def poses(seed: int, start: int) -> tuple[np.ndarray, np.ndarray]:
        simulation = _simulation(assets, seed=seed, start=start)
        found = simulation._scene.sim.model.body_pos.copy(), _physics(simulation)
        simulation.close()
        return found

    fixtures, objects = poses(0, 0)
    assert not np.array_equal(poses(1, 0)[0], fixtures)
    np.testing.assert_array_equal(poses(0, 1)[0], fixtures)
    assert not np.array_equal(poses(0, 1)[1], objects)


@pytest.mark.slow
def test_the_global_generators_are_put_back(assets: Path) -> None:
    np.random.seed(3)
    random.seed(3)
    expected = np.random.rand(), random.random()
    np.random.seed(3)
    random.seed(3)
    _simulation(assets).close()
    assert (np.random.rand(), random.random()) == expected


@pytest.mark.slow
def test_fast_pictures_are_nearly_the_same(assets: Path) -> None:
    exact, fast = _simulation(assets, fast=False, resolution=256), _simulation(assets, resolution=256)
    for name in ("image", "image2"):
        difference = np.abs(exact.images[name].astype(int) - fast.images[name].astype(int))
        assert 0 < difference.mean() < 3, "what its documentation promises at 256 pixels"
    np.testing.assert_array_equal(_physics(exact), _physics(fast))
    exact.close()
    fast.close()


@pytest.mark.slow
def test_a_physics_that_diverges_is_an_error(assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes MUJOCO_LOG.TXT where it stands
    simulation = _simulation(assets)
    simulation._scene.sim.data.qvel[:] = 1e12
    with pytest.raises(WorldError, match="libero_goal task 0 diverged"):
        simulation.step(ACTIONS[0], look=False)
    simulation.close()


@pytest.mark.slow
def test_initial_states_of_another_scene_are_refused(assets: Path) -> None:
    task = tasks_of("libero_goal")[0]
    with pytest.raises(AssetsError, match="joint numbers"):
        Simulation(task, assets / "assets", np.zeros(12), fast=True)


def test_objects_that_find_no_place_end_in_an_error_and_not_in_a_debugger(
    assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_domains(assets / "assets")
    tried = []

    def scene(*_: object, **__: object) -> object:
        tried.append(1)
        pdb.set_trace()  # what LIBERO does
        raise AssertionError("the debugger was entered and left")

    debugger = pdb.set_trace
    monkeypatch.setattr(simulation_module, "_scene_class", lambda domain, fast: scene)
    with pytest.raises(WorldError, match="found no place in 20 tries"):
        _simulation(assets)
    assert len(tried) == 20
    assert pdb.set_trace is debugger


def test_a_file_that_mujoco_cannot_read_is_named(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scene(*_: object, **__: object) -> object:
        raise ValueError("Error: could not decode\n texture 'plate.png'")

    monkeypatch.setattr(simulation_module, "_scene_class", lambda domain, fast: scene)
    with pytest.raises(AssetsError, match=r"task 0 cannot be built: Error: could not decode texture 'plate\.png'"):
        _simulation(assets)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: math.hypot(*q) > 0.1))
def test_a_rotation_vector_means_the_same_rotation(numbers: list[float]) -> None:
    quaternion = np.array(numbers) / np.linalg.norm(numbers)
    vector = rotation_vector(quaternion)
    assert np.linalg.norm(vector) <= 2 * np.pi + 1e-9
    difference = Rotation.from_rotvec(vector) * Rotation.from_quat(quaternion).inv()
    # arccos near 1 loses half the digits; the formula is the benchmark's and is kept
    assert difference.magnitude() < 1e-6


def test_the_rotation_vector_keeps_the_quaternions_sign() -> None:
    np.testing.assert_allclose(rotation_vector(np.array([0.0, 0.0, 1.0, 0.0])), [0, 0, np.pi])
    negative = -np.array([np.sin(0.1), 0, 0, np.cos(0.1)])
    np.testing.assert_allclose(rotation_vector(negative), [-(2 * np.pi - 0.2), 0, 0], atol=1e-12)
    np.testing.assert_array_equal(rotation_vector(np.array([0.0, 0.0, 0.0, 1.0])), np.zeros(3))
