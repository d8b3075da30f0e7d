"""`vlasteer/UR5eTabletop-v0` is a proper Gymnasium environment, alone and in subprocesses."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

import vlasteer.envs.registration
from vlasteer.envs.tabletop import names

assert vlasteer.envs.registration.ENTRIES["vlasteer/UR5eTabletop-v0"]


@pytest.mark.parametrize("name", names())
def test_gymnasium_finds_nothing_to_complain_of(name: str) -> None:
    env = gymnasium.make("vlasteer/UR5eTabletop-v0", name=name, task=1, resolution=32, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check_env(env.unwrapped)
    env.close()


def test_default_pictures_are_224() -> None:
    env = gymnasium.make("vlasteer/UR5eTabletop-v0", render_mode="rgb_array")
    seen, info = env.reset(seed=3)
    assert seen["pixels"]["image"].shape == seen["pixels"]["image2"].shape == (224, 224, 3)
    assert info["instruction"] == env.unwrapped.world.tasks[0]  # type: ignore[attr-defined]  # ours, not Gymnasium's
    np.testing.assert_array_equal(env.render(), seen["pixels"]["image"])  # type: ignore[arg-type]
    env.close()


def test_solving_it_is_rewarded_once() -> None:
    env = gymnasium.make("vlasteer/UR5eTabletop-v0", name="tabletop_push", resolution=32)
    env.reset(seed=0)
    rewards, terminated, truncated, info = [], False, False, {}
    while not (terminated or truncated):
        _, reward, terminated, truncated, info = env.step(env.unwrapped.world.expert())  # type: ignore[attr-defined]
        rewards.append(reward)
    assert terminated
    assert info["is_success"]
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0]
    env.close()


def _make() -> gymnasium.Env:
    import vlasteer.envs.registration  # noqa: F401  (registers the id in the child)

    return gymnasium.make("vlasteer/UR5eTabletop-v0", resolution=32)


@pytest.mark.slow
@pytest.mark.parametrize("context", ["forkserver", "spawn"])
def test_several_in_subprocesses(context: str) -> None:
    alone = _make()
    expected = [alone.reset(seed=seed)[0]["pixels"]["image"] for seed in (4, 9)]
    alone.close()
    envs = AsyncVectorEnv([_make] * 2, context=context, autoreset_mode=AutoresetMode.DISABLED)
    seen, _ = envs.reset(seed=[4, 9])
    np.testing.assert_array_equal(seen["pixels"]["image"], expected)
    seen, *_ = envs.step(np.zeros((2, 7)))
    assert seen["agent_pos"].dtype == np.float64
    envs.close()
