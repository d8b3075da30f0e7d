"""The tabletop for Gymnasium: `vlasteer/UR5eTabletop-v0`."""

from __future__ import annotations

from typing import Any

from vlasteer.envs.tabletop import make
from vlasteer.envs.world_env import WorldEnv


class UR5eTabletopEnv(WorldEnv):
    """One task of the tabletop; see `WorldEnv` for spaces, episodes and `info`.

    In subprocesses: `gymnasium.vector.AsyncVectorEnv(..., context="spawn")` or "forkserver". A child forked from a
    process that has drawn a picture waits for ever for the renderer's threads, which a fork does not copy.

    Args:
        name: "tabletop_transport", "tabletop_lift", "tabletop_push" or "tabletop" (all three).
        task: index of the task in the world.
        render_mode: "rgb_array", or None.
        options: those of `TabletopWorld`: `split`, `resolution`, `cameras`, `horizon`.
    """

    def __init__(
        self, name: str = "tabletop_transport", task: int = 0, render_mode: str | None = None, **options: Any
    ) -> None:
        world = make(name, **options)
        super().__init__(world, size=(world.resolution, world.resolution), task=task, render_mode=render_mode)
