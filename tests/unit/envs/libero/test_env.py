"""`vlasteer/Libero-v0` is a proper Gymnasium environment, alone, beside others, and in subprocesses."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

import vlasteer.envs.registration
from vlasteer.errors import UnknownNameError

assert vlasteer.envs.registration.ENTRIES["vlasteer/Libero-v0"]

pytestmark = pytest.mark.slow


@pytest.fixture
def options(assets: Path) -> dict[str, Any]:
    return {"suite": "libero_goal", "assets": assets, "resolution": 32, "fast": True}


def test_gymnasium_finds_nothing_to_complain_of(options: dict[str, Any]) -> None:
    env = gymnasium.make("vlasteer/Libero-v0", task=2, horizon=4, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check_env(env.unwrapped)
    env.close()


def test_episodes_are_counted_and_none_is_repeated(options: dict[str, Any]) -> None:
    env = gymnasium.make("vlasteer/Libero-v0", task=3, **options)
    keys = []
    for seed in (None, None, 48, None, None):
        _, info = env.reset(seed=seed)
        keys.append((info["task"], info["start"], info["seed"]))
    assert keys == [(3, 0, 0), (3, 1, 0), (3, 48, 0), (3, 49, 0), (3, 0, 1)]
    _, info = env.reset(options={"task": 1, "start": 7, "seed": 3})
    assert (info["task"], info["start"], info["seed"]) == (1, 7, 3)
    assert info["instruction"] == "put the bowl on the stove"
    with pytest.raises(UnknownNameError, match="Did you mean 'start'"):
        env.reset(options={"strat": 7})
    env.close()


def test_steps_end_at_the_horizon_and_say_what_was_executed(options: dict[str, Any]) -> None:
    env = gymnasium.make("vlasteer/Libero-v0", render_mode="rgb_array", horizon=2, disable_env_checker=True, **options)
    seen, _ = env.reset(seed=0)
    assert seen["pixels"]["image"].dtype == seen["pixels"]["image2"].dtype == np.uint8
    assert seen["agent_pos"].dtype == np.float64
    seen, reward, terminated, truncated, info = env.step(np.full(7, 2.0))
    assert (reward, terminated, truncated, info["is_success"]) == (0.0, False, False, False)
    np.testing.assert_array_equal(info["executed"], np.ones(7))
    np.testing.assert_array_equal(env.render(), seen["pixels"]["image"])
    *_, terminated, truncated, _ = env.step(np.zeros(7))
    assert (terminated, truncated) == (False, True)
    env.close()


def test_in_subprocesses_as_in_this_one(options: dict[str, Any]) -> None:
    """Two tasks side by side in spawned processes give what they give in this process, at the same time."""
    tasks, actions = (0, 2), np.random.default_rng(1).uniform(-1, 1, (4, 2, 7))

    def make(task: int):
        return lambda: gymnasium.make("vlasteer.envs.registration:vlasteer/Libero-v0", task=task, **options)

    several = AsyncVectorEnv([make(t) for t in tasks], context="spawn", autoreset_mode=AutoresetMode.DISABLED)
    alone = [make(task)() for task in tasks]
    try:
        seen, _ = several.reset(seed=[3, 4])
        expected = [env.reset(seed=seed)[0] for env, seed in zip(alone, (3, 4), strict=True)]
        for step in range(len(actions) + 1):
            for row in range(2):
                for name in ("image", "image2"):
                    np.testing.assert_array_equal(seen["pixels"][name][row], expected[row]["pixels"][name])
                np.testing.assert_array_equal(seen["agent_pos"][row], expected[row]["agent_pos"])
            if step < len(actions):
                seen, *_ = several.step(actions[step])
                expected = [env.step(action)[0] for env, action in zip(alone, actions[step], strict=True)]
        assert seen["pixels"]["image"].std() > 10
        assert not np.array_equal(seen["pixels"]["image"][0], seen["pixels"]["image"][1])
    finally:
        several.close()
        for env in alone:
            env.close()
