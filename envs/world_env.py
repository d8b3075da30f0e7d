"""Any simulated `World` as a Gymnasium environment, so that each world needs to say only what is its own."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from vlasteer.errors import UnknownNameError
from vlasteer.protocols import World
from vlasteer.types import EpisodeKey, Outcome

_REACH = 10.0
"""Bound of every state dimension, in metres or radians: more than an arm on a table can reach or a wrist can turn."""


class WorldEnv(gymnasium.Env[dict[str, Any], NDArray[np.float64]]):
    """One task of a world.

    Observation: `pixels`, uint8 [height, width, 3] by camera, and `agent_pos`, float64 [n] (lerobot's names). Action:
    float64 [size] in [-1, 1], of the world's convention. Reward: 1.0 at the step that solves the task, else 0.0.

    Episodes are counted: `reset(seed=n)` begins episode n, and every further `reset()` the next one. Episode n has
    initial state n mod `starts` and world seed n div `starts`, so that no two are the same; a vector environment takes
    a list of seeds. `reset(options={"task": ..., "start": ..., "seed": ...})` names an episode outright.

    `info` holds `task`, `start`, `seed` and `instruction` after a reset; `is_success` and `executed`, float64 [size],
    what the world really did, after a step.

    Args:
        world: the world; this environment closes it.
        size: height and width of its pictures.
        task: index of the task.
        render_mode: "rgb_array", or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (Gymnasium's own declaration)

    def __init__(self, world: World, *, size: tuple[int, int], task: int = 0, render_mode: str | None = None) -> None:
        self.world, self.task, self.render_mode = world, task, render_mode
        self.metadata = {**self.metadata, "render_fps": round(world.action_spec.rate_hz)}
        picture = spaces.Box(0, 255, (*size, 3), np.uint8)
        self.observation_space = spaces.Dict(
            pixels=spaces.Dict(dict.fromkeys(world.cameras, picture)),
            agent_pos=spaces.Box(-_REACH, _REACH, (len(world.state_names),), np.float64),
        )
        self.action_space = spaces.Box(-1.0, 1.0, (world.action_spec.size,), np.float64)
        self._episode = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin episode `seed`, the next one, or the one that `options` names.

        Raises:
            ConfigError: a task, start or seed that does not exist.
            UnknownNameError: another option.
        """
        super().reset(seed=seed)
        self._episode = self._episode + 1 if seed is None else seed
        world_seed, start = divmod(self._episode, self.world.starts)
        for name in options or {}:
            if name not in EpisodeKey._fields:
                raise UnknownNameError.among("reset option", name, EpisodeKey._fields)
        key = EpisodeKey(self.task, start, world_seed)._replace(**(options or {}))
        self.world.reset(key)
        return self._observe(), {**key._asdict(), "instruction": self.world.tasks[key.task]}

    def step(self, action: NDArray[np.float64]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Execute one action; values beyond [-1, 1] are clipped, NaN is an error."""
        executed = self.world.act(action)
        solved = self.world.outcome is Outcome.SUCCESS
        truncated = self.world.outcome is Outcome.HORIZON
        return self._observe(), float(solved), solved, truncated, {"is_success": solved, "executed": executed}

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]  # Gymnasium's type variable is unbound here
        """The first camera's newest picture."""
        return self.world.observe().images[self.world.cameras[0]] if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the world. Idempotent."""
        self.world.close()

    def _observe(self) -> dict[str, Any]:
        seen = self.world.observe()
        return {"pixels": dict(seen.images), "agent_pos": seen.state}
